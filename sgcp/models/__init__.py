"""The network and its files: ``SGCPNet`` and readers of checkpoints."""

from sgcp.models.authors import read_authors_checkpoint
from sgcp.models.network import SGCPNet

__all__ = ["SGCPNet", "read_authors_checkpoint"]
