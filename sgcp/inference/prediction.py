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
        """(H, W) float16: the highest of each pixel's ``probabilities``, 1/K .. 1.

        In C, cell by cell: a class is left out of a cell where, at each of its corners, it is so
        far below another one that all those left out together have less than ``NEGLIGIBLE`` of the
        probability. Before it is rounded to float16, a result is within 3e-5 of its value of the
        exact one, a twentieth of the rounding.
        """
        confidence = np.empty(self.size, np.float16)
        if labels.compiled is None:
            for band, scores in self._resized_bands():
                confidence[band] = 1 / np.exp(scores - scores.max(0)).sum(0)
            return confidence
        factor = np.float32(math.log2(math.e) / self.temperature)
        exponents = np.ascontiguousarray(self.scores * factor)
        rows, columns = map(axis_between, exponents.shape[1:], self.size)
        target, bound = confidence.view(np.uint16), math.log2(NEGLIGIBLE / len(exponents))
        labels.compiled.confidence_pixels(
            exponents, *exponents.shape, *rows.buffers, *columns.buffers, target, bound
        )
        return confidence

    def probabilities(self) -> Float32:
        """Return (K, H, W) float32: the softmax of the bilinearly resized scores.

        Of 19 classes at 1024x2048 these are 159 MB.
        """
        result = np.empty((len(self.scores), *self.size), np.float32)
        for rows, scores in self._resized_bands():
            result[:, rows] = softmax(scores)
        return result

    def _resized_bands(self) -> Iterator[tuple[slice, Float32]]:
        """Yield rows of the tempered scores in the image's size: which, and (K, rows, W)."""
        scores: Float32 = self.scores / np.float32(self.temperature)
        rows, columns = map(axis_between, scores.shape[1:], self.size)
        above, below = (np.repeat(side, rows.pixels) for side in rows.sides)
        left, right = (np.repeat(side, columns.pixels) for side in columns.sides)
        *_, down = rows.buffers
        *_, across = columns.buffers
        for start in range(0, self.size[0], BAND):
            band = slice(start, start + BAND)
            first = above[start]
            part = scores[:, first : below[band][-1] + 1]
            wide = part[:, :, left]
            wide += (part[:, :, right] - wide) * across
            top = wide[:, above[band] - first]
            yield band, top + (wide[:, below[band] - first] - top) * down[band, None]


def grey_levels(confidence: Float16) -> UInt8:
    """Return a confidence (H, W) of 0 .. 1 in 8 bits: 255 is 1."""
    return GREY_LEVELS.take(confidence.view(np.uint16))
