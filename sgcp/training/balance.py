"""How much each class weighs in the loss, from how many pixels it has."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sgcp.datasets.classes import IGNORE


def count_pixels(labels: Iterable[NDArray[np.uint8]], num_classes: int) -> NDArray[np.int64]:
    """Return how many pixels of label maps (H, W) each class has: (K,)."""
    counts = np.zeros(IGNORE + 1, dtype=np.int64)
    for label in labels:
        counts += np.bincount(label.ravel(), minlength=len(counts))
    return counts[:num_classes]


def class_weights(counts: NDArray[np.int64], balance: float) -> Tensor:
    """Return weights (K,): the power -``balance`` of a class's share of pixels, 1 for a mean pixel.

    With 0 every pixel weighs the same, with 1 every class. A class without pixels weighs nothing.
    """
    if not counts.any():
        return torch.zeros(len(counts))
    shares = counts / counts.sum()
    weights = np.where(shares > 0, np.maximum(shares, 1e-12) ** -balance, 0.0)
    return torch.from_numpy(weights / (weights @ shares)).float()
