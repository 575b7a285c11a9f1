"""Exports of labelling tools: a module for each form, and what they have in common."""
