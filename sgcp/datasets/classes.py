"""The scored classes of each dataset: names, colours and the ids that submissions carry."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.files import json_digest
from sgcp.media.images import UInt8, read_label, read_label_colors

IGNORE = 255  # train id of a pixel that is neither learned nor scored
SHOWN = 5  # unlisted values that a message names
UNLISTED = 254  # marks a colour or id that no table names
CITYSCAPES_PROTOCOL = "cityscapes-19"

# Label id, name and colour in order of train id: `trainId2label` of cityscapesScripts, of which
# checking a submission needs nothing else.
CITYSCAPES_CLASSES = (
    (7, "road", (128, 64, 128)), (8, "sidewalk", (244, 35, 232)), (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)), (13, "fence", (190, 153, 153)), (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)), (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)), (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)), (24, "person", (220, 20, 60)), (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)), (27, "truck", (0, 0, 70)), (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)), (32, "motorcycle", (0, 0, 230)), (33, "bicycle", (119, 11, 32)),
)  # fmt: skip

# The order of the SegNet edition's own labels, for both protocols, with the colours of the
# Cambridge edition's label_colors.txt for the classes of the same name.
CAMVID_CLASSES = (
    ("Sky", (128, 128, 128)), ("Building", (128, 0, 0)), ("Pole", (192, 192, 128)),
    ("Road", (128, 64, 128)), ("Pavement", (0, 0, 192)), ("Tree", (128, 128, 0)),
    ("SignSymbol", (192, 128, 128)), ("Fence", (64, 64, 128)), ("Car", (64, 0, 128)),
    ("Pedestrian", (64, 64, 0)), ("Bicyclist", (0, 128, 192)),
)  # fmt: skip


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
    """Return the 19 evaluated classes."""
    return tuple(SemanticClass(i, *row) for i, row in enumerate(CITYSCAPES_CLASSES))


@cache
def camvid_classes() -> tuple[SemanticClass, ...]:
    """Return the 11 classes of CamVid in the order of the SegNet edition."""
    return tuple(SemanticClass(i, i, name, color) for i, (name, color) in enumerate(CAMVID_CLASSES))


def match_names(names: Sequence[str], classes: Sequence[SemanticClass]) -> list[int]:
    """Return the train id of each name; a ValueError tells names that only one of the two has."""
    wanted = {item.name: item.train_id for item in classes}
    if odd := sorted(set(names) ^ wanted.keys()):
        raise ValueError(f"not in both: {', '.join(odd[:5])}")
    return [wanted[name] for name in names]


def classes_to_json(classes: tuple[SemanticClass, ...]) -> list[Any]:
    """Return a JSON form that ``classes_from_json`` reads."""
    return [asdict(item) | {"color": list(item.color)} for item in classes]


def classes_from_json(content: Sequence[Any]) -> tuple[SemanticClass, ...]:
    """Rebuild classes from JSON; ValueError: a field lacks, or train ids are not 0 .. K-1."""
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
    source: str = "classes.csv"

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
        """Read a label file as train ids (H, W); an SgcpError counts pixels of unlisted values."""
        codes = color_codes(read_label_colors(path)) if self.colored else read_label(path)
        label = lookup_table(self)[codes]
        if (unlisted := codes[label == UNLISTED]).size:
            values, counts = np.unique(unlisted, return_counts=True)
            shown = [
                f"{f'#{value:06x}' if self.colored else value} ({-negative:,} pixels)"
                for negative, value in sorted(zip((-counts).tolist(), values.tolist(), strict=True))
            ]
            raise SgcpError(
                f"{path}: {'colour' if self.colored else 'value'} {shorten(shown, SHOWN)}, which "
                f"{self.source} does not list; add what it means there, or mend the file"
            )
        return label


@cache
def lookup_table(table: ClassTable) -> UInt8:
    """Return the train id of each possible value or ``color_code``."""
    lookup = np.full(2**24 if table.colored else 256, table.rest, dtype=np.uint8)
    for code, train_id in table.train_ids:
        lookup[code] = train_id
    return lookup
