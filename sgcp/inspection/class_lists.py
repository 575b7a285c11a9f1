"""Lists of classes that lie beside label maps, in the forms that labelling programs write."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sgcp.core.files import MAX_YAML, read_text, read_yaml
from sgcp.datasets.classes import color_code
from sgcp.datasets.custom_classes import MAX_NAME

SEPARATOR = r"[,;:\t]+"  # of a list's columns


def read_names(path: Path, colored: bool) -> tuple[dict[int, str], dict[int, int]]:
    """Return the name of each value or colour that a list of classes names, and the colours.

    Each line, or entry of JSON or YAML, has a name and up to four numbers: a value, a colour, or
    both; without numbers, lines count from 0. ``_classes.csv``, ``classes.txt``,
    ``label_colors.txt``, ``labelmap.txt`` and ``class_dict.csv`` are such lists. Where blanks alone
    part the numbers, they may belong to the names (``lane 1``): they do unless each line has as
    many and the names differ without them.
    """
    names: dict[int, str] = {}
    colors: dict[int, int] = {}
    try:
        lines = list(_entries(path))
    except (OSError, ValueError):
        return {}, {}
    rows = [_fields(line) for line in lines]
    bare = [k for k, line in enumerate(lines) if not re.search(SEPARATOR, line)]
    counts = {len(rows[k][0]) for k in bare}
    if len(counts) > 1 or len({tuple(rows[k][1]) for k in bare}) < len(bare):
        for k in bare:
            rows[k] = [], [lines[k].strip()]
    for index, (numbers, words) in enumerate(rows):
        if not words or len(numbers) not in (0, 1, 3, 4) or max(numbers, default=0) > 255:
            continue
        color = color_code(*numbers[-3:]) if len(numbers) >= 3 else None
        value = numbers[0] if len(numbers) in (1, 4) else index
        code = color if colored else value
        if code is not None and words[0].isprintable():
            names.setdefault(code, words[0][:MAX_NAME])
            if color is not None:
                colors[code] = color
    return names, colors


def _fields(line: str) -> tuple[list[int], list[str]]:
    """Return the numbers of up to three digits in a line, and the words between them."""
    parts = re.split(SEPARATOR, line)
    if blanks := len(parts) == 1:
        parts = re.split(r"\s+(?=\d+(?:\s|\Z))|(?<=\d)\s+(?=\D)", line.strip())
    numbers, words = list[int](), list[str]()
    for part in filter(None, map(str.strip, parts)):
        if re.fullmatch(r"\d{1,3}(?:\s+\d{1,3})*", part):
            numbers += map(int, part.split())
        else:
            words.append(part)
    return numbers, [" ".join(words)] * bool(words) if blanks else words


def _entries(path: Path) -> Iterator[str]:
    """Yield the lines of a list of classes, without header and comments."""
    if path.suffix.lower() in (".json", ".yaml", ".yml"):
        content = read_yaml(path)  # YAML 1.2 has JSON in it
        if isinstance(content, Mapping):
            lists = (content.get(key) for key in ("names", "labels", "classes", "categories"))
            content = next((one for one in lists if one), content)
        if isinstance(content, Mapping):
            yield from (f"{key},{value}" for key, value in content.items())
        elif isinstance(content, list):
            for entry in content:
                fields = entry if isinstance(entry, Mapping) else {"name": entry}
                keys = ("id", "value", "index", "name", "color")
                yield ",".join(re.sub(r"[\[\]]", "", str(fields[k])) for k in keys if k in fields)
        return
    lines = read_text(path, MAX_YAML).removeprefix("\ufeff").splitlines()
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    columns = r"(?i)[^\d]*\b(name|label|class|value|id)\b[^\d]*[,;:\t][^\d]*\Z"
    yield from lines[1:] if lines and re.match(columns, lines[0]) else lines
