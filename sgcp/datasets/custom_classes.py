"""``classes.csv``: which values or colours of a user's label files are which class."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.files import EncodingError, json_digest, read_text
from sgcp.datasets.classes import IGNORE, UNLISTED, SemanticClass, color_code, color_codes
from sgcp.media.images import UInt8, read_label, read_label_colors

CLASSES = "classes.csv"
COLUMNS = ["name", "values", "color"]
DELIMITERS = (",", ";", "\t")  # spreadsheets write the second where numbers have decimal commas
IGNORED = "ignore"  # the name of what is no class, in any letter case
# Names that other programs give to pixels without a class, letters only.
VOID_NAMES = {
    "void", "unlabel", "unlabeled", "unlabelled", "nolabel", "notlabeled", "notlabelled", "unknown",
    "undefined", "unassigned", "unclassified", "unannotated", "background", "bg", "ignore",
    "ignored", "ignoreregion", "none", "nothing", "null", "noclass", "dontcare", "donotcare",
    "invalid", "egovehicle", "rectificationborder", "outofroi",
}  # fmt: skip
BESIDE_VOID = {"other", "others", "label", "labels", "pixel", "pixels", "area", "region"}
REST = "*"  # of its values: every value that no row lists
MAX_TABLE = 2**20
MAX_CLASSES = UNLISTED  # train ids are bytes; beyond them stand two marks, UNLISTED and IGNORE
MAX_NAME = 80  # characters
SHOWN = 5  # unlisted values of a file


@dataclass(frozen=True)
class ClassTable:
    """The classes of a dataset and their values or colours in its label files."""

    classes: tuple[SemanticClass, ...]
    train_ids: tuple[tuple[int, int], ...]
    """Pairs of a value, or ``color_code`` of a colour, and the train id that it becomes."""
    colored: bool
    """Whether label files contain colours; else values 0 .. 255."""
    rest: int = UNLISTED
    """What values of no row become: ``UNLISTED``, an error, or ``IGNORE``."""

    @property
    def protocol(self) -> str:
        """A name for how labels become classes: another one where anything but paint differs."""
        names = [item.name for item in self.classes]
        return f"custom-{json_digest([names, sorted(self.train_ids), self.colored, self.rest])[:8]}"

    @property
    def void_ids(self) -> frozenset[int]:
        """Values that a row lists as ignored; none where label files contain colours."""
        ignored = (value for value, train_id in self.train_ids if train_id == IGNORE)
        return frozenset(() if self.colored else ignored)

    def read(self, path: Path) -> UInt8:
        """Read a label file as train ids (H, W).

        Raises:
            SgcpError: missing or damaged, or values that no row lists: each with its pixels.
        """
        codes = color_codes(read_label_colors(path)) if self.colored else read_label(path)
        label = _lookup(self)[codes]
        unlisted = codes[label == UNLISTED]
        if unlisted.size:
            raise SgcpError(
                f"{path}: {self._describe(unlisted)}, which {CLASSES} does not list; add what it "
                f"means there, as a class or as '{IGNORED}', or mend the file"
            )
        return label

    def _describe(self, codes: UInt8) -> str:
        """Return values or colours, the most frequent first, each with its number of pixels."""
        values, counts = np.unique(codes, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        shown = [
            f"{f'#{value:06x}' if self.colored else value} ({count:,} pixels)"
            for value, count in zip(values[order].tolist(), counts[order].tolist(), strict=True)
        ]
        return f"{'colour' if self.colored else 'value'} {shorten(shown, SHOWN)}"


@cache
def _lookup(table: ClassTable) -> UInt8:
    """Return the train id of each possible value."""
    lookup = np.full(2**24 if table.colored else 256, table.rest, dtype=np.uint8)
    for code, train_id in table.train_ids:
        lookup[code] = train_id
    return lookup


def read_classes(path: Path) -> ClassTable:
    """Read ``classes.csv``: a header, then a row a class in the order of train ids.

    Raises:
        SgcpError: missing, no such table, or an empty or contradictory row.
    """
    builder = _Builder()
    try:
        rows = list(_read_rows(read_text(path, MAX_TABLE)))
    except FileNotFoundError:
        raise SgcpError(
            f"{path}: no such file; it names your classes, see docs/custom-dataset.md"
        ) from None
    except EncodingError as error:
        raise SgcpError(
            f"{path}: {error}. Save it as UTF-8; Excel calls that 'CSV UTF-8 (comma delimited)'"
        ) from None
    except (ValueError, csv.Error) as error:
        raise SgcpError(f"{path}: {error}; see docs/custom-dataset.md") from None
    for number, row in rows:
        try:
            builder.add(row)
        except ValueError as error:
            raise SgcpError(f"{path}, line {number}: {error}") from None
    if not 2 <= len(builder.classes) <= MAX_CLASSES:
        raise SgcpError(
            f"{path}: {len(builder.classes)} classes; 2 to {MAX_CLASSES} are possible, as labels "
            "are bytes"
        )
    return builder.table()


def _read_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows below the header, stripped, with their line numbers."""
    if "\0" in text:
        raise EncodingError("not UTF-8 text (zero bytes, as in UTF-16)")
    text = text.removeprefix("\ufeff")  # which some spreadsheets put first
    header = next((line for line in text.splitlines() if line.strip()), "")
    rows = csv.reader(io.StringIO(text), delimiter=max(DELIMITERS, key=header.count), strict=True)
    columns: list[str] = []
    for row in rows:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if columns:
            yield rows.line_num, cells
        elif (columns := [cell.lower() for cell in cells]) != COLUMNS:
            raise ValueError(f"expected the columns {', '.join(COLUMNS)}, got {header[:80]!r}")
    if not columns:
        raise ValueError(f"is empty; expected the columns {', '.join(COLUMNS)}")


