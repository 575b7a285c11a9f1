"""``classes.csv``: which values or colours of a user's label files are which class."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.files import EncodingError, read_text
from sgcp.datasets.classes import IGNORE, UNLISTED, ClassTable, SemanticClass, color_code

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


def format_classes(rows: Iterable[tuple[str, str, int | None]]) -> str:
    """Return ``classes.csv``: of each row the name, the values and the ``color_code``, if any."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, values, color in rows:
        table.writerow([name, values, "" if color is None else f"#{color:06x}"])
    return stream.getvalue()


def read_classes(path: Path) -> ClassTable:
    """Read ``classes.csv``: a header, then a row a class in the order of train ids."""
    builder = _Builder()
    try:
        for number, row in _read_rows(read_text(path, MAX_TABLE)):
            try:
                builder.add(row)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
        return builder.table()
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
        self.owners: dict[int, str] = {}
        self.colored: bool | None = None
        self.rest = UNLISTED

    def add(self, row: list[str]) -> None:
        """Take one row."""
        if len(row) != len(COLUMNS):
            raise ValueError(f"{len(row)} cells, expected {', '.join(COLUMNS)}")
        name, values, paint = row
        name = unicodedata.normalize("NFC", IGNORED if name.casefold() == IGNORED else name)
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise ValueError(f"{name[:MAX_NAME]!r} is not a class name")
        if name in self.names:
            raise ValueError(f"the name '{name}' is listed twice")
        self.names.add(name)
        texts = values.split()
        if name == IGNORED and REST in texts:
            self.rest = IGNORE
            texts = [text for text in texts if text != REST]
        elif not texts:
            raise ValueError(f"'{name}' has no values: numbers 0 to 255, or colours #rrggbb")
        codes = [self._take(name, text) for text in texts]
        if not paint and name != IGNORED:
            raise ValueError(
                f"'{name}' has no colour. Does it mean pixels without a class, neither trained on "
                f"nor scored? Then name it '{IGNORED}'. Only a class has a colour, #rrggbb"
            )
        color = _parse_color(paint or "#000000")
        if name == IGNORED:  # whose colour many programs write; ignored pixels are painted black
            return
        if other := next((item.name for item in self.classes if item.color == color), ""):
            raise ValueError(f"'{name}' would be painted like '{other}', {paint}")
        # A prediction carries the user's own value, where there are values.
        label_id = len(self.classes) if self.colored else codes[0]
        self.classes.append(SemanticClass(len(self.classes), label_id, name, color))

    def _take(self, name: str, text: str) -> int:
        """Return the code of a value or colour, which no other row may have."""
        colored = text.startswith("#")
        if self.colored not in (None, colored):
            raise ValueError(f"'{text}': numbers and colours are mixed; use one kind")
        self.colored = colored
        if colored:
            code = color_code(*_parse_color(text))
        elif re.fullmatch(r"[0-9]{1,3}", text) and int(text) < 256:
            code = int(text)
        else:
            raise ValueError(f"{text[:80]!r} is not a label value: 0 to 255, or #rrggbb")
        if code in self.owners:
            raise ValueError(f"'{text}' belongs to '{self.owners[code]}' already")
        self.owners[code] = name
        return code

    def table(self) -> ClassTable:
        """Return all rows as one table."""
        if not 2 <= len(self.classes) <= MAX_CLASSES:
            raise ValueError(
                f"{len(self.classes)} classes; 2 to {MAX_CLASSES} are possible, as labels are bytes"
            )
        ids = {item.name: item.train_id for item in self.classes}
        pairs = tuple((code, ids.get(name, IGNORE)) for code, name in self.owners.items())
        return ClassTable(tuple(self.classes), pairs, bool(self.colored), self.rest)


def means_void(name: str) -> bool:
    """Return whether a name usually means pixels without a class, in any case and spelling."""
    words = re.findall(r"[a-z]+", name.casefold().replace("'", ""))
    known = not VOID_NAMES.isdisjoint(words) and (VOID_NAMES | BESIDE_VOID).issuperset(words)
    return known or "".join(words) in VOID_NAMES


def _parse_color(text: str) -> tuple[int, int, int]:
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f"{text[:80]!r} is not a colour; write it as #rrggbb")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue
