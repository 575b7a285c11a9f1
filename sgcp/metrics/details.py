"""Scores of what vanishes in the mean of all pixels: edges of classes, and small things.

Near edges small networks with coarse features are wrong. Cheng, Girshick, Dollár, Berg, Kirillov:
*Boundary IoU*, CVPR 2021. Two values of a class are compared within a band inside its outline, so
large areas do not hide a poor outline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgcp.datasets.classes import IGNORE
from sgcp.media.images import UInt8
from sgcp.metrics.confusion import count_pairs
from sgcp.metrics.iou import mean, share, to_numbers

WIDTH = 0.005  # of the band, share of the image's diagonal: the authors' choice for Cityscapes
# Areas in pixels at which a region is medium, and large: those of COCO's evaluation.
LIMITS = (32**2, 96**2)
SIZES = ("small", "medium", "large")
TOUCHING = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class BoundaryCounts:
    """Counts of one image or of many; they add up."""

    classes: NDArray[np.int64]
    """(3, K) pixels in the bands of a class: of both, of the truth, of the prediction."""
    accuracy: NDArray[np.int64]
    """(2, 2) right and all pixels, in the truth's bands and elsewhere."""

    def __add__(self, other: BoundaryCounts) -> BoundaryCounts:
        return BoundaryCounts(self.classes + other.classes, self.accuracy + other.accuracy)


def count_boundary(truth: UInt8, prediction: UInt8, classes: int) -> BoundaryCounts:
    """Count the pixels near edges of one image.

    What the truth ignores is left out, and has the same edge in both.

    Args:
        truth, prediction: (H, W) train ids.
    """
    scored = truth != IGNORE
    prediction = np.where(scored, prediction, IGNORE).astype(np.uint8)
    near, right = band(truth), truth == prediction
    outline = np.where(near, truth, IGNORE).astype(np.uint8)
    predicted = np.where(band(prediction), prediction, IGNORE).astype(np.uint8)
    joint = count_pairs(outline, predicted, 256)
    sums = joint.diagonal(), joint.sum(axis=1), joint.sum(axis=0)
    parts = scored & near, scored & ~near
    accuracy = [[(right & part).sum(), part.sum()] for part in parts]
    return BoundaryCounts(np.stack(sums)[:, :classes], np.array(accuracy))


def band(labels: UInt8) -> NDArray[np.bool_]:
    """Return which pixels (H, W) lie near another value or near the border of the image."""
    from scipy.ndimage import maximum_filter, minimum_filter

    side = 2 * max(1, round(WIDTH * float(np.hypot(*labels.shape)))) + 1
    lowest = minimum_filter(labels, side, mode="constant", cval=IGNORE)
    return np.asarray(lowest != maximum_filter(labels, side, mode="constant", cval=IGNORE))


def describe_boundary(counts: BoundaryCounts, names: list[str]) -> dict[str, Any]:
    """Return the scores for JSON: null where there is none."""
    both, true, predicted = counts.classes
    iou = share(both, true + predicted - both)
    near, elsewhere = share(counts.accuracy[:, 0], counts.accuracy[:, 1])
    scores = {
        "miou": mean(iou),
        "iou": dict(zip(names, iou, strict=True)),
        "accuracy_near": near,
        "accuracy_elsewhere": elsewhere,
    }
    return to_numbers(scores) | {"width": WIDTH}


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
    rows = [dict(zip(SIZES, row, strict=True)) for row in recall]
    means = dict(zip(SIZES, map(mean, recall.T), strict=True))
    return to_numbers({"mean": means, "classes": dict(zip(names, rows, strict=True))})
