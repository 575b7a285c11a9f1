"""Label one image, timed, and write what the page shows: overlay, labels only, or as it was."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import SemanticClass
from sgcp.datasets.label_files import train_ids_of, write_labels
from sgcp.inference.segmenter import Segmenter, resize_input
from sgcp.media.images import UInt8, photo_size, read_label, read_photo, write_png
from sgcp.reporting.panels import blend, colorize

VIEWS = {"Overlay": "overlay", "Labels": "colors", "Image": "image"}
"""What can be shown, and how its files are named; ``labels`` is the map of train ids."""
Classes = tuple[SemanticClass, ...]
Shares = list[tuple[SemanticClass, float]]

# What keeps the server below 1 GB (benchmarks/demo_memory.py).
MOST_PIXELS = 2**25  # of an image; decoding and encoding take some 12 bytes each
NETWORK_PIXELS = 2**21  # that the network sees at most; 60 bytes each
BAND = 256  # rows that are painted at once


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
        """Return (H, W, 3), of an image (H, W, 3) and its train ids (H, W)."""
        if self.view == "Image":
            return image
        colors = colorize(labels, classes)
        if self.view == "Labels":
            return colors
        return blend(image, colors, self.strength)


@dataclass(frozen=True)
class Timing:
    """How long an image took, and what ran it."""

    network: float
    """Milliseconds from the image at the network's size to a label for every pixel."""
    whole: float
    """Milliseconds from the file to the image that is shown."""
    size: tuple[int, int]
    """(height, width) of the image."""
    seen: tuple[int, int]
    """(height, width) at which the network sees it."""
    engine: str
    precision: str


@dataclass(frozen=True)
class Labelled:
    """An image that was labelled: files only, since each tab of the browser keeps one."""

    source: Path
    folder: Path
    classes: Classes
    counts: NDArray[np.int64]
    """Pixels by train id."""
    timing: Timing

    @property
    def labels(self) -> Path:
        """The file of the label map."""
        return self.folder / f"{self.source.stem}_labels.png"

    def shares(self) -> Shares:
        """Return the classes that occur and their share of the pixels, the largest first."""
        return shares(self.counts, self.classes)

    def write_shown(self, style: Style) -> Path:
        """Write what is to be shown; return its file."""
        path = self.folder / style.name(self.source.stem, ".png")
        image = read_photo(self.source)
        paint_bands(image, read_label(self.labels), self.classes, style)
        write_png(path, image)
        return path


def shares(counts: NDArray[np.integer], classes: Sequence[SemanticClass]) -> Shares:
    """Return the classes that occur and their share, the largest first.

    Args:
        counts: (256,) pixels by train id.
    """
    total = counts.sum()
    found = [(item, counts[item.train_id] / total) for item in classes if counts[item.train_id]]
    return sorted(found, key=lambda pair: -pair[1])


def label_image(path: Path, segmenter: Segmenter, style: Style, folder: Path) -> Labelled:
    """Label an image; write its label map and what is to be shown into ``folder``.

    A graph is made for each new size; a run that is not timed comes first, so that the times are
    those of the second image of its kind.

    Raises:
        SgcpError: the file is no image, or one that is refused.
    """
    size = photo_size(path)
    if size[0] * size[1] > MOST_PIXELS:
        raise SgcpError(
            f"{path}: {size[1]} x {size[0]} pixels, and this page takes {MOST_PIXELS:,}; make it "
            "smaller, or label it with `sgcp segment`"
        )
    snapshot = time.perf_counter()
    image = read_photo(path)
    size = image.shape[0], image.shape[1]
    seen = resize_input(image, network_size(segmenter, size))
    read = time.perf_counter() - snapshot
    with segmenter.slots:
        segmenter.engine.label(seen, size)
        snapshot = time.perf_counter()
        labels = segmenter.engine.label(seen, size)
        network = time.perf_counter() - snapshot
    paint_bands(image, labels, segmenter.classes, style)
    whole = read + time.perf_counter() - snapshot
    timing = Timing(1000 * network, 1000 * whole, size, (seen.shape[0], seen.shape[1]),
                    segmenter.engine.name, segmenter.engine.precision)  # fmt: skip
    made = Labelled(path, folder, segmenter.classes, count(labels), timing)
    write_labels(made.labels, labels, train_ids_of(segmenter.classes))
    del labels
    write_png(folder / style.name(path.stem, ".png"), image)
    return made


def network_size(segmenter: Segmenter, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) at which the network sees an image: as ever, but bounded."""
    height, width = segmenter.card.input_size(*size)
    factor = math.sqrt(NETWORK_PIXELS / (height * width))
    if factor >= 1:
        return height, width
    height, width = max(1, int(height * factor)), max(1, int(width * factor))
    height = min(height, NETWORK_PIXELS)  # of a strip, whose other side cannot shrink
    return height, min(width, NETWORK_PIXELS // height)


def count(labels: UInt8) -> NDArray[np.int64]:
    """Count the pixels (H, W) of each value: (256,)."""
    bands = (np.bincount(labels[rows].reshape(-1), minlength=256) for rows in bands_of(labels))
    return np.sum(list(bands), axis=0, dtype=np.int64)


def paint_bands(image: UInt8, labels: UInt8, classes: Classes, style: Style) -> None:
    """Paint over (H, W, 3) as it is to be shown, with no second image in memory."""
    for rows in bands_of(labels):
        image[rows] = style.paint(image[rows], labels[rows], classes)


def bands_of(labels: UInt8) -> Iterator[slice]:
    """Yield an image's rows, some at a time."""
    return (slice(top, top + BAND) for top in range(0, labels.shape[0], BAND))
