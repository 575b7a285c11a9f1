"""Label a video in a thread that can be asked how far it is, and stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.demo.images import Shares, Style, count, network_size, shares
from sgcp.inference.segmenter import Segmenter
from sgcp.media.images import UInt8
from sgcp.media.video import VideoSummary, transform_video
from sgcp.media.video_reader import VideoLimits, open_video

# What keeps the server below 1 GB (benchmarks/demo_memory.py); threads hold frames.
LIMITS = VideoLimits(pixels=2**22, threads=2)
FASTEST = 240  # frames/s; a file that says nothing of its length is stopped by their number


class StoppedError(SgcpError):
    """The user, or the end of the server, stopped a video."""


@dataclass
class VideoJob:
    """A video on its way."""

    source: Path
    target: Path
    load: Callable[[], Segmenter]
    style: Style
    most_seconds: float
    stop: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    """Frames."""
    total: int | None = None
    """Frames, where the file says so."""

    def __post_init__(self) -> None:
        """Begin to count."""
        self.snapshot = time.perf_counter()
        self.counts = np.zeros(256, np.int64)
        self.lock = threading.Lock()

    def run(self) -> VideoSummary:
        """Write the video.

        Raises:
            StoppedError: by ``stop``.
            SgcpError: no video, or a longer one than is allowed.
        """
        if (seconds := length(self.source)) is not None and seconds > self.most_seconds:
            raise SgcpError(
                f"{self.source.name}: lasts {seconds:.1f} s, and this server takes "
                f"{self.most_seconds:g}; cut it, or start sgcp demo with a greater --max-seconds"
            )
        self.snapshot = time.perf_counter()
        if self.stop.is_set():
            raise StoppedError("stopped")
        self.segmenter = self.load()
        self.classes, engine = self.segmenter.classes, self.segmenter.engine
        self.engine = f"{engine.name}, {engine.precision}"
        try:
            return transform_video(
                self.source, {"shown": self.target}, self.paint, self.segmenter.workers,
                self.advance, limits=LIMITS,
            )  # fmt: skip
        finally:
            del self.segmenter  # another model may take its memory

    def paint(self, frame: UInt8) -> dict[str, UInt8]:
        """Return a frame (H, W, 3) as it is to be shown."""
        if self.stop.is_set():
            raise StoppedError("stopped")
        size = frame.shape[0], frame.shape[1]
        labels = self.segmenter.segment(frame, network_size(self.segmenter, size))
        with self.lock:
            self.counts += count(labels)
        return {"shown": self.style.paint(frame, labels, self.classes)}

    def advance(self, done: int, total: int | None) -> None:
        """Note how far it is."""
        self.done, self.total = done, total
        if self.stop.is_set():
            raise StoppedError("stopped")
        if done > self.most_seconds * FASTEST:
            raise SgcpError(f"{self.source.name}: lasts more than {self.most_seconds:g} s; cut it")

    def rate(self) -> float:
        """Return frames a second, so far."""
        return self.done / max(time.perf_counter() - self.snapshot, 1e-9)

    def shares(self) -> Shares:
        """Return the classes that occurred and their share of all pixels, the largest first."""
        return shares(self.counts, self.classes)


def length(path: Path) -> float | None:
    """Return how many seconds a video says that it lasts; None: it does not say.

    Raises:
        SgcpError: no video.
    """
    with open_video(path, LIMITS) as video:
        ticks = video.container.duration
    return None if ticks is None else ticks / av.time_base
