"""How well confidence predicts accuracy, and the temperature that makes it do so best.

Guo, Pleiss, Sun, Weinberger: *On Calibration of Modern Neural Networks*, ICML 2017. Measured on
the same number of pixels of each image, evenly spread, so that the logits of a split fit into
memory.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgcp.datasets.classes import IGNORE
from sgcp.media.images import UInt8

Float32 = NDArray[np.float32]

PIXELS = 4096  # of each image at most
LOGITS = 2**26  # of all images together: 1.3 GB at the most while they are measured
GOLDEN = (np.sqrt(5) - 1) / 2
BINS = 15  # of equal width, as in the paper
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are tried
HALVINGS = 24  # of the ratio between the two: 3e-7 is left of its logarithm


class Sample:
    """Logits (N, K) float32 of pixels, and their true classes (N,).

    Args:
        scores: (K, h, w) of an image, in the order of train ids.
        truth: (H, W) train ids; ``IGNORE`` is left out.
        most: how many pixels at most, as ``pixels_of_each`` says.
    """

    def __init__(self, scores: Float32, truth: UInt8, most: int = PIXELS) -> None:
        labelled = np.flatnonzero(truth != IGNORE)
        count = min(most, len(labelled))
        # One of each of so many stretches, not always its first: those would lie in few columns.
        stretches = np.arange(count) + np.arange(count) * GOLDEN % 1
        places = labelled[(stretches * len(labelled) / max(1, count)).astype(np.intp)]
        down, across = np.divmod(places, truth.shape[1])
        above, below, down_share = _between(down, scores.shape[1], truth.shape[0])
        left, right, across_share = _between(across, scores.shape[2], truth.shape[1])
        top = scores[:, above, left] * (1 - across_share) + scores[:, above, right] * across_share
        low = scores[:, below, left] * (1 - across_share) + scores[:, below, right] * across_share
        self.logits: Float32 = (top * (1 - down_share) + low * down_share).T.astype(np.float32)
        self.truth: UInt8 = truth.ravel()[places]


def pixels_of_each(images: int, classes: int) -> int:
    """Return how many pixels of each of so many images are measured."""
    return max(1, min(PIXELS, LOGITS // (images * classes)))


def _between(pixels: NDArray[np.intp], source: int, target: int) -> tuple[Any, Any, Any]:
    """Return the two scores around each pixel of an axis, and the share of the second."""
    place = ((pixels + 0.5) * (source / target) - 0.5).clip(0, source - 1)
    lower = place.astype(np.intp)
    return lower, np.minimum(lower + 1, source - 1), place - lower


def describe_calibration(samples: Sequence[Sample], temperature: float) -> dict[str, Any]:
    """Return the numbers of a split: as the network is, and at the temperature of its card.

    ``ece`` is the expected calibration error: the mean over pixels of the difference between
    confidence and accuracy in a pixel's bin. ``nll`` is the negative log-likelihood, nats a pixel.
    ``fitted_temperature`` is the one that this split would choose.
    """
    logits, truth = _join(samples)
    ece, nll = measure(logits, truth, 1.0)
    calibrated_ece, calibrated_nll = measure(logits, truth, temperature)
    return {
        "temperature": temperature,
        "ece": ece,
        "ece_calibrated": calibrated_ece,
        "nll": nll,
        "nll_calibrated": calibrated_nll,
        "fitted_temperature": fit_temperature(samples),
        "pixels": len(truth),
    }


def measure(logits: Float32, truth: UInt8, temperature: float) -> tuple[float, float]:
    """Return the expected calibration error and the negative log-likelihood of N pixels."""
    over = (logits - logits.max(1, keepdims=True)) / np.float32(temperature)
    sums = np.exp(over).sum(1)
    confidence = (1 / sums).astype(float)
    right = over[np.arange(len(truth)), truth] == 0
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, right, BINS) - np.bincount(bins, confidence, BINS)
    losses = np.log(sums) - over[np.arange(len(truth)), truth]
    return round(float(np.abs(gaps).sum() / len(truth)), 6), round(float(losses.mean()), 6)


def fit_temperature(samples: Sequence[Sample]) -> float:
    """Return the temperature with the least negative log-likelihood, to four digits.

    The likelihood is convex in the inverse temperature: its derivative is halved towards 0.
    """
    logits, truth = _join(samples)
    logits = logits - logits.max(1, keepdims=True)
    true = logits[np.arange(len(truth)), truth].mean(dtype=float)

    def too_hot(temperature: float) -> bool:
        powers = np.exp(logits / np.float32(temperature))
        expected = (powers * logits).sum(1) / powers.sum(1)
        return bool(expected.mean(dtype=float) < true)

    cold, hot = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(HALVINGS):
        middle = (cold + hot) / 2
        cold, hot = (cold, middle) if too_hot(np.exp(middle)) else (middle, hot)
    return float(f"{np.exp((cold + hot) / 2):.4g}")


def _join(samples: Sequence[Sample]) -> tuple[Float32, UInt8]:
    logits = np.concatenate([sample.logits for sample in samples])
    return logits, np.concatenate([sample.truth for sample in samples])
