"""Label maps with the meaning of their values in the file.

A label map of ours carries a PNG text chunk ``sgcp-labels`` before its pixels, JSON such as
``{"encoding": "ids", "classes": {"road": 7, "sidewalk": 8, ...}, "dataset": "cityscapes"}``:
the encoding and the value of each class, in the order of train ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sgcp.core.files import parse_json
from sgcp.datasets.classes import SemanticClass
from sgcp.media.images import NO_TEXT, UInt8, write_png

# What the values of a label map can be; also the choices of `sgcp validate --encoding`.
IDS, TRAIN_IDS, COLORS = ENCODINGS = ("ids", "train-ids", "colors")
KEYWORD = "sgcp-labels"


@dataclass(frozen=True)
class Meaning:
    """What the values of a label map mean."""

    encoding: str
    """``IDS`` or ``TRAIN_IDS``."""
    classes: Mapping[str, int]
    """Value of each class by name, in the order of train ids."""
    dataset: str = ""
    """The dataset whose classes they are, where it is known."""
    model: str = ""
    """``model_digest`` of the model that predicted them, where the stage ``predict`` did."""
    image: str = ""
    """``digest_pixels`` of the image that they label, likewise."""

    def to_text(self) -> str:
        """Return the text under ``KEYWORD``, which ``read_meaning`` reads."""
        return json.dumps({key: value for key, value in asdict(self).items() if value})


def ids_of(classes: Sequence[SemanticClass], dataset: str) -> Meaning:
    """Return the meaning of a label map of label ids."""
    return Meaning(IDS, {item.name: item.label_id for item in classes}, dataset)


def train_ids_of(classes: Sequence[SemanticClass], dataset: str = "") -> Meaning:
    """Return the meaning of a label map of train ids, the class indices of a network."""
    return Meaning(TRAIN_IDS, {item.name: item.train_id for item in classes}, dataset)


def ids_coincide(train_ids: Mapping[int, int]) -> bool:
    """Return whether each label id is its class's train id, so that both encodings are one."""
    return all(label_id == train_id for label_id, train_id in train_ids.items())


def write_labels(
    path: Path, labels: UInt8, meaning: Meaning, text: Mapping[str, str] = NO_TEXT
) -> None:
    """Write a label map (H, W) as a PNG of mode L with its meaning, whole or not at all."""
    write_png(path, labels, {KEYWORD: meaning.to_text(), **text})


def read_meaning(text: Mapping[str, str]) -> Meaning | None:
    """Return the meaning of a label map's values; None where it has none that is readable."""
    try:
        content = parse_json(text.get(KEYWORD, ""))
        encoding, classes = content["encoding"], content["classes"].items()
        values = {str(name): value for name, value in classes}
        origin = [str(content.get(key, "")) for key in ("dataset", "model", "image")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    fits = all(type(value) is int and 0 <= value <= 255 for value in values.values())
    known = encoding in (IDS, TRAIN_IDS) and fits and len({*values.values()}) == len(values) > 0
    return Meaning(encoding, values, *origin) if known else None
