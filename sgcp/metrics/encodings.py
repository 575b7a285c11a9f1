"""In which encoding predictions are written: label ids, train ids or class colours.

The same values can be read in several encodings. Each reading maps a value to the train id of its
class, to ``IGNORE`` (no class, a miss) or to ``UNLISTED`` (impossible in the encoding). A table of
pixels by true class and value scores every reading, and predictions that fit another encoding than
the assumed one are refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.terminal import percent
from sgcp.datasets.classes import IGNORE, UNLISTED
from sgcp.datasets.label_files import COLORS, ENCODINGS, IDS, TRAIN_IDS
from sgcp.metrics.confusion import regroup
from sgcp.metrics.iou import class_iou, mean, share

if TYPE_CHECKING:
    from sgcp.media.images import UInt8
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


def id_tables(train_ids: Mapping[int, int], void_ids: Collection[int] = ()) -> dict[str, UInt8]:
    """Return the readings of one-channel values: a table (256,) by encoding.

    Args:
        train_ids: train id by label id.
        void_ids: label ids without a scored class.
    """
    ids = np.full(256, UNLISTED, np.uint8)
    ids[list(void_ids)] = IGNORE
    ids[list(train_ids)] = list(train_ids.values())
    trains = np.full(256, UNLISTED, np.uint8)
    trains[: len(train_ids)] = np.arange(len(train_ids))
    trains[IGNORE] = IGNORE
    return {IDS: ids, TRAIN_IDS: trains}


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


def values_doubt(assumed: Reading, other: Reading) -> bool:
    """Return whether values fit another encoding better than the assumed one.

    Most pixels are no class in the assumed one, so that they are lost, and the other at least
    doubles the mIoU.
    """
    lost = assumed.unscored >= LEAST_UNSCORED * assumed.pixels.sum()
    return bool(lost) and other.impossible <= MOST_IMPOSSIBLE and other.miou > 2 * assumed.miou


def truth_doubts(assumed: Reading, other: Reading, margin: float = BETTER) -> bool:
    """Return whether another encoding fits the ground truth better than the assumed one.

    However weak, a network does not confuse classes in just the way in which two encodings differ:
    read in a wrong encoding, its predictions agree with the ground truth by chance at most.

    Args:
        margin: by how much kappa, which follows the large classes, and informedness, in which all
            have equal weight, must be higher.
    """
    fits = other.impossible <= MOST_IMPOSSIBLE and other.miou > assumed.miou
    gains = (other.kappa - max(0, assumed.kappa), other.informedness - max(0, assumed.informedness))
    return fits and min(gains) >= margin


def fit_numbering(by_value: NDArray[np.int64]) -> UInt8:
    """Return a table (256,) of a class for each value, the largest overlap first; else void.

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


@dataclass(frozen=True)
class Readings:
    """One prediction, or several, read in every encoding that it may have."""

    by_value: NDArray[np.int64]
    """Pixels (K + 1, 256) by true class and value."""
    by_encoding: dict[str, Reading]
    impossible: frozenset[int] = frozenset()
    """Values that do not exist in the encoding in which it is scored."""

    def __add__(self, other: Readings) -> Readings:
        # Colours remain only where every file has a palette.
        common = self.by_encoding.keys() & other.by_encoding.keys()
        return Readings(
            self.by_value + other.by_value,
            {name: self.by_encoding[name] + other.by_encoding[name] for name in common},
            self.impossible | other.impossible,
        )

    def best_of(self, encodings: Collection[str]) -> str:
        """Return the encoding of the highest mIoU, the first of equal ones."""
        ordered = sorted(encodings, key=ENCODINGS.index)
        return max(ordered, key=lambda name: np.nan_to_num(self.by_encoding[name].miou))

    def compare(self, assumed: str, other: str) -> str:
        """Return a text with the mIoU of both readings."""
        before, after = (
            percent(np.nan_to_num(self.by_encoding[name].miou), 1) for name in (assumed, other)
        )
        return (
            f"look like {TITLES[other]}: mIoU would be {after} % read as {TITLES[other]}, "
            f"{before} % as {TITLES[assumed]}"
        )


def read_values(
    by_value: NDArray[np.int64], encoding: str, protocol: Protocol, palette: UInt8 | None
) -> Readings:
    """Read the pixels (K + 1, 256) of a file, by true class and value, in every encoding.

    Args:
        encoding: in which it is scored.
        palette: train id (256,) of each value by its colour, for a file with a palette.
    """
    tables = id_tables(protocol.train_ids, protocol.void_ids)
    if palette is not None:
        tables[COLORS] = palette
    unknown = np.flatnonzero(by_value.any(axis=0) & (tables[encoding] == UNLISTED))
    readings = {name: Reading.of(by_value, table) for name, table in tables.items()}
    return Readings(by_value, readings, frozenset(unknown.tolist()))


