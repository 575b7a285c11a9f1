"""Label one picture, timed, and show it: overlay, labels only, or as it was."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgcp.datasets.classes import SemanticClass
from sgcp.datasets.images import UInt8
from sgcp.datasets.photos import read_photo
from sgcp.inference.segmenter import Segmenter, resize_input
from sgcp.reporting.overlay import blend
from sgcp.reporting.panels import colorize

VIEWS = {"Overlay": "overlay", "Labels": "colors", "Picture": "picture"}
"""What can be shown, and how its files are named; ``labels`` is the map of train ids."""
Classes = tuple[SemanticClass, ...]
Shares = list[tuple[SemanticClass, float]]


@dataclass(frozen=True)
class Style:
    """How labels are shown."""

    view: str = "Overlay"
    """One of ``VIEWS``."""
    strength: float = 0.5
    """Share of the colours in the overlay, 0 .. 1."""

    def name(self, stem: str, suffix: str) -> str:
        """Return the name of the file that shows it."""
        return f"{stem}_{VIEWS[self.view]}{suffix}"

    def paint(self, image: UInt8, labels: UInt8, classes: Classes) -> UInt8:
        """Return (H, W, 3), of a picture (H, W, 3) and its train ids (H, W)."""
        if self.view == "Picture":
            return image
        colors = colorize(labels, classes)
        if self.view == "Labels":
            return colors
        return blend(image, colors, self.strength)


@dataclass(frozen=True)
class Timing:
    """How long a picture took, and what ran it."""

    network: float
    """Milliseconds from the picture at the network's size to a label for every pixel."""
    whole: float
    """Milliseconds from the file to the picture that is shown."""
    size: tuple[int, int]
    """(height, width) of the picture."""
    seen: tuple[int, int]
    """(height, width) at which the network sees it."""
    engine: str
    precision: str


@dataclass(frozen=True)
class Labelled:
    """A picture and its labels."""

    image: UInt8
    """(H, W, 3) RGB."""
    labels: UInt8
    """(H, W) train ids."""
    classes: Classes
    timing: Timing

    def shares(self) -> Shares:
        """Return the classes that occur and their share of the pixels, the largest first."""
        return shares(np.bincount(self.labels.reshape(-1)), self.classes)

    def shown(self, style: Style) -> UInt8:
        """Return (H, W, 3) as it is to be shown."""
        return style.paint(self.image, self.labels, self.classes)


def shares(counts: NDArray[np.integer], classes: Sequence[SemanticClass]) -> Shares:
    """Return the classes that occur and their share, the largest first.

    Args:
        counts: pixels by train id; those beyond its end are none.
    """
    total = counts.sum()
    found = [(item, counts[item.train_id] / total) for item in classes if
             item.train_id < len(counts) and counts[item.train_id]]  # fmt: skip
    return sorted(found, key=lambda pair: -pair[1])


def label_picture(path: Path, segmenter: Segmenter, style: Style) -> Labelled:
    """Read and label a picture.

    A graph is made for each new size; a run that is not timed comes first, so that the times are
    those of the second picture of its kind.

    Raises:
        SgcpError: the file is no picture, or one that is refused.
    """
    began = time.perf_counter()
    image = read_photo(path)
    size = image.shape[0], image.shape[1]
    seen = resize_input(image, segmenter.card.input_size(*size))
    read = time.perf_counter() - began
    with segmenter.slots:
        segmenter.engine.label(seen, size)
        began = time.perf_counter()
        labels = segmenter.engine.label(seen, size)
        network = time.perf_counter() - began
    style.paint(image, labels, segmenter.classes)
    whole = read + time.perf_counter() - began
    timing = Timing(1000 * network, 1000 * whole, size, (seen.shape[0], seen.shape[1]),
                    segmenter.engine.name, segmenter.engine.precision)  # fmt: skip
    return Labelled(image, labels, segmenter.classes, timing)
