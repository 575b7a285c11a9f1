"""The network and its files: ``SGCPNet`` and readers of checkpoints."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgcp.models.authors import read_authors_checkpoint
    from sgcp.models.network import SGCPNet

__all__ = ["SGCPNet", "read_authors_checkpoint"]

HOMES = {"SGCPNet": "network", "read_authors_checkpoint": "authors"}


def __getattr__(name: str) -> Any:
    """Import torch when the network is asked for: a model's description can be read without."""
    if name in HOMES:
        return getattr(import_module(f"sgcp.models.{HOMES[name]}"), name)
    raise AttributeError(f"module 'sgcp.models' has no attribute '{name}'")