class _Builder:
    """Rows so far, each checked against the earlier ones."""

    def __init__(self) -> None:
        self.classes: list[SemanticClass] = []
        self.names: set[str] = set()
        self.paints: dict[tuple[int, int, int], str] = {}
        self.owners: dict[int, str] = {}
        self.train_ids: list[tuple[int, int]] = []
        self.colored: bool | None = None
        self.rest = UNLISTED

    def add(self, row: list[str]) -> None:
        """Take one row."""
        if len(row) != len(COLUMNS):
            raise ValueError(f"{len(row)} cells, expected {', '.join(COLUMNS)}")
        name, values, paint = row
        name = unicodedata.normalize("NFC", IGNORED if name.casefold() == IGNORED else name)
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise ValueError(f"{name[:MAX_NAME]!r} is no name of a class")
        if name in self.names:
            raise ValueError(f"the name '{name}' stands there twice")
        self.names.add(name)
        train_id = IGNORE if name == IGNORED else len(self.classes)
        codes = self._take_values(name, values.split(), train_id)
        if name != IGNORED:
            # A prediction carries the user's own value, where there are values.
            label_id = train_id if self.colored else codes[0]
            self.classes.append(SemanticClass(train_id, label_id, name, self._paint(name, paint)))
        elif paint:
            _parse_color(paint)  # written by many programs; ignored pixels are painted black

    def _take_values(self, name: str, texts: list[str], train_id: int) -> list[int]:
        """Return the codes of a row's values, now taken by it."""
        if REST in texts and name == IGNORED:
            self.rest = IGNORE
            texts = [text for text in texts if text != REST]
        elif not texts:
            raise ValueError(f"'{name}' has no values: numbers 0 to 255, or colours #rrggbb")
        codes = []
        for text in texts:
            colored = text.startswith("#")
            if self.colored not in (None, colored):
                raise ValueError(f"'{text}': numbers and colours are mixed; use one kind")
            self.colored = colored
            code = color_code(*_parse_color(text)) if colored else _parse_value(text)
            if code in self.owners:
                raise ValueError(f"'{text}' belongs to '{self.owners[code]}' already")
            self.owners[code] = name
            self.train_ids.append((code, train_id))
            codes.append(code)
        return codes

    def _paint(self, name: str, text: str) -> tuple[int, int, int]:
        """Return the colour that a class is shown in, which no other may have."""
        if not text:
            raise ValueError(
                f"'{name}' has no colour. Does it mean pixels without a class, neither trained on "
                f"nor scored? Then name it '{IGNORED}'. Only a class has a colour, #rrggbb"
            )
        color = _parse_color(text)
        if color in self.paints:
            raise ValueError(f"'{name}' would be painted like '{self.paints[color]}', {text}")
        self.paints[color] = name
        return color

    def table(self) -> ClassTable:
        """Return all rows as one table."""
        return ClassTable(tuple(self.classes), tuple(self.train_ids), bool(self.colored), self.rest)


def means_void(name: str) -> bool:
    """Return whether a name usually means pixels without a class, in any case and spelling."""
    words = re.findall(r"[a-z]+", name.casefold().replace("'", ""))
    if "".join(words) in VOID_NAMES:
        return True
    return not VOID_NAMES.isdisjoint(words) and (VOID_NAMES | BESIDE_VOID).issuperset(words)


def _parse_color(text: str) -> tuple[int, int, int]:
    """Return the RGB bytes of ``#rrggbb``."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f"{text[:80]!r} is no colour; write it as #rrggbb")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def _parse_value(text: str) -> int:
    """Return a value of a label file, 0 .. 255."""
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > 255:
        raise ValueError(f"{text[:80]!r} is no value of a label file: 0 to 255, or #rrggbb")
    return int(text)
