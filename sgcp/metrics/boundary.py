"""Scores near the edges of classes, where small networks with coarse features are wrong.

Cheng, Girshick, Dollár, Berg, Kirillov: *Boundary IoU*, CVPR 2021. Two values of a class are
compared within a band inside its outline, so large areas do not hide a poor outline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgcp.datasets.classes import IGNORE
from sgcp.media.images import UInt8
from sgcp.metrics.confusion import count_pairs
from sgcp.metrics.iou import mean, share

WIDTH = 0.005  # of the band, share of the image's diagonal: the authors' choice for Cityscapes


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
    near, elsewhere = share(counts.accuracy[:, 0], counts.accuracy[:, 1]).tolist()
    return {
        "miou": mean(iou),
        "iou": {
            name: None if np.isnan(x) else x for name, x in zip(names, iou.tolist(), strict=True)
        },
        "accuracy_near": near,
        "accuracy_elsewhere": None if np.isnan(elsewhere) else elsewhere,
        "width": WIDTH,
    }
