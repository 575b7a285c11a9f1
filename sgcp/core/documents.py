"""Read JSON and YAML from hands we do not know: of bounded size, and with one meaning only.

The plain parsers take the last of two equal keys, NaN where JSON has none, and YAML's aliases, ten
lines of which can stand for more text than there is memory.
"""

import json
import math
from collections import Counter
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

MAX_JSON = 32 * 2**20  # bytes; the longest that are read here are a few megabytes
MAX_YAML = 256 * 2**10  # bytes; pure Python reads about 100 KB a second
MAX_DEPTH = 32
MAX_BITS = 1024  # of a whole number; longer ones are no setting and take long to write out


class EncodingError(ValueError):
    """Text in another encoding than UTF-8."""


def read_document(path: Path, limit: int) -> str:
    """Read a UTF-8 text file of at most ``limit`` bytes.

    Raises:
        FileNotFoundError: there is no such file.
        EncodingError: not UTF-8.
        ValueError: it is longer, or no regular file.
    """
    if path.exists() and not path.is_file():
        raise ValueError("is a folder or device, not a file")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"longer than {limit:,} bytes, which nothing of this kind is")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        where = f"{error.reason} at byte {error.start}, line {line}"
        raise EncodingError(f"not UTF-8 text ({where})") from None


def parse_json(text: str) -> Any:
    """Parse JSON as its standard says, and no more.

    Raises:
        ValueError: no JSON, nested too deep, a key given twice, a number that is not finite, or
            text that is no Unicode.
    """
    try:
        content = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    if "\\ud" in text.lower():  # an escaped half of a character, which nothing can write out
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:80]!r} is given twice")
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


class _PlainComposer(Composer):
    """Refuse aliases before they are followed."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent) or event.anchor is not None:
            raise ComposerError(
                None, None, "anchors and aliases are not taken; write the value out",
                event.start_mark,
            )  # fmt: skip
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file of text, numbers, lists and maps, as DVC reads it.

    ``1e-5`` is a number and keys cannot repeat.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: too long, not YAML, or more than plain values: tags, aliases, deep nesting.
    """
    return deepcopy(_parse_yaml(read_document(path, MAX_YAML)))


@lru_cache(maxsize=4)  # training compares params.yaml after every epoch, and parsing takes 0.2 s
def _parse_yaml(text: str) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _PlainComposer
    yaml.max_depth = MAX_DEPTH
    try:
        content = yaml.load(text)
    except YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())[:300]}") from None
    except (TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not valid YAML ({type(error).__name__})") from None
    _refuse_other_than_plain(content)
    return content


def _refuse_other_than_plain(content: Any, name: str = "") -> None:
    """Refuse what JSON cannot hold, by the full name of its key."""
    problem = ""
    if isinstance(content, dict):
        for key, value in content.items():
            _refuse_other_than_plain(key, f"{name}, a key")
            if not isinstance(key, str):
                problem = "has keys other than text"
            _refuse_other_than_plain(value, f"{name}.{str(key)[:80]}".lstrip("."))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            _refuse_other_than_plain(value, f"{name}.{number}".lstrip("."))
    elif isinstance(content, str):
        if any("\ud800" <= letter <= "\udfff" for letter in content):
            problem = "half a character, which no file can hold"
    elif not (content is None or type(content) in (int, float, bool)):
        problem = "no text, number, list or map"
    elif type(content) is int and content.bit_length() > MAX_BITS:
        problem = "too large a number for any setting"
    if problem:
        raise ValueError(f"{name or 'the file'}: {problem}")
