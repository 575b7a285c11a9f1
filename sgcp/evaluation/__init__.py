"""Confusion matrices, IoU and the tables made of them."""
