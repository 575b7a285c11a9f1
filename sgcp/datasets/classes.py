"""The scored classes of each dataset: names, colours and the ids that submissions carry."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgcp.media.images import UInt8

IGNORE = 255  # train id of a pixel that is neither learned nor scored
CITYSCAPES_PROTOCOL = "cityscapes-19"

# The order of the SegNet edition's own labels, for both protocols, with the colours of the
# Cambridge edition's label_colors.txt for the classes of the same name.
CAMVID_CLASSES = (
    ("Sky", (128, 128, 128)),
    ("Building", (128, 0, 0)),
    ("Pole", (192, 192, 128)),
    ("Road", (128, 64, 128)),
    ("Pavement", (0, 0, 192)),
    ("Tree", (128, 128, 0)),
    ("SignSymbol", (192, 128, 128)),
    ("Fence", (64, 64, 128)),
    ("Car", (64, 0, 128)),
    ("Pedestrian", (64, 64, 0)),
    ("Bicyclist", (0, 128, 192)),
)


@dataclass(frozen=True)
class SemanticClass:
    """One scored class."""

    train_id: int
    """What the network predicts, 0 .. K-1."""
    label_id: int
    """What a submission carries: the dataset's own id (Cityscapes', or the first value that a user
    lists), or the train id where it has none."""
    name: str
    color: tuple[int, int, int]
    """RGB bytes for images."""


@cache
def cityscapes_classes() -> tuple[SemanticClass, ...]:
    """Return the 19 evaluated classes, read from ``cityscapesscripts.helpers.labels``."""
    from cityscapesscripts.helpers.labels import trainId2label

    labels = (trainId2label[train_id] for train_id in range(19))
    return tuple(
        SemanticClass(label.trainId, label.id, label.name, tuple(label.color)) for label in labels
    )


@cache
def camvid_classes() -> tuple[SemanticClass, ...]:
    """Return the 11 classes of CamVid in the order of the SegNet edition."""
    return tuple(
        SemanticClass(index, index, name, color)
        for index, (name, color) in enumerate(CAMVID_CLASSES)
    )


def match_names(names: Sequence[str], classes: Sequence[SemanticClass]) -> list[int]:
    """Return the train id of each name.

    Raises:
        ValueError: the two do not name the same classes; the message names the others.
    """
    wanted = {item.name: item.train_id for item in classes}
    if odd := sorted(set(names) ^ wanted.keys()):
        raise ValueError(f"not in both: {', '.join(odd[:5])}")
    return [wanted[name] for name in names]


def classes_to_json(classes: tuple[SemanticClass, ...]) -> list[Any]:
    """Return a JSON form that ``classes_from_json`` reads."""
    return [asdict(item) | {"color": list(item.color)} for item in classes]


def classes_from_json(content: Sequence[Any]) -> tuple[SemanticClass, ...]:
    """Rebuild classes from JSON, in order of train id.

    Raises:
        ValueError: train ids are not exactly 0 .. K-1, or a class lacks a field.
    """
    try:
        classes = tuple(
            SemanticClass(
                int(row["train_id"]),
                int(row["label_id"]),
                str(row["name"]),
                (int(row["color"][0]), int(row["color"][1]), int(row["color"][2])),
            )
            for row in content
        )
    except (KeyError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"classes: a row lacks {error}") from None
    numbers = [n for item in classes for n in (item.label_id, *item.color)]
    if any(not 0 <= number <= 255 for number in numbers):
        raise ValueError("classes: ids and colours must be bytes, 0 .. 255")
    if not classes or [item.train_id for item in classes] != list(range(len(classes))):
        raise ValueError("classes: train ids must be 0, 1, 2, ... in order")
    return classes


UNLISTED = 254  # marks a colour or id that no table names


def color_code(red: int, green: int, blue: int) -> int:
    """Return a colour as one number of 24 bits."""
    return red << 16 | green << 8 | blue


def color_codes(rgb: UInt8) -> NDArray[np.intp]:
    """Return the number of each colour of an image (H, W, 3): (H, W)."""
    # In place, and of numpy's own index type: half the time.
    codes = rgb[..., 0].astype(np.intp)
    for channel in (1, 2):
        codes <<= 8
        codes |= rgb[..., channel]
    return codes
