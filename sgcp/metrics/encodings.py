"""In which encoding predictions are written: label ids, train ids or class colours.

The same values can be read in several encodings. Each reading maps a value to the train id of its
class, to ``IGNORE`` (no class, a miss) or to ``UNLISTED`` (impossible in the encoding). A table of
pixels by true class and value scores every reading, and predictions that fit another encoding than
the assumed one are refused.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.terminal import percent
from sgcp.datasets.classes import IGNORE, UNLISTED
from sgcp.datasets.label_files import COLORS, IDS, TRAIN_IDS
from sgcp.media.images import UInt8
from sgcp.metrics.confusion import regroup
from sgcp.metrics.iou import class_iou, mean, share
from sgcp.metrics.protocol import Protocol

TITLES = {IDS: "label ids", TRAIN_IDS: "train ids", COLORS: "class colours"}
SHOWN = 8  # values in a message
MOST_IMPOSSIBLE = 0.1  # share of pixels; some networks write void as 19 or 250
LEAST_UNSCORED = 0.5  # share of pixels without a class, from which an encoding is doubted
# By how much kappa and informedness of another encoding must be higher. No simulated honest network
# reaches it, however weak (tests/metrics/test_encodings.py); most that are read in a wrong encoding
# do.
BETTER = 0.15
CLEARLY_BETTER = 0.3  # in one file, or where the other may be any numbering of the classes
CHANCE = 0.1  # informedness of values that predict next to nothing as they are read


@dataclass(frozen=True)
class Reading:
    """Pixels of one label map or of many, read in one encoding; readings add up."""

    pixels: NDArray[np.int64]
    """(K + 1, 256): true train id, ``K`` where it is ignored, by the meaning of a value."""
    unscored: int
    """Pixels whose value is no class, without 255, which marks void in every encoding."""

    @classmethod
    def of(cls, by_value: NDArray[np.int64], table: UInt8) -> Reading:
        """Read pixels (K + 1, 256) by true class and value."""
        no_class = (table >= UNLISTED) & (np.arange(256) != IGNORE)
        return cls(regroup(by_value, table), int(by_value[:, no_class].sum()))

    def __add__(self, other: Reading) -> Reading:
        return Reading(self.pixels + other.pixels, self.unscored + other.unscored)

    @property
    def impossible(self) -> float:
        """Share of the pixels whose value the encoding cannot have."""
        return float(self.pixels[:, UNLISTED].sum() / max(1, self.pixels.sum()))

    @property
    def miou(self) -> float:
        """Mean IoU; NaN without a scored pixel."""
        known = self.pixels[:-1]
        return mean(class_iou(known[:, : len(known)], known.sum(axis=1)))

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement with the ground truth beyond that of chance, 1 at best.

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

    def agrees_better(self, assumed: Reading, margin: float) -> bool:
        """Return whether this reading fits the ground truth better than the assumed one.

        However weak, a network does not confuse classes in just the way in which two encodings
        differ: read in a wrong encoding, its predictions agree with the truth by chance at most.

        Args:
            margin: by how much kappa, which follows the large classes, and informedness, in which
                all have equal weight, must be higher.
        """
        gains = (
            self.kappa - max(0, assumed.kappa),
            self.informedness - max(0, assumed.informedness),
        )
        possible = self.impossible <= MOST_IMPOSSIBLE and self.miou > assumed.miou
        return possible and min(gains) >= margin

    def fits_better(self, assumed: Reading, margin: float) -> bool:
        """Return whether the values too, or the ground truth, fit this reading better.

        Values do where most pixels are no class in the assumed reading, so that they are lost, and
        this one at least doubles the mIoU.
        """
        lost = assumed.unscored >= LEAST_UNSCORED * assumed.pixels.sum()
        doubled = self.impossible <= MOST_IMPOSSIBLE and self.miou > 2 * assumed.miou
        return bool(lost and doubled) or self.agrees_better(assumed, margin)


Readings = dict[str, Reading]
"""One prediction, or several, by the encoding in which it is read, as ``ENCODINGS`` orders them."""


def id_tables(protocol: Protocol) -> dict[str, UInt8]:
    """Return how one-channel values can be read: a table (256,) by encoding."""
    ids = np.full(256, UNLISTED, np.uint8)
    ids[list(protocol.void_ids)] = IGNORE
    ids[list(protocol.train_ids)] = list(protocol.train_ids.values())
    trains = np.full(256, UNLISTED, np.uint8)
    trains[: len(protocol.classes)] = np.arange(len(protocol.classes))
    trains[IGNORE] = IGNORE
    return {IDS: ids, TRAIN_IDS: trains}


def add_readings(some: Readings, more: Readings) -> Readings:
    """Add up what both can be read in: colours remain only where every file has a palette."""
    return {name: reading + more[name] for name, reading in some.items() if name in more}


def find_better(readings: Readings, assumed: str, margin: float) -> str:
    """Return the best encoding of those that fit better than the assumed one; else nothing."""
    fitting = [name for name in readings if name != assumed
               and readings[name].fits_better(readings[assumed], margin)]  # fmt: skip
    return find_best(readings, fitting)


def find_best(readings: Readings, encodings: Collection[str]) -> str:
    """Return the encoding of the highest mIoU, the first of equal ones; nothing for none."""
    return max(encodings, key=lambda name: np.nan_to_num(readings[name].miou), default="")


def compare(readings: Readings, assumed: str, other: str) -> str:
    """Return a text with the mIoU of two readings."""
    before, after = (percent(np.nan_to_num(readings[name].miou), 1) for name in (assumed, other))
    return (
        f"look like {TITLES[other]}: mIoU would be {after} % read as {TITLES[other]}, "
        f"{before} % as {TITLES[assumed]}"
    )


def fit_numbering(by_value: NDArray[np.int64]) -> UInt8:
    """Return a table (256,) of a class for each value, the largest overlap first; else void."""
    left = by_value[:-1] / np.maximum(1, by_value[:-1].sum(axis=1, keepdims=True))
    table = np.full(256, IGNORE, np.uint8)
    while left.any():
        train_id, value = np.unravel_index(left.argmax(), left.shape)
        table[value] = train_id
        left[train_id] = left[:, value] = 0
    return table


class Doubts:
    """Evidence against the encoding in which a folder of predictions is scored.

    Args:
        encoding: the encoding that the user names, which is never doubted; None: label ids.
    """

    def __init__(self, folder: Path, protocol: Protocol, encoding: str | None) -> None:
        self.folder, self.protocol = folder, protocol
        self.named, self.assumed = encoding is not None, encoding or IDS
        self.tables = id_tables(protocol)
        self.by_value = np.zeros((len(protocol.classes) + 1, 256), np.int64)
        self.files = 0
        self.total: Readings = {}
        self.impossible: list[Path] = []  # files with values that the encoding does not have
        self.suspects: dict[str, list[tuple[Path, Readings]]] = {}  # by what fits them better

    def add(self, path: Path, by_value: NDArray[np.int64], palette: UInt8 | None) -> None:
        """Add a file without text about its encoding.

        Args:
            by_value: its pixels (K + 1, 256) by true class and value.
            palette: train id (256,) of each value by its colour, for a file with a palette.
        """
        tables = self.tables if palette is None else self.tables | {COLORS: palette}
        readings = {name: Reading.of(by_value, table) for name, table in tables.items()}
        self.total = add_readings(self.total, readings) if self.files else readings
        self.by_value += by_value
        self.files += 1
        values = np.flatnonzero(by_value.sum(axis=0))
        if (self.tables[self.assumed][values] == UNLISTED).any():
            self.impossible.append(path)
        # A file of one value, perhaps blank, is weak evidence; one without a scored pixel is none.
        if len(values) == 1 or np.isnan(readings[self.assumed].miou):
            return
        if name := find_better(readings, self.assumed, CLEARLY_BETTER):
            self.suspects.setdefault(name, []).append((path, readings))

    def refuse(self) -> None:
        """Refuse the folder if the evidence suffices.

        Raises:
            SgcpError: values do not exist in the encoding, or fit another that the user did not
                name; says which option to use.
        """
        if self.impossible:
            raise SgcpError(self._explain_impossible())
        doubted = self.files and not self.named
        if doubted and (text := self._explain_numbering() or self._explain_suspects()):
            raise SgcpError(text)

    def _explain_impossible(self) -> str:
        total, encoding = self.total, self.assumed
        values = np.flatnonzero(self.by_value.sum(axis=0) * (self.tables[encoding] == UNLISTED))
        known = f"0 to {len(self.protocol.classes) - 1}, 255 for no class"
        if encoding == IDS:
            known = self.protocol.describe_ids()
        text = (
            f"{shorten(self.impossible, 1)}: values [{shorten(values.tolist(), SHOWN)}] "
            f"are no {TITLES[encoding]} ({known})"
        )
        fitting = [
            name
            for name, reading in total.items()
            if reading.impossible <= MOST_IMPOSSIBLE
            and reading.impossible < total[encoding].impossible
            and reading.miou >= total[encoding].miou
        ]
        if not fitting:
            return f"{text}. Write the {TITLES[encoding][:-1]} of a class for every pixel"
        best = find_best(total, fitting)
        return f"{text}; they {compare(total, encoding, best)}. Use `--encoding {best}`"

    def _explain_suspects(self) -> str:
        if self.suspects:
            name = max(self.suspects, key=lambda name: len(self.suspects[name]))
            paths, found = zip(*self.suspects[name], strict=True)
            text = f"{shorten(paths, 1)}: values {compare(reduce(add_readings, found), IDS, name)}"
            if others := self.files - len(paths):
                return (
                    f"{text}. {others} other files of the folder do not: write all alike, or use "
                    "`--encoding ids` to score them as label ids"
                )
        else:
            name = find_better(self.total, IDS, BETTER)
            if not name or np.isnan(self.total[IDS].miou):
                return ""
            text = f"{self.folder}: values {compare(self.total, IDS, name)}"
        return (
            f"{text}. Use `--encoding {name}` if they are, `--encoding ids` if they are label ids"
        )

    def _explain_numbering(self) -> str:
        assumed, table = self.total[IDS], fit_numbering(self.by_value)
        fitted = Reading.of(self.by_value, table)
        better = all(fitted.agrees_better(one, CLEARLY_BETTER) for one in self.total.values())
        if assumed.informedness > CHANCE or not better:
            return ""
        classes = self.protocol.classes
        pairs = (f"{v} is {classes[k].name}" for v, k in enumerate(table) if k != IGNORE)
        return (
            f"{self.folder}: values fit the ground truth in another order of the classes "
            f"({shorten(pairs, SHOWN)}): mIoU would be {percent(fitted.miou, 1)} %, "
            f"{percent(assumed.miou, 1)} % read as label ids. Write the label ids of this dataset, "
            "or use `--encoding ids` to score the values as they are"
        )
