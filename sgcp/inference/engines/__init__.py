"""Engines: what runs the network. All give the scores of eager PyTorch, to within rounding."""
