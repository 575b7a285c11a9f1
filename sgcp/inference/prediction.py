"""What a model predicts for an image: labels, how sure it is of them, and probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sgcp.inference import labels
from sgcp.inference.labels import Float32, axis_between, label_pixels
from sgcp.inference.tta import softmax
from sgcp.media.images import UInt8

Float16 = NDArray[np.float16]

# Of each float16 from 0 to 1, by its bits: the grey level that stands for it, 255 for 1.
GREY_LEVELS = np.rint(np.arange(0x3C01, dtype=np.uint16).view(np.float16).astype(float) * 255)
GREY_LEVELS = GREY_LEVELS.astype(np.uint8)
BAND = 16  # rows at once: the scores of all their classes stay in the processor's cache
NEGLIGIBLE = 2.0**-16  # of the probability: what the classes left out of a cell have together


@dataclass(frozen=True, eq=False)
class Prediction:
    """The scores of an image, and what follows from them, made when it is first asked for."""

    scores: Float32
    """(K, h, w) float32 at stride 8: logits; with test-time augmentation, the logarithm of the
    summed probabilities of its versions."""
    size: tuple[int, int]
    """(height, width) of the image, H and W below."""
    temperature: float = 1.0
    """Divides the scores before the softmax: that of the model's card."""

    @cached_property
    def labels(self) -> UInt8:
        """(H, W) uint8 train ids, those of ``Segmenter.segment``."""
        return label_pixels(self.scores, self.size)

    @cached_property
    def confidence(self) -> Float16:
        """(H, W) float16: the highest of each pixel's ``probabilities``, 1/K .. 1."""
        return max_probabilities(self.scores, self.size, self.temperature)

    def probabilities(self) -> Float32:
        """Return (K, H, W) float32: the softmax of the bilinearly resized scores.

        Of 19 classes at 1024x2048 these are 159 MB.
        """
        result = np.empty((len(self.scores), *self.size), np.float32)
        for rows, resized in resize_in_bands(self.scores / np.float32(self.temperature), self.size):
            result[:, rows] = softmax(resized)
        return result


def max_probabilities(scores: Float32, size: tuple[int, int], temperature: float) -> Float16:
    """Return the highest softmax probability of each pixel's bilinearly resized scores.

    In C, cell by cell: a class is left out of a cell where, at each of its corners, it is so far
    below another one that all those left out together have less than ``NEGLIGIBLE`` of the
    probability. Before it is rounded to float16, a result is within 3e-5 of its value of the exact
    one, a twentieth of the rounding.

    Args:
        scores: (K, h, w) float32, K at most 255.
        size: (height, width) of the result.

    Returns:
        (height, width) float16.
    """
    confidence = np.empty(size, np.float16)
    if labels.compiled is None:
        for band, resized in resize_in_bands(scores / np.float32(temperature), size):
            confidence[band] = 1 / np.exp(resized - resized.max(0)).sum(0)
        return confidence
    rows, columns = axis_between(scores.shape[1], size[0]), axis_between(scores.shape[2], size[1])
    exponents = np.ascontiguousarray(scores * np.float32(math.log2(math.e) / temperature))
    bound = math.log2(NEGLIGIBLE / len(scores))
    labels.compiled.confidence_pixels(
        exponents, *scores.shape, *rows.buffers, *columns.buffers, confidence.view(np.uint16), bound
    )
    return confidence


def grey_levels(confidence: Float16) -> UInt8:
    """Return a confidence (H, W) of 0 .. 1 in 8 bits: 255 is 1."""
    return GREY_LEVELS.take(confidence.view(np.uint16))


def resize_in_bands(scores: Float32, size: tuple[int, int]) -> Iterator[tuple[slice, Float32]]:
    """Yield rows of scores (K, h, w) resized bilinearly to ``size``: which, and (K, rows, W)."""
    rows, columns = axis_between(scores.shape[1], size[0]), axis_between(scores.shape[2], size[1])
    above, below = (np.repeat(side, rows.pixels) for side in rows.sides)
    left, right = (np.repeat(side, columns.pixels) for side in columns.sides)
    *_, down = rows.buffers
    *_, across = columns.buffers
    for start in range(0, size[0], BAND):
        band = slice(start, start + BAND)
        first = above[start]
        part = scores[:, first : below[band][-1] + 1]
        wide = part[:, :, left]
        wide += (part[:, :, right] - wide) * across
        top = wide[:, above[band] - first]
        yield band, top + (wide[:, below[band] - first] - top) * down[band, None]
