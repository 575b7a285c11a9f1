"""How far another choice of images might have moved a score: a bootstrap over images.

Efron: *Bootstrap Methods: Another Look at the Jackknife*, Annals of Statistics 1979. Images of one
drive resemble each other, so an interval says nothing about drives that the split does not contain.
"""

import numpy as np
from numpy.typing import NDArray

from sgcp.metrics.iou import Floats, share

RESAMPLES = 2000  # of a split, each as large as it
LEVEL = 0.95  # of the resamples lie within an interval


def interval(
    counts: NDArray[np.int64], first: NDArray[np.int64] | None = None
) -> list[float] | None:
    """Return between which values the mIoU of 95 % of the resampled splits lies.

    Args:
        counts: (N, 3, K) right, true and predicted pixels of each image and class.
        first: those of another model, with images and classes in the same order, whose mIoU is
            subtracted. Both are scored on the same resampled splits (a paired bootstrap), so images
            that are hard for both widen nothing: without 0 in the interval, the difference is more
            than a choice of images.

    Returns:
        Two shares; None with less than two labelled images.
    """
    labelled = counts[:, 1].any(axis=1)
    if labelled.sum() < 2:
        return None
    miou = _resampled_miou(counts[labelled])
    if first is not None:
        miou = miou - _resampled_miou(first[labelled])
    tail = 100 * (1 - LEVEL) / 2
    return [float(edge) for edge in np.percentile(miou, [tail, 100 - tail])]


def _resampled_miou(counts: NDArray[np.int64]) -> Floats:
    """Return the mIoU of each resampled split: the same splits for any counts of N images."""
    number = len(counts)
    drawn = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), RESAMPLES)
    sums = drawn.astype(float) @ counts.reshape(number, -1)
    right, true, predicted = np.moveaxis(sums.reshape(RESAMPLES, *counts.shape[1:]), 1, 0)
    return np.nanmean(share(right, true + predicted - right), axis=1)
