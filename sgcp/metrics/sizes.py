"""Recall by the size of what is to be found: small things vanish in the mean of all pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgcp.datasets.classes import IGNORE
from sgcp.media.images import UInt8
from sgcp.metrics.iou import mean, share

# Areas in pixels at which a region is medium, and large: those of COCO's evaluation.
LIMITS = (32**2, 96**2)
SIZES = ("small", "medium", "large")
TOUCHING = np.ones((3, 3), np.uint8)


def count_sizes(truth: UInt8, prediction: UInt8, classes: int) -> NDArray[np.int64]:
    """Count the pixels of one image by class and size of their true region: (2, K, 3) right, all.

    A region is a set of pixels of one class that touch, also by their corners: a part of an
    object, an object, or several.

    Args:
        truth, prediction: (H, W) train ids.
    """
    from scipy.ndimage import label

    counts = np.zeros((2, classes, len(SIZES)), np.int64)
    right = truth == prediction
    for train_id in np.unique(truth[truth != IGNORE]).tolist():
        numbered, _ = label(truth == train_id, TOUCHING)
        areas = np.bincount(numbered.ravel())[1:]
        hits = np.bincount(numbered[right], minlength=len(areas) + 1)[1:]
        sizes = np.digitize(areas, LIMITS)
        for row, pixels in zip(counts, (hits, areas), strict=True):
            np.add.at(row[train_id], sizes, pixels)
    return counts


def describe_sizes(counts: NDArray[np.int64], names: list[str]) -> dict[str, Any]:
    """Return the mean recall over classes by size, and that of each class: null if it has none."""
    right, every = counts
    recall = share(right, every)  # (K, 3)
    rows = [[None if np.isnan(x) else x for x in row] for row in recall.tolist()]
    means = [mean(column) for column in recall.T]
    return {
        "mean": {size: None if np.isnan(x) else x for size, x in zip(SIZES, means, strict=True)},
        "classes": {
            name: dict(zip(SIZES, row, strict=True)) for name, row in zip(names, rows, strict=True)
        },
    }
