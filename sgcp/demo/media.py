"""Label an image or a video for the page, within bounds of memory."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import SemanticClass
from sgcp.datasets.label_files import train_ids_of, write_labels
from sgcp.inference.segmenter import Segmenter
from sgcp.inference.tta import resize_input
from sgcp.media.images import UInt8, photo_size, read_label, read_photo, write_png
from sgcp.media.video import transform_video
from sgcp.media.video_reader import VideoLimits, open_video
from sgcp.reporting.panels import blend, colorize

VIEWS = {"Overlay": "overlay", "Labels": "colors", "Image": "image"}
"""What the page can show, and the suffix of its files; ``labels`` is the map of train ids."""
Classes = tuple[SemanticClass, ...]
Shares = list[tuple[SemanticClass, float]]
Facts = tuple[tuple[str, str], ...]
"""Names and values for the page."""

# These bounds keep the server below 1 GB (benchmarks/demo_memory.py).
MAX_PIXELS = 2**25  # of an image; decoding and encoding take some 12 bytes each
NETWORK_PIXELS = 2**21  # of the network's input; 60 bytes each
BAND = 256  # rows that are painted at once
LIMITS = VideoLimits(pixels=2**22, threads=2)  # threads hold frames
MAX_RATE = 240  # frames/s, to bound the frames of a video that does not state its length


class StoppedError(SgcpError):
    """The user, or the end of the server, stopped a video."""


@dataclass(frozen=True)
class Style:
    """How labels are shown."""

    view: str = "Overlay"
    """One of ``VIEWS``."""
    strength: float = 0.5
    """Opacity of the colours in the overlay, 0 .. 1."""

    def name(self, stem: str, suffix: str) -> str:
        """Return the name of the file that shows it."""
        return f"{stem}_{VIEWS[self.view]}{suffix}"

    def paint(self, image: UInt8, labels: UInt8, classes: Classes) -> UInt8:
        """Return (H, W, 3), from an image (H, W, 3) and its train ids (H, W)."""
        if self.view == "Image":
            return image
        colors = colorize(labels, classes)
        return colors if self.view == "Labels" else blend(image, colors, self.strength)


@dataclass(frozen=True)
class LabelledImage:
    """A result; its pixels are kept in files, since each tab of the browser holds one."""

    source: Path
    folder: Path
    classes: Classes
    counts: NDArray[np.int64]
    """Pixels by train id."""
    facts: Facts

    @property
    def labels(self) -> Path:
        """The file of the label map."""
        return self.folder / f"{self.source.stem}_labels.png"

    def write_view(self, style: Style) -> Path:
        """Write the image in another style; return its file."""
        path = self.folder / style.name(self.source.stem, ".png")
        image = read_photo(self.source)
        paint_bands(image, read_label(self.labels), self.classes, style)
        write_png(path, image)
        return path


def label_image(path: Path, segmenter: Segmenter, style: Style, folder: Path) -> LabelledImage:
    """Label an image; write its label map and the painted image into ``folder``.

    A warm-up run comes first, so that the time excludes building a graph for a new size.

    Raises:
        SgcpError: not an image, or too large.
    """
    size = photo_size(path)
    if size[0] * size[1] > MAX_PIXELS:
        raise SgcpError(
            f"{path}: {size[1]} x {size[0]} pixels, and this page accepts {MAX_PIXELS:,}. Make it "
            "smaller, or use `sgcp segment`"
        )
    start = time.perf_counter()
    image = read_photo(path)
    size = image.shape[0], image.shape[1]
    seen = resize_input(image, network_size(segmenter, size))
    read = time.perf_counter() - start
    with segmenter.slots:
        segmenter.engine.label(seen, size)
        start = time.perf_counter()
        labels = segmenter.engine.label(seen, size)
        network = time.perf_counter() - start
    paint_bands(image, labels, segmenter.classes, style)
    facts = (
        ("Network", f"{1000 * network:.1f} ms"),
        ("Whole", f"{1000 * (read + time.perf_counter() - start):.1f} ms"),
        ("Image", _size_text(size)),
        ("Network input", _size_text((seen.shape[0], seen.shape[1]))),
        ("Engine", _engine_name(segmenter)),
    )
    made = LabelledImage(path, folder, segmenter.classes, count_pixels(labels), facts)
    write_labels(made.labels, labels, train_ids_of(segmenter.classes))
    del labels
    write_png(folder / style.name(path.stem, ".png"), image)
    return made


@dataclass
class VideoJob:
    """A video being labelled in a thread, which can be asked for its progress and stopped."""

    source: Path
    target: Path
    load: Callable[[], Segmenter]
    style: Style
    max_seconds: float
    stop: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    """Frames."""
    total: int | None = None
    """Frames, if the file states them."""
    started: float = field(default_factory=time.perf_counter)
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Pixels by train id, over all frames."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Facts:
        """Write the video.

        Raises:
            StoppedError: ``stop`` is set.
            SgcpError: not a video, or too long.
        """
        with open_video(self.source, LIMITS) as video:
            seconds = (video.container.duration or 0) / av.time_base  # some files do not state it
        if seconds > self.max_seconds:
            raise SgcpError(
                f"{self.source.name}: lasts {seconds:.1f} s, and this server accepts "
                f"{self.max_seconds:g}. Cut it, or start sgcp demo with a larger --max-seconds"
            )
        self.started = time.perf_counter()
        self._check_stop()
        segmenter = self.load()
        self.classes = segmenter.classes

        def paint(frame: UInt8) -> dict[str, UInt8]:
            self._check_stop()
            size = frame.shape[0], frame.shape[1]
            labels = segmenter.segment(frame, network_size(segmenter, size))
            with self.lock:
                self.counts += count_pixels(labels)
            return {"shown": self.style.paint(frame, labels, self.classes)}

        made = transform_video(
            self.source, {"shown": self.target}, paint, segmenter.workers, self._advance,
            limits=LIMITS,
        )  # fmt: skip
        return (
            ("Frames", str(made.frames)),
            ("Speed", f"{made.frames / made.seconds:.1f} frames/s"),
            ("Whole", f"{made.seconds:.1f} s"),
            ("Frame", _size_text(made.size)),
            ("Engine", _engine_name(segmenter)),
        )

    def _advance(self, done: int, total: int | None) -> None:
        self.done, self.total = done, total
        self._check_stop()
        if done > self.max_seconds * MAX_RATE:
            raise SgcpError(f"{self.source.name}: lasts more than {self.max_seconds:g} s. Cut it")

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise StoppedError("stopped")

    def rate(self) -> float:
        """Return frames a second so far."""
        return self.done / max(time.perf_counter() - self.started, 1e-9)


def _engine_name(segmenter: Segmenter) -> str:
    return f"{segmenter.engine.name}, {segmenter.engine.precision}"


def _size_text(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]} pixels"


def network_size(segmenter: Segmenter, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of the network's input for an image, bounded."""
    height, width = segmenter.card.input_size(*size)
    factor = math.sqrt(NETWORK_PIXELS / (height * width))
    if factor >= 1:
        return height, width
    height, width = max(1, int(height * factor)), max(1, int(width * factor))
    height = min(height, NETWORK_PIXELS)  # of a strip, whose other side cannot shrink
    return height, min(width, NETWORK_PIXELS // height)


def shares(counts: NDArray[np.integer], classes: Sequence[SemanticClass]) -> Shares:
    """Return the classes that occur and their shares of the pixels, the largest first.

    Args:
        counts: (256,) pixels by train id.
    """
    total = counts.sum()
    found = [(item, counts[item.train_id] / total) for item in classes if counts[item.train_id]]
    return sorted(found, key=lambda pair: -pair[1])


def count_pixels(labels: UInt8) -> NDArray[np.int64]:
    """Count the pixels (H, W) of each value: (256,)."""
    return np.array(Image.fromarray(labels).histogram(), np.int64)  # without a wider copy


def paint_bands(image: UInt8, labels: UInt8, classes: Classes, style: Style) -> None:
    """Paint (H, W, 3) in place, without a second image in memory."""
    for top in range(0, labels.shape[0], BAND):
        rows = slice(top, top + BAND)
        image[rows] = style.paint(image[rows], labels[rows], classes)
