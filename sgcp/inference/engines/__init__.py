"""Engines: what runs the network. All give the scores of eager PyTorch, to within rounding."""

from sgcp.inference.engines.base import Engine
from sgcp.inference.engines.choice import open_engine

__all__ = ["Engine", "open_engine"]
