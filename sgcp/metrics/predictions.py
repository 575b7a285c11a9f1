"""Read one prediction to score: its values, and what they mean."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sgcp.core.errors import SgcpError, shorten
from sgcp.datasets.classes import UNLISTED, color_codes, match_names
from sgcp.datasets.label_files import (
    COLORS,
    ENCODINGS,
    IDS,
    TRAIN_IDS,
    Meaning,
    ids_coincide,
    read_meaning,
)
from sgcp.media.images import UInt8, read_label, read_label_colors, read_mode, read_png_text
from sgcp.metrics.encodings import TITLES, read_colors

if TYPE_CHECKING:
    from sgcp.metrics.protocol import Protocol

SHOWN = 5  # colours or values of no class
COLOUR_MODES = ("RGB", "RGBA")


@dataclass(frozen=True)
class Prediction:
    """A prediction as its file has it."""

    values: UInt8
    """(H, W)."""
    encoding: str
    """What they are read as: ``IDS``, or ``TRAIN_IDS`` where they were translated."""
    foreign: bool
    """Whether the file does not say itself what its values mean."""
    palette: UInt8 | None = None
    """(256,) what each value would be by its palette, as train id; None without palette."""


def read_prediction(path: Path, encoding: str, benchmark: Protocol) -> Prediction:
    """Read a PNG in an encoding; one of ours, which says what it is, must agree.

    Colours, and values of ours, are translated to train ids by class.

    Raises:
        SgcpError: damaged, no such PNG, colours where values are expected or the reverse, colours
            of no class, or a file of ours of another encoding or other classes.
    """
    mode = read_mode(path)
    if mode in COLOUR_MODES:
        if encoding == COLORS:
            return Prediction(read_painted(path, benchmark), TRAIN_IDS, foreign=False)
        read_painted(path, benchmark)
        raise SgcpError(
            f"{path}: a colour image, not {TITLES[encoding]}. All of its colours are class "
            "colours: add `--encoding colors` to score them"
        )
    values = read_label(path)
    if meaning := read_meaning(read_png_text(path)):
        train_ids = translate(path, meaning, encoding, benchmark)[values]
        if (odd := np.unique(values[train_ids == UNLISTED])).size:
            raise SgcpError(
                f"{path}: values {odd[:SHOWN].tolist()} are not among those that the file says it "
                "contains. It was changed after it was written: predict it again"
            )
        return Prediction(train_ids, TRAIN_IDS, foreign=False)
    if encoding != COLORS:
        palette = read_palette(path, values, benchmark) if mode == "P" else None
        return Prediction(values, encoding, True, palette)
    if mode != "P":
        raise SgcpError(
            f"{path}: one channel of values, no class colours. Use `--encoding ids` or "
            "`--encoding train-ids`"
        )
    return Prediction(read_painted(path, benchmark), TRAIN_IDS, foreign=False)


def refuse_mixed(folder: Path, paths: Collection[Path], benchmark: Protocol) -> None:
    """Refuse files that no single encoding can read.

    Raises:
        SgcpError: counting them by their encodings, with an example of each; or one is damaged.
    """
    found: dict[tuple[str, ...], list[Path]] = {}
    for path in paths:
        found.setdefault(encodings_of(path, benchmark), []).append(path)
    if set(ENCODINGS).intersection(*found):
        return
    groups = []
    for encodings, files in found.items():
        contain = f"contain {' or '.join(TITLES[name] for name in encodings)}"
        what = "are colour images" if encodings == (COLORS,) else contain
        groups.append(f"{len(files)} of {len(paths)} {what} (such as {files[0]})")
    raise SgcpError(
        f"{folder}: predictions of several encodings: {'; '.join(groups)}. Convert all to one "
        "encoding"
    )


def encodings_of(path: Path, benchmark: Protocol) -> tuple[str, ...]:
    """Return the encodings that a file can have, by its header and what it says itself."""
    mode = read_mode(path)
    if mode in COLOUR_MODES:
        return (COLORS,)
    meaning = read_meaning(read_png_text(path))
    if meaning and not ids_coincide(benchmark.train_ids):
        return (meaning.encoding,)
    return ENCODINGS if mode == "P" else (IDS, TRAIN_IDS)


def read_painted(path: Path, benchmark: Protocol) -> UInt8:
    """Read class colours (H, W) as train ids; a palette is applied.

    Raises:
        SgcpError: damaged, or colours of no class: the most frequent are named with their pixels.
    """
    rgb = read_label_colors(path)
    train_ids = read_colors(rgb, benchmark)
    unlisted = train_ids == UNLISTED
    if not unlisted.any():
        return train_ids
    codes, counts = np.unique(color_codes(rgb)[unlisted], return_counts=True)
    order = np.argsort(-counts, kind="stable").tolist()
    named = shorten((f"#{codes[k]:06x} ({counts[k]:,} pixels)" for k in order), SHOWN)
    raise SgcpError(
        f"{path}: a colour image with colours of no class: {named}. Paint every pixel in the "
        "colour of its class, or write label ids in one 8-bit channel"
    )


def read_palette(path: Path, values: UInt8, benchmark: Protocol) -> UInt8 | None:
    """Return the train id (256,) of each value by its palette's colour; None where it has alpha."""
    try:
        colors = read_colors(read_label_colors(path), benchmark)
    except SgcpError:
        return None
    table = np.full(256, UNLISTED, np.uint8)
    table[values] = colors
    return table


def translate(path: Path, meaning: Meaning, encoding: str, benchmark: Protocol) -> UInt8:
    """Return the train id (256,) of each value of a file of ours, matched by name.

    The order of the classes may be another, as of a model whose classes are numbered otherwise:
    names alone say which class is meant, here as where a model is scored.

    Raises:
        SgcpError: the file is of another encoding, or of other classes.
    """
    said = f"the file says that it contains {TITLES[meaning.encoding]}"
    alike = encoding != COLORS and ids_coincide(benchmark.train_ids)
    if meaning.encoding != encoding and not alike:
        raise SgcpError(
            f"{path}: read as {TITLES[encoding]}, but {said}. Use `--encoding {meaning.encoding}`"
        )
    try:
        train_ids = match_names([*meaning.classes], benchmark.classes)
    except ValueError as error:
        origin = f" of '{meaning.dataset}'" if meaning.dataset else ""
        raise SgcpError(
            f"{path}: predicts other classes than this dataset's: {said}{origin}, of "
            f"{len(meaning.classes)} classes where the dataset has {len(benchmark.classes)}; "
            f"{error}. Predict with a model of this dataset"
        ) from None
    table = np.full(256, UNLISTED, np.uint8)
    table[[*meaning.classes.values()]] = train_ids
    return table
