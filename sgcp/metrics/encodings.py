"""In which encoding label maps are written: label ids, train ids or class colours.

The same values can be read in several encodings. Each reading maps a value to the train id of its
class, to ``IGNORE`` (no class, scored as a miss) or to ``UNLISTED`` (impossible in the encoding).
Where the ground truth is at hand, one table of true class by value scores every reading.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sgcp.datasets.classes import IGNORE, UNLISTED, color_code, color_codes
from sgcp.datasets.label_files import COLORS, IDS, TRAIN_IDS
from sgcp.media.images import UInt8
from sgcp.metrics.iou import class_iou, mean, share

if TYPE_CHECKING:
    from sgcp.metrics.protocol import Protocol

TITLES = {IDS: "label ids", TRAIN_IDS: "train ids", COLORS: "class colours"}
MOST_IMPOSSIBLE = 0.1  # share of pixels; some networks write void as 19 or 250
LEAST_UNSCORED = 0.5  # share of pixels whose value is no class, from which an encoding is doubted
# By how much kappa and informedness of another encoding must be higher. Of 6000 made-up honest
# networks, however weak, none reaches it; of 1000 read in a wrong encoding, 80 %.
BETTER = 0.15
CLEARLY_BETTER = 0.3  # in one file, or where any numbering at all may be the other
CHANCE = 0.1  # informedness of values that say next to nothing as they are read


def id_tables(train_ids: Mapping[int, int], void_ids: Collection[int] = ()) -> dict[str, UInt8]:
    """Return the readings of one-channel values: a table (256,) by encoding.

    Args:
        train_ids: train id by label id.
        void_ids: label ids of no scored class.
    """
    ids = np.full(256, UNLISTED, np.uint8)
    ids[list(void_ids)] = IGNORE
    ids[list(train_ids)] = list(train_ids.values())
    trains = np.full(256, UNLISTED, np.uint8)
    trains[: len(train_ids)] = np.arange(len(train_ids))
    trains[IGNORE] = IGNORE
    return {IDS: ids, TRAIN_IDS: trains}


def label_ids_of(benchmark: Protocol, encoding: str) -> UInt8:
    """Return the label id (256,) as which each value is counted; no class is a miss.

    Impossible values become no class too: whoever scores them refuses them.
    """
    if encoding == IDS:
        return np.arange(256, dtype=np.uint8)
    table = np.full(256, benchmark.no_class, np.uint8)
    table[: len(benchmark.classes)] = [item.label_id for item in benchmark.classes]
    return table


def tables_of(benchmark: Protocol) -> dict[str, UInt8]:
    """Return the readings of one-channel values under a benchmark's rules."""
    return id_tables(benchmark.train_ids, benchmark.void_ids)


def read_colors(rgb: UInt8, benchmark: Protocol) -> UInt8:
    """Return the train id of each colour (..., 3): (...); ``UNLISTED`` for colours of no class."""
    colors = {color_code(*color): IGNORE for color in benchmark.unscored_colors}
    colors |= {color_code(*item.color): item.train_id for item in benchmark.classes}
    return _color_table(tuple(colors.items()))[color_codes(rgb)]


@cache
def _color_table(colors: tuple[tuple[int, int], ...]) -> UInt8:
    table = np.full(2**24, UNLISTED, dtype=np.uint8)
    for code, train_id in colors:
        table[code] = train_id
    return table


@dataclass(frozen=True)
class Reading:
    """Pixels of one label map or of many, read in one encoding; readings add up."""

    pixels: NDArray[np.int64]
    """(K + 1, 256): true train id, ``K`` where it is ignored or unknown, by what a value means."""
    unscored: NDArray[np.int64]
    """(256,): by value, where it is no class; 255 aside, which marks void in every encoding."""

    @classmethod
    def of(cls, by_value: NDArray[np.int64], table: UInt8) -> Reading:
        """Read pixels (K + 1, 256) by true class and value."""
        pixels = np.zeros_like(by_value)
        np.add.at(pixels.T, table, by_value.T)
        no_class = (table >= UNLISTED) & (np.arange(256) != IGNORE)
        return cls(pixels, np.where(no_class, by_value.sum(axis=0), 0))

    def __add__(self, other: Reading) -> Reading:
        return Reading(self.pixels + other.pixels, self.unscored + other.unscored)

    @property
    def impossible(self) -> float:
        """Share of the pixels whose value the encoding cannot have."""
        return float(self.pixels[:, UNLISTED].sum() / max(1, self.pixels.sum()))

    @property
    def miou(self) -> float:
        """Mean IoU; NaN without ground truth."""
        known = self.pixels[:-1]
        return mean(class_iou(known[:, : len(known)], known.sum(axis=1)))

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement with the truth beyond that of chance, 1 at best.

        A network that predicts one class, or at random, has 0 in every encoding.
        """
        known = self.pixels[:-1].astype(np.float64)
        total = max(1.0, known.sum())
        agreement = np.trace(known) / total
        chance = float(known.sum(axis=1) @ known.sum(axis=0)[: len(known)]) / total**2
        return float((agreement - chance) / (1 - chance)) if chance < 1 else 0.0

    @property
    def informedness(self) -> float:
        """Mean recall beyond that of chance, 1 at best: kappa for classes of equal size.

        A network that merges two classes has the same in every encoding.
        """
        known = self.pixels[:-1]
        recall = share(np.diagonal(known), known.sum(axis=1))
        present = np.count_nonzero(~np.isnan(recall))
        return (mean(recall) * present - 1) / (present - 1) if present > 1 else 0.0


def values_doubt(assumed: Reading, other: Reading) -> bool:
    """Return whether values speak for another encoding than the assumed one.

    Without ground truth: all values exist in the other, some are no class in the assumed one. With
    it: most pixels are no class in the assumed one, so that they are lost, and the other at least
    doubles the mIoU.
    """
    if np.isnan(assumed.miou):
        return bool(assumed.unscored.any()) and other.impossible == 0
    lost = assumed.unscored.sum() >= LEAST_UNSCORED * assumed.pixels.sum()
    return bool(lost) and other.impossible <= MOST_IMPOSSIBLE and other.miou > 2 * assumed.miou


def truth_doubts(assumed: Reading, other: Reading, margin: float = BETTER) -> bool:
    """Return whether the ground truth speaks for another encoding than the assumed one.

    However weak, a network does not take classes for one another in just the way in which two
    encodings differ: read in another one, its predictions agree with the truth by chance at most.

    Args:
        margin: by how much kappa, which follows the large classes, and informedness, in which all
            weigh the same, must be higher.
    """
    fits = other.impossible <= MOST_IMPOSSIBLE and other.miou > assumed.miou
    gains = (other.kappa - max(0, assumed.kappa), other.informedness - max(0, assumed.informedness))
    return fits and min(gains) >= margin


def fit_numbering(by_value: NDArray[np.int64]) -> UInt8:
    """Return a table (256,): for each value one class, those that share most first; else void.

    Args:
        by_value: pixels (K + 1, 256) by true class and value.
    """
    left = by_value[:-1] / np.maximum(1, by_value[:-1].sum(axis=1, keepdims=True))
    table = np.full(256, IGNORE, np.uint8)
    while left.any():
        train_id, value = np.unravel_index(left.argmax(), left.shape)
        table[value] = train_id
        left[train_id] = left[:, value] = 0
    return table
