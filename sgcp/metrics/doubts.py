"""Refuse to score predictions whose values mean something else than what they are read as."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sgcp.core.errors import SgcpError, shorten
from sgcp.datasets.classes import IGNORE, UNLISTED
from sgcp.datasets.label_files import COLORS, ENCODINGS, IDS
from sgcp.metrics.confusion import known_ids
from sgcp.metrics.encodings import (
    CHANCE,
    CLEARLY_BETTER,
    MOST_IMPOSSIBLE,
    TITLES,
    Reading,
    fit_numbering,
    tables_of,
    truth_doubts,
    values_doubt,
)

if TYPE_CHECKING:
    from sgcp.media.images import UInt8
    from sgcp.metrics.protocol import Protocol

SHOWN = 8  # impossible values


@dataclass(frozen=True)
class Readings:
    """One prediction, or several, read in every encoding that it may have."""

    by_value: NDArray[np.int64]
    """Pixels (K + 1, 256) by true class and value."""
    by_encoding: dict[str, Reading]
    impossible: frozenset[int] = frozenset()
    """Values that do not exist in the encoding it is scored in."""
    values: int = 0
    """How many values occur, at most in one file."""

    def __add__(self, other: Readings) -> Readings:
        return Readings(
            self.by_value + other.by_value,
            {
                name: reading + other.by_encoding[name]
                for name, reading in self.by_encoding.items()
                if name in other.by_encoding  # colours: where every file has a palette
            },
            self.impossible | other.impossible,
            max(self.values, other.values),
        )


def read_values(
    by_value: NDArray[np.int64], encoding: str, benchmark: Protocol, palette: UInt8 | None
) -> Readings:
    """Read the pixels (K + 1, 256) of a file, by true class and value, in every encoding.

    Args:
        encoding: in which it is scored.
        palette: train id (256,) of each value by its colour, for a file with a palette.
    """
    tables = tables_of(benchmark) | ({} if palette is None else {COLORS: palette})
    present = by_value.any(axis=0)
    odd = np.flatnonzero(present & (tables[encoding] == UNLISTED))
    readings = {name: Reading.of(by_value, table) for name, table in tables.items()}
    return Readings(by_value, readings, frozenset(odd.tolist()), int(present.sum()))


@dataclass
class Doubts:
    """What speaks against the encoding in which a folder of predictions is scored.

    Args:
        encoding: the encoding that was asked for, which is never doubted; None: label ids.
    """

    folder: Path
    benchmark: Protocol
    encoding: str | None
    files: int = 0
    total: Readings | None = None
    impossible: list[Path] = field(default_factory=list)
    """Files with values that do not exist in the encoding."""
    suspects: dict[str, list[tuple[Path, Readings]]] = field(default_factory=dict)
    """Files whose values speak for another encoding, by encoding."""

    def add(self, path: Path, readings: Readings) -> None:
        """Add a file that does not say itself what its values mean."""
        self.files += 1
        self.total = readings if self.total is None else self.total + readings
        if readings.impossible:
            self.impossible.append(path)
        assumed = readings.by_encoding[self.encoding or IDS]
        # A file of one value, perhaps blank, says little; one without a scored pixel, nothing.
        if readings.values == 1 or np.isnan(assumed.miou):
            return
        fitting = [
            name
            for name, reading in readings.by_encoding.items()
            if values_doubt(assumed, reading) or truth_doubts(assumed, reading, CLEARLY_BETTER)
        ]
        if fitting:
            self.suspects.setdefault(best_of(readings, fitting), []).append((path, readings))

    def refuse(self) -> None:
        """Refuse the folder where there is reason to.

        Raises:
            SgcpError: values do not exist in the encoding, or speak for another that was not asked
                for; names the cause and the option.
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
        values = sorted(total.impossible)
        known = known_ids(self.benchmark)
        if encoding != IDS:
            known = f"0 to {len(self.benchmark.classes) - 1}, 255 for no class"
        text = (
            f"{shorten(self.impossible, 1)}: values [{shorten(values, SHOWN)}] are no "
            f"{TITLES[encoding]} ({known})"
        )
        fitting = [
            name
            for name, reading in total.by_encoding.items()
            if name != encoding
            and reading.impossible <= MOST_IMPOSSIBLE
            and reading.impossible < assumed.impossible
            and reading.miou >= assumed.miou
        ]
        if not fitting:
            return f"{text}. Write the {TITLES[encoding][:-1]} of a class for every pixel"
        best = best_of(total, fitting)
        return f"{text}; they {compare(total, encoding, best)}. Use `--encoding {best}`"

    def _explain_suspects(self, total: Readings) -> str:
        if text := self._explain_numbering(total):
            return text
        for name in sorted(self.suspects, key=lambda name: -len(self.suspects[name])):
            paths, readings = zip(*self.suspects[name], strict=True)
            part = sum(readings[1:], readings[0])
            text = f"{shorten(paths, 1)}: values {compare(part, IDS, name)}"
            if len(paths) == self.files:
                return f"{text}. {choice(name)}"
            return (
                f"{text}. {self.files - len(paths)} other files of the folder do not: write all "
                "alike, or use `--encoding ids` to score them as label ids all the same"
            )
        assumed = total.by_encoding[IDS]
        fitting = [
            name
            for name, reading in total.by_encoding.items()
            if name != IDS and (values_doubt(assumed, reading) or truth_doubts(assumed, reading))
        ]
        if not fitting or np.isnan(assumed.miou):
            return ""
        best = best_of(total, fitting)
        return f"{self.folder}: values {compare(total, IDS, best)}. {choice(best)}"

    def _explain_numbering(self, total: Readings) -> str:
        assumed, known = total.by_encoding[IDS], total.by_encoding.values()
        table = fit_numbering(total.by_value)
        fitted = Reading.of(total.by_value, table)
        better = all(truth_doubts(reading, fitted, CLEARLY_BETTER) for reading in known)
        if assumed.informedness > CHANCE or not better:
            return ""
        classes = self.benchmark.classes
        pairs = (f"{v} is {classes[k].name}" for v, k in enumerate(table) if k != IGNORE)
        return (
            f"{self.folder}: values fit the ground truth in another order of the classes "
            f"({shorten(pairs, SHOWN)}): mIoU would be {100 * fitted.miou:.1f} %, "
            f"{100 * assumed.miou:.1f} % read as label ids. Write the label ids of this dataset, "
            "or use `--encoding ids` to score the values as they are"
        )


def best_of(readings: Readings, among: list[str]) -> str:
    """Return the encoding of the highest mIoU, the first of equal ones."""
    ordered = sorted(among, key=ENCODINGS.index)
    return max(ordered, key=lambda name: np.nan_to_num(readings.by_encoding[name].miou))


def compare(readings: Readings, assumed: str, other: str) -> str:
    """Say what values look like, with the mIoU of both readings and the option for each."""
    before, after = (
        f"{100 * np.nan_to_num(readings.by_encoding[name].miou):.1f} %" for name in (assumed, other)
    )
    return (
        f"look like {TITLES[other]}: mIoU would be {after} read as {TITLES[other]}, {before} as "
        f"{TITLES[assumed]}"
    )


def choice(other: str) -> str:
    """Say which option scores values as they look, and which as label ids all the same."""
    return f"Use `--encoding {other}` if they are, `--encoding ids` if they are label ids"
