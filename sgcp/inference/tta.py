"""Test-time augmentation: class probabilities of several versions of an image, averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from PIL import Image

from sgcp.inference.labels import Float32
from sgcp.media.images import UInt8
from sgcp.models.card import STRIDE, whole_cells

Score = Callable[[UInt8], Float32]
"""Return the scores (K, ceil(H/8), ceil(W/8)) of an image (H, W, 3)."""

FRESH = 2 / 3  # share of a window beyond the window before it


@dataclass(frozen=True)
class InferenceOptions:
    """Test-time augmentation. By default there is none."""

    flip: bool = False
    """Average over the mirrored image too."""
    scales: tuple[float, ...] = (1.0,)
    """Average over these multiples of the network's input size."""
    window: tuple[int, int] | None = None
    """Run the network on overlapping windows of this (height, width), pixels; None: on all."""

    def scores(self, score: Score, image: UInt8) -> Float32:
        """Score (H, W, 3) uint8: (K, h, w), the logarithm of the summed class probabilities.

        The sum is taken on the finest grid of scores among the versions. Without augmentation,
        scores are the network's own.
        """
        if self == PLAIN:
            return score(image)
        versions = [rescale(image, scale) for scale in self.scales]
        rows, columns = (max(-(-one.shape[axis] // STRIDE) for one in versions) for axis in (0, 1))
        grid = (rows, columns)
        total = np.zeros(1, np.float32)
        for version in versions:
            total = total + resize_maps(self.probabilities(score, version), grid)
            if self.flip:
                mirrored = self.probabilities(score, np.ascontiguousarray(version[:, ::-1]))
                total = total + resize_maps(mirrored, grid)[:, :, ::-1]
        return np.log(np.maximum(total, 1e-30, dtype=np.float32))

    def probabilities(self, score: Score, image: UInt8) -> Float32:
        """Return the class probabilities (K, ceil(H/8), ceil(W/8)), window by window."""
        if self.window is None:
            return softmax(score(image))
        height, width = image.shape[:2]
        shape = (-(-height // STRIDE), -(-width // STRIDE))
        count: Float32 = np.zeros(shape, np.float32)
        total: Float32 = np.zeros(1, np.float32)
        rows, columns = windows(height, self.window[0]), windows(width, self.window[1])
        for (top, bottom), (left, right) in product(rows, columns):
            part = softmax(score(np.ascontiguousarray(image[top:bottom, left:right])))
            if total.ndim == 1:
                total = np.zeros((len(part), *shape), np.float32)
            down, across = top // STRIDE, left // STRIDE
            place = np.s_[down : down + part.shape[1], across : across + part.shape[2]]
            total[:, *place] += part
            count[place] += 1
        return total / count


PLAIN = InferenceOptions()


def windows(side: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the windows along a side, pixels: evenly spread, on the score grid.

    Neighbours overlap by a third at least, and the last window ends with the side. The length is
    rounded down to a multiple of the stride.
    """
    length = max(STRIDE, length // STRIDE * STRIDE)  # no score is of half a cell
    last = -(-max(0, side - length) // STRIDE)  # where the last one begins, in scores
    count = 1 + int(np.ceil(last * STRIDE / max(STRIDE, length * FRESH)))
    for begin in np.linspace(0, last, count).round().astype(int).tolist():
        yield begin * STRIDE, min(begin * STRIDE + length, side)


def rescale(image: UInt8, scale: float) -> UInt8:
    """Resize (H, W, 3), antialiased, to a multiple of its size, in whole cells."""
    return resize_input(image, whole_cells(image.shape[0] * scale, image.shape[1] * scale))


def resize_input(image: UInt8, size: tuple[int, int]) -> UInt8:
    """Resize (H, W, 3) to this (height, width), antialiased as in training."""
    if tuple(size) == image.shape[:2]:
        return image
    return np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def resize_maps(maps: Float32, size: tuple[int, int]) -> Float32:
    """Resize (K, h, w) up to (K, height, width), bilinearly."""
    if maps.shape[1:] == size:
        return maps
    bilinear = Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(one).resize(size[::-1], bilinear)) for one in maps])


def softmax(scores: Float32) -> Float32:
    """Return the probabilities of scores (K, h, w)."""
    powers = np.exp(scores - scores.max(0))
    return powers / powers.sum(0)
