"""From scores at stride 8 to a label for every pixel, without making full-size scores.

Bilinear interpolation inside a cell (four neighbouring scores) is a weighted mean of its corners.
So a class that wins at all four corners wins everywhere between them, and only cells whose corners
disagree need arithmetic: one in eight on street scenes. There two winners of corners are the
candidates; a third class that is nowhere above one of them, or above their mean, cannot win.

``_labels.c`` does the same in C, with the same bytes, where it could be compiled at installation.
``benchmarks/inference_parts.py`` times both beside resizing all scores and taking the argmax.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sgcp.media.images import UInt8

try:
    from sgcp.inference import _labels
except ImportError:  # no C compiler
    _labels = None  # type: ignore[assignment]
compiled = _labels if hasattr(_labels, "confidence_pixels") else None  # else an older build

Float32 = NDArray[np.float32]

PIECE = 4096  # cells at once: what they need stays in the processor's cache


def label_pixels(scores: Float32, size: tuple[int, int]) -> UInt8:
    """Resize scores bilinearly (``align_corners=False``) and take the best class of every pixel.

    Equal to ``F.interpolate(...).argmax`` but where two classes are equal to within rounding;
    of exactly equal classes the lower index is taken.

    Args:
        scores: (K, h, w) float32, K at most 255.
        size: (height, width) of the result, uint8.
    """
    if scores.shape[1:] == size:
        return _best_class(scores)
    rows, columns = map(axis_between, scores.shape[1:], size)
    if compiled is None:
        return _label_in_numpy(scores, rows, columns)
    labels = np.empty(size, np.uint8)
    scores = np.ascontiguousarray(scores, np.float32)
    compiled.label_pixels(scores, *scores.shape, *rows.buffers, *columns.buffers, labels)
    return labels


def _label_in_numpy(scores: Float32, rows: "Axis", columns: "Axis") -> UInt8:
    best = _best_class(scores)
    corners = [side[:, at] for side in (best[rows.lower], best[rows.upper]) for at in columns.sides]
    low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)  # (cells down, across)
    labels = np.repeat(np.repeat(low, columns.pixels, 1), rows.pixels, 0)
    mixed, flat = np.flatnonzero(low != high), scores.reshape(len(scores), -1)
    for start in range(0, len(mixed), PIECE):
        cells = mixed[start : start + PIECE]
        down, across = np.divmod(cells, low.shape[1])
        shares = rows.shares.take(down, 1), columns.shares.take(across, 1)  # (P, M), (Q, M)
        four = (y[down] * scores.shape[2] + x[across] for y in rows.sides for x in columns.sides)
        around = np.stack([flat.take(corner, 1) for corner in four], 1)  # (K, 4, M)
        found = _label_cells(around, low.flat[cells], high.flat[cells], shares)
        lines = rows.places.take(down, 1)[:, None] * labels.shape[1]
        places = lines + columns.places.take(across, 1)
        labels.reshape(-1)[places] = found
    return labels


class Axis:
    """How the pixels of one axis lie between the scores of the smaller image.

    Attributes:
        lower, upper: (cells,) the two scores around each cell; ``sides`` is both.
        pixels: (cells,) how many pixels lie in it.
        places: (most, cells) which; where a cell has fewer than the most, its last one again.
        shares: (most, cells) weight of ``upper`` there.
        buffers: the same for C: ``lower``, ``upper``, each cell's first pixel (and the end of the
            last), the weight of ``upper`` at each pixel.
    """

    def __init__(self, source: int, target: int) -> None:
        place = (np.arange(target) + 0.5) * (source / target) - 0.5  # centres of pixels
        place = place.clip(0, source - 1)
        lower = place.astype(np.int64)
        share = (place - lower).astype(np.float32)
        self.lower, first, self.pixels = np.unique(lower, return_index=True, return_counts=True)
        self.upper = np.minimum(self.lower + 1, source - 1)
        self.sides = (self.lower, self.upper)
        most = np.arange(self.pixels.max())[:, None]
        self.places: NDArray[np.intp] = first + np.minimum(most, self.pixels - 1)
        self.shares: Float32 = share[self.places]
        self.buffers = (*self.sides, np.append(first, target).astype(np.int64), share)


axis_between = lru_cache(maxsize=64)(Axis)


def _best_class(scores: Float32) -> UInt8:
    """Return the first of the highest classes; a third of the time of ``scores.argmax(0)``."""
    highest = scores[0].copy()
    best = np.zeros(highest.shape, np.uint8)
    for index, score in enumerate(scores[1:], 1):
        np.copyto(best, index, where=score > highest)
        np.maximum(highest, score, out=highest)
    return best


def _label_cells(
    around: Float32, low: UInt8, high: UInt8, shares: tuple[Float32, Float32]
) -> UInt8:
    """Return the best class (P, Q, M) of the pixels of M cells.

    Args:
        around: (K, 4, M) scores at their corners.
        low, high: (M,) two different winners of corners, the lower class first.
        shares: (P, M) and (Q, M), how far each pixel lies down and across its cell.
    """
    each = np.arange(len(low))
    first, second = around[low, :, each].T, around[high, :, each].T  # (4, M)
    rival = np.ones((len(around), len(low)), bool)  # (K, M): may win somewhere in the cell
    for bound in (first, second, (first + second) / 2):
        rival &= np.any(around > bound, axis=1)
    rival[low, each] = rival[high, each] = True
    above = _interpolate(second - first, *shares) > 0
    best: UInt8 = low ^ (above * (low ^ high))  # np.where takes forty times as long
    hard = np.flatnonzero(rival.sum(0) > 2)
    if len(hard):
        down, across = shares
        best[..., hard] = _label_hard_cells(
            around.take(hard, 2), rival.take(hard, 1), down.take(hard, 1), across.take(hard, 1)
        )
    return best


def _label_hard_cells(
    around: Float32, rival: NDArray[np.bool_], down: Float32, across: Float32
) -> UInt8:
    """Return the best class (P, Q, M) where more than two may win: those marked in (K, M)."""
    each = np.arange(rival.shape[1])
    count = rival.sum(0)
    order = np.argsort(~rival, axis=0, kind="stable")[: count.max()]  # rivals by rising class
    order = np.where(np.arange(len(order))[:, None] < count, order, order[0]).astype(np.uint8)
    highest = _interpolate(around[order[0], :, each].T, down, across)
    best = np.broadcast_to(order[0], highest.shape).copy()
    for classes in order[1:]:
        score = _interpolate(around[classes, :, each].T, down, across)
        best ^= (score > highest) * (best ^ classes)
        np.maximum(highest, score, out=highest)
    return best


def _interpolate(corners: Float32, down: Float32, across: Float32) -> Float32:
    """Return scores (P, Q, M) inside M cells from those at their corners (4, M)."""
    top_left, top_right, bottom_left, bottom_right = corners
    top = top_left + (top_right - top_left) * across  # (Q, M)
    rise = bottom_left + (bottom_right - bottom_left) * across - top
    result: Float32 = rise * down[:, None]
    result += top
    return result
