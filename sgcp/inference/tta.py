"""Test-time options: an image is seen several times, and what was seen is averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sgcp.inference.labels import label_pixels
from sgcp.media.images import UInt8

Float32 = NDArray[np.float32]
Score = Callable[[UInt8], Float32]
"""Give the scores (K, ceil(H/8), ceil(W/8)) of an image (H, W, 3)."""

STRIDE = 8  # pixels of an image to one score
FRESH = 2 / 3  # a window's share that lies beyond the window before it


@dataclass(frozen=True)
class InferenceOptions:
    """How often, and how, an image is looked at. As it stands: once, plainly."""

    flip: bool = False
    """Look at it mirrored too."""
    scales: tuple[float, ...] = (1.0,)
    """Multiples of the size at which the network sees it, to look at each."""
    window: tuple[int, int] | None = None
    """Look through overlapping windows of this (height, width), pixels; None: at all at once."""

    def label(self, score: Score, image: UInt8, size: tuple[int, int]) -> UInt8:
        """Look at (H, W, 3) uint8 in each way, and label by what was seen on average.

        The mean is of class probabilities, on the finest grid of scores among the views.

        Args:
            size: (height, width) of the result.

        Returns:
            (height, width) uint8 train ids.
        """
        # A mirrored image has its scores where the image has them only if no cell is cut.
        images = [rescale(image, scale, whole=self.flip) for scale in self.scales]
        grid = tuple(max(-(-p.shape[axis] // STRIDE) for p in images) for axis in (0, 1))
        total = np.zeros(1, np.float32)
        for picture in images:
            total = total + resize_maps(self.look(score, picture), (grid[0], grid[1]))
            if self.flip:
                mirrored = self.look(score, np.ascontiguousarray(picture[:, ::-1]))
                total = total + resize_maps(mirrored, (grid[0], grid[1]))[:, :, ::-1]
        return label_pixels(np.log(np.maximum(total, 1e-30, dtype=np.float32)), size)

    def look(self, score: Score, picture: UInt8) -> Float32:
        """Return the probabilities (K, ceil(H/8), ceil(W/8)) of an image, window by window."""
        if self.window is None:
            return softmax(score(picture))
        rows, columns = (
            list(windows(side, length))
            for side, length in zip(picture.shape[:2], self.window, strict=True)
        )
        total: Float32 | None = None
        seen: Float32 = np.zeros(1, np.float32)
        for (top, bottom), (left, right) in product(rows, columns):
            part = softmax(score(np.ascontiguousarray(picture[top:bottom, left:right])))
            if total is None:
                shape = [-(-side // STRIDE) for side in picture.shape[:2]]
                total, seen = np.zeros((len(part), *shape), np.float32), np.zeros(shape, np.float32)
            down, across = top // STRIDE, left // STRIDE
            place = np.s_[down : down + part.shape[1], across : across + part.shape[2]]
            total[:, *place] += part
            seen[place] += 1
        assert total is not None  # there is one window at least
        mean: Float32 = total / seen
        return mean


PLAIN = InferenceOptions()


def windows(side: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield where windows along a side begin and end, pixels: on the grid of scores, overlapping.

    As few as leave each one a third in common with the next, evenly spread; the last ends with the
    side. A length between two multiples of the stride is taken as the lower.
    """
    length = max(STRIDE, length // STRIDE * STRIDE)  # no score is of half a cell
    last = -(-max(0, side - length) // STRIDE)  # where the last one begins, in scores
    count = 1 + int(np.ceil(last * STRIDE / max(STRIDE, length * FRESH)))
    for begin in np.linspace(0, last, count).round().astype(int).tolist():
        yield begin * STRIDE, min(begin * STRIDE + length, side)


def rescale(image: UInt8, scale: float, whole: bool) -> UInt8:
    """Resize (H, W, 3), antialiased, to sides that are multiples of the stride.

    Args:
        whole: whether scale 1 too becomes such a size, rather than stay as it is.
    """
    height, width = (max(1, round(side * scale / STRIDE)) * STRIDE for side in image.shape[:2])
    if (scale == 1 and not whole) or (height, width) == image.shape[:2]:
        return image
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def resize_maps(maps: Float32, size: tuple[int, int]) -> Float32:
    """Resize (K, h, w) up to (K, height, width), bilinearly."""
    if maps.shape[1:] == size:
        return maps
    resized = [
        Image.fromarray(one).resize((size[1], size[0]), Image.Resampling.BILINEAR) for one in maps
    ]
    return np.stack([np.asarray(one) for one in resized])


def softmax(scores: Float32) -> Float32:
    """Return the probabilities of scores (K, h, w)."""
    powers = np.exp(scores - scores.max(0))
    result: Float32 = powers / powers.sum(0)
    return result
