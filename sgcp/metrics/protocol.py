"""How each dataset's predictions are counted: ids, categories and object sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sgcp.core.errors import shorten
from sgcp.datasets.classes import CITYSCAPES_PROTOCOL

if TYPE_CHECKING:
    from sgcp.datasets.classes import SemanticClass
    from sgcp.datasets.index import Dataset
    from sgcp.media.images import UInt8

MOST_SHOWN = 8  # label ids in a message

# Mean pixels of an object of each class, by which the official evaluator weighs objects: its
# ``args.avgClassSize``, which cannot be imported without its command line.
MEAN_OBJECT_SIZE = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}


@dataclass(frozen=True)
class Category:
    """A group of classes that is scored as one."""

    classes: tuple[int, ...]
    """Train ids of its evaluated classes."""
    object_ids: tuple[int, ...] = ()
    """Label ids that count as right for its objects, also unevaluated ones; empty where the
    category has no instance score."""


@dataclass(frozen=True)
class Protocol:
    """How predictions are counted."""

    classes: tuple[SemanticClass, ...]
    void_ids: frozenset[int] = frozenset()
    """Label ids without a scored class that a prediction may have; each is a miss."""
    unscored_colors: frozenset[tuple[int, int, int]] = frozenset({(0, 0, 0)})
    """Colours of a prediction that mean no scored class, unless a class has the same colour."""
    categories: Mapping[str, Category] = field(default_factory=dict)
    object_size: Mapping[int, float] = field(default_factory=dict)
    """Mean pixels of an object by train id, of the classes with single objects."""

    def category_of_label(self) -> NDArray[np.int16]:
        """Return a table (256,) from label id to the category whose objects it matches, or -1."""
        table = np.full(256, -1, dtype=np.int16)
        for index, category in enumerate(self.categories.values()):
            table[list(category.object_ids)] = index
        return table

    @property
    def train_ids(self) -> dict[int, int]:
        """Train id of each class by label id."""
        return {item.label_id: item.train_id for item in self.classes}

    @property
    def label_ids(self) -> list[int]:
        """All label ids that a prediction may have, in order."""
        return sorted(self.train_ids.keys() | self.void_ids)

    @property
    def label_id_of_train_id(self) -> UInt8:
        """Table (256,) from train id to label id; other values become the lowest id of no class."""
        table = np.full(256, min({*range(256)} - self.train_ids.keys()), np.uint8)
        table[: len(self.classes)] = [item.label_id for item in self.classes]
        return table

    def describe_ids(self) -> str:
        """Return all label ids that a prediction may have, as text."""
        ids = self.label_ids
        if len(ids) > 2 and ids == [*range(ids[0], ids[-1] + 1)]:
            return f"{ids[0]} to {ids[-1]}"
        return shorten(ids, MOST_SHOWN)


def protocol_of(dataset: Dataset) -> Protocol:
    """Return a dataset's protocol: Cityscapes' own, or classes alone."""
    if dataset.protocol == CITYSCAPES_PROTOCOL:
        return cityscapes_protocol(dataset.classes)
    return Protocol(dataset.classes, dataset.void_ids)


def cityscapes_protocol(classes: tuple[SemanticClass, ...]) -> Protocol:
    """Return Cityscapes' protocol, from the tables of cityscapesScripts."""
    from cityscapesscripts.helpers.labels import category2labels, labels

    train_ids = {item.label_id: item.train_id for item in classes}
    categories = {}
    for name, members in category2labels.items():
        evaluated = tuple(train_ids[label.id] for label in members if label.id in train_ids)
        # The official rule: a category has an instance score if all its classes have objects.
        scored = all(label.hasInstances for label in members if label.id >= 0)
        ids = tuple(label.id for label in members if label.id >= 0) if scored else ()
        if evaluated:
            categories[name] = Category(evaluated, ids)
    sizes = {item.train_id: MEAN_OBJECT_SIZE[item.name]
             for item in classes if item.name in MEAN_OBJECT_SIZE}  # fmt: skip
    void_ids = frozenset(label.id for label in labels if label.id >= 0) - train_ids.keys()
    colors = frozenset(tuple(label.color) for label in labels)
    return Protocol(classes, void_ids, colors, categories, sizes)
