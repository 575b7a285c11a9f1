"""Read a prediction to score: its values and their encoding."""

from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sgcp.core.errors import SgcpError, shorten
from sgcp.datasets.classes import (
    IGNORE,
    UNLISTED,
    ClassTable,
    color_code,
    color_codes,
    lookup_table,
    match_names,
)
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
from sgcp.metrics.encodings import TITLES
from sgcp.metrics.protocol import Protocol

SHOWN = 5  # colours or values without a class in a message
COLOUR_MODES = ("RGB", "RGBA")


@dataclass(frozen=True)
class Prediction:
    """The content of a prediction's file."""

    values: UInt8
    """(H, W)."""
    encoding: str
    """``IDS`` or ``TRAIN_IDS``, into which colours and values of our own files are translated."""
    described: bool
    """Whether the file describes its values itself, by text or colours."""
    palette: UInt8 | None = None
    """(256,) train id of each value by its palette's colour; None without palette."""


def read_prediction(path: Path, encoding: str, protocol: Protocol) -> Prediction:
    """Read a PNG in an encoding, which must agree with the text of our own files.

    Raises:
        SgcpError: damaged, no such PNG, colours where values are expected or the reverse, colours
            without a class, or a file of ours of another encoding or other classes.
    """
    mode = read_mode(path)
    if mode in COLOUR_MODES:
        train_ids = _read_painted(path, protocol)
        if encoding == COLORS:
            return Prediction(train_ids, TRAIN_IDS, described=True)
        raise SgcpError(
            f"{path}: a colour image, not {TITLES[encoding]}. All of its colours are class "
            "colours: add `--encoding colors` to score them"
        )
    values = read_label(path)
    if meaning := read_meaning(read_png_text(path)):
        train_ids = _translate(path, meaning, encoding, protocol)[values]
        if (unknown := np.unique(values[train_ids == UNLISTED])).size:
            raise SgcpError(
                f"{path}: values {unknown[:SHOWN].tolist()} are not among the values of its own "
                "description. It was changed after it was written: predict it again"
            )
        return Prediction(train_ids, TRAIN_IDS, described=True)
    if encoding != COLORS:
        palette = _read_palette(path, values, protocol) if mode == "P" else None
        return Prediction(values, encoding, described=False, palette=palette)
    if mode != "P":
        raise SgcpError(
            f"{path}: one channel of values, no class colours. Use `--encoding ids` or "
            "`--encoding train-ids`"
        )
    return Prediction(_read_painted(path, protocol), TRAIN_IDS, described=True)


def refuse_mixed(folder: Path, paths: Collection[Path], protocol: Protocol) -> None:
    """Refuse files that no single encoding can read, counted by what they contain."""
    found: dict[tuple[str, ...], list[Path]] = {}
    for path in paths:
        found.setdefault(_possible_encodings(path, protocol), []).append(path)
    if set(ENCODINGS).intersection(*found):
        return
    groups = []
    for encodings, files in found.items():
        content = f"contain {' or '.join(TITLES[name] for name in encodings)}"
        content = "are colour images" if encodings == (COLORS,) else content
        groups.append(f"{len(files)} of {len(paths)} {content} (such as {files[0]})")
    raise SgcpError(
        f"{folder}: predictions of several encodings: {'; '.join(groups)}. Convert all to one "
        "encoding"
    )


def _possible_encodings(path: Path, protocol: Protocol) -> tuple[str, ...]:
    mode = read_mode(path)
    if mode in COLOUR_MODES:
        return (COLORS,)
    meaning = read_meaning(read_png_text(path))
    if meaning and not ids_coincide(protocol.train_ids):
        return (meaning.encoding,)
    return ENCODINGS if mode == "P" else (IDS, TRAIN_IDS)


def read_colors(rgb: UInt8, protocol: Protocol) -> UInt8:
    """Return the train id of each colour (..., 3): (...); ``UNLISTED`` for colours of no class."""
    colors = {color_code(*color): IGNORE for color in protocol.unscored_colors}
    colors |= {color_code(*item.color): item.train_id for item in protocol.classes}
    table = ClassTable(protocol.classes, tuple(colors.items()), colored=True, rest=UNLISTED)
    return lookup_table(table)[color_codes(rgb)]


def _read_painted(path: Path, protocol: Protocol) -> UInt8:
    """Read class colours (H, W) as train ids; a palette is applied."""
    rgb = read_label_colors(path)
    train_ids = read_colors(rgb, protocol)
    unlisted = train_ids == UNLISTED
    if not unlisted.any():
        return train_ids
    colors = Counter(color_codes(rgb)[unlisted].tolist()).most_common()
    named = shorten((f"#{code:06x} ({count:,} pixels)" for code, count in colors), SHOWN)
    raise SgcpError(
        f"{path}: a colour image with colours of no class: {named}. Paint every pixel in the "
        "colour of its class, or write label ids in one 8-bit channel"
    )


def _read_palette(path: Path, values: UInt8, protocol: Protocol) -> UInt8 | None:
    """Return the train id (256,) of each value by its palette's colour; None where it has alpha."""
    with suppress(SgcpError):
        table = np.full(256, UNLISTED, np.uint8)
        table[values] = read_colors(read_label_colors(path), protocol)
        return table
    return None


def _translate(path: Path, meaning: Meaning, encoding: str, protocol: Protocol) -> UInt8:
    """Return the train id (256,) of each value of a file of ours, matched by class name."""
    content = f"its own description names {TITLES[meaning.encoding]}"
    same = encoding != COLORS and ids_coincide(protocol.train_ids)
    if meaning.encoding != encoding and not same:
        raise SgcpError(
            f"{path}: read as {TITLES[encoding]}, but {content}. "
            f"Use `--encoding {meaning.encoding}`"
        )
    try:
        train_ids = match_names([*meaning.classes], protocol.classes)
    except ValueError as error:
        origin = f" of '{meaning.dataset}'" if meaning.dataset else ""
        raise SgcpError(
            f"{path}: predicts other classes than this dataset's: {content}{origin}, of "
            f"{len(meaning.classes)} classes where the dataset has {len(protocol.classes)}; "
            f"{error}. Predict with a model of this dataset"
        ) from None
    table = np.full(256, UNLISTED, np.uint8)
    table[[*meaning.classes.values()]] = train_ids
    if meaning.encoding == TRAIN_IDS:
        table[IGNORE] = IGNORE  # below the threshold of `sgcp segment`
    return table