@dataclass
class Doubts:
    """Evidence against the encoding in which a folder of predictions is scored.

    Args:
        encoding: the encoding that the user names, which is never doubted; None: label ids.
    """

    folder: Path
    protocol: Protocol
    encoding: str | None
    files: int = 0
    total: Readings | None = None
    impossible: list[Path] = field(default_factory=list)
    """Files with values that do not exist in the encoding."""
    suspects: dict[str, list[tuple[Path, Readings]]] = field(default_factory=dict)
    """Files whose values fit another encoding better, by encoding."""

    def add(self, path: Path, readings: Readings) -> None:
        """Add a file without text about its encoding."""
        self.files += 1
        self.total = readings if self.total is None else self.total + readings
        if readings.impossible:
            self.impossible.append(path)
        assumed = readings.by_encoding[self.encoding or IDS]
        # A file of one value, perhaps blank, is weak evidence; one without a scored pixel is none.
        if np.count_nonzero(readings.by_value.any(axis=0)) == 1 or np.isnan(assumed.miou):
            return
        if fitting := _find_better(readings, self.encoding or IDS, CLEARLY_BETTER):
            self.suspects.setdefault(readings.best_of(fitting), []).append((path, readings))

    def refuse(self) -> None:
        """Refuse the folder if the evidence suffices.

        Raises:
            SgcpError: values do not exist in the encoding, or fit another that the user did not
                name; says which option to use.
        """
        if self.total is None:
            return
        if self.impossible:
            raise SgcpError(self._explain_impossible(self.total))
        if self.encoding is None and (text := self._explain_suspects(self.total)):
            raise SgcpError(text)

    def _explain_impossible(self, total: Readings) -> str:
        encoding = self.encoding or IDS
        assumed = total.by_encoding[encoding]
        known = f"0 to {len(self.protocol.classes) - 1}, 255 for no class"
        if encoding == IDS:
            known = self.protocol.describe_ids()
        text = (
            f"{shorten(self.impossible, 1)}: values [{shorten(sorted(total.impossible), SHOWN)}] "
            f"are no {TITLES[encoding]} ({known})"
        )
        fitting = [
            name
            for name, reading in total.by_encoding.items()
            if reading.impossible <= MOST_IMPOSSIBLE
            and reading.impossible < assumed.impossible
            and reading.miou >= assumed.miou
        ]
        if not fitting:
            return f"{text}. Write the {TITLES[encoding][:-1]} of a class for every pixel"
        best = total.best_of(fitting)
        return f"{text}; they {total.compare(encoding, best)}. Use `--encoding {best}`"

    def _explain_suspects(self, total: Readings) -> str:
        if text := self._explain_numbering(total):
            return text
        if self.suspects:
            name = max(self.suspects, key=lambda name: len(self.suspects[name]))
            paths, readings = zip(*self.suspects[name], strict=True)
            text = (
                f"{shorten(paths, 1)}: values {sum(readings[1:], readings[0]).compare(IDS, name)}"
            )
            if len(paths) < self.files:
                return (
                    f"{text}. {self.files - len(paths)} other files of the folder do not: write "
                    "all alike, or use `--encoding ids` to score them as label ids"
                )
        else:
            fitting = _find_better(total, IDS, BETTER)
            if not fitting or np.isnan(total.by_encoding[IDS].miou):
                return ""
            name = total.best_of(fitting)
            text = f"{self.folder}: values {total.compare(IDS, name)}"
        return (
            f"{text}. Use `--encoding {name}` if they are, `--encoding ids` if they are label ids"
        )

    def _explain_numbering(self, total: Readings) -> str:
        assumed, readings = total.by_encoding[IDS], total.by_encoding.values()
        table = fit_numbering(total.by_value)
        fitted = Reading.of(total.by_value, table)
        better = all(truth_doubts(reading, fitted, CLEARLY_BETTER) for reading in readings)
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


def _find_better(readings: Readings, assumed: str, margin: float) -> list[str]:
    """Return the encodings that fit the values better than the assumed one."""
    before = readings.by_encoding[assumed]
    return [
        name
        for name, reading in readings.by_encoding.items()
        if name != assumed
        and (values_doubt(before, reading) or truth_doubts(before, reading, margin))
    ]
