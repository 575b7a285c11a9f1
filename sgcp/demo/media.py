"""Label an image, a camera's frame or a video for the page, within bounds of memory."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from sgcp.core.errors import SgcpError
from sgcp.datasets.label_files import KEYWORD, train_ids_of
from sgcp.inference.prediction import grey_levels
from sgcp.inference.segmenter import Segmenter
from sgcp.inference.tta import InferenceOptions
from sgcp.media.formats import is_video
from sgcp.media.images import UInt8, encode_png, photo_size, read_photo
from sgcp.media.video import transform_video
from sgcp.media.video_reader import VideoLimits, open_video
from sgcp.models.card import STRIDE
from sgcp.reporting.panels import blend, colorize

SCALES = {"1": (1.0,), "0.75, 1": (0.75, 1.0), "0.75, 1, 1.25": (0.75, 1.0, 1.25)}
"""The multiples of the input size that the page offers for test-time augmentation."""

# These bounds keep the server below 1 GB (benchmarks/demo_memory.py).
MAX_PIXELS = 2**25  # of an image; decoding and encoding take some 12 bytes each
NETWORK_PIXELS = 2**21  # of the network's input; 60 bytes each
LIMITS = VideoLimits(pixels=2**22, threads=2)  # threads hold frames
MAX_RATE = 240  # frames/s, to bound the frames of a video that does not state its length


class StoppedError(SgcpError):
    """The user left or cancelled, or the server ends."""


class LabelRequest(BaseModel):
    """What the page asks for beside the file: the query of its request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    """Of the file, for messages."""
    model: str
    engine: str
    flip: bool = False
    scales: Literal["1", "0.75, 1", "0.75, 1, 1.25"] = "1"
    confidence: bool = False
    """Return the confidence of an image's pixels too, if the model has it."""
    frame: bool = False
    """Of a camera, which the page has as it is: it is labelled once, so that its time may include
    preparing the engine. Any other image is returned too, as it was labelled: browsers cannot open
    each format, and do not turn each one upright."""
    strength: float = Field(0.5, ge=0, le=1)
    """Opacity of the colours in a video."""

    @property
    def options(self) -> InferenceOptions:
        """Test-time augmentation."""
        return InferenceOptions(self.flip, SCALES[self.scales])


@dataclass(frozen=True)
class Result:
    """What the page shows: names and values, classes with their shares, and files by name."""

    facts: dict[str, str]
    classes: list[dict[str, Any]]
    parts: dict[str, bytes | Path]


@dataclass
class Job:
    """A file being labelled in a thread, which can be asked for its progress and stopped."""

    source: Path
    request: LabelRequest
    take: Callable[[], Segmenter]
    max_seconds: float
    """Of a video."""
    stop: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    """Frames of a video."""
    total: int | None = None
    """Frames, if the file states them."""
    started: float | None = None
    """None: it waits for earlier files."""

    def run(self) -> Result:
        """Label the file.

        Raises:
            StoppedError: ``stop`` is set.
            SgcpError: neither image nor video, or too large.
        """
        self._check_stop()
        self.started = time.perf_counter()
        return self._label_video() if is_video(self.source) else self._label_image()

    def progress(self) -> dict[str, Any]:
        """Return the frames done, how many there are, and the frames a second so far."""
        if self.started is None:
            return {"waiting": True}
        seconds = max(time.perf_counter() - self.started, 1e-9)
        return {"done": self.done, "total": self.total, "rate": round(self.done / seconds, 1)}

    def _label_image(self) -> Result:
        height, width = photo_size(self.source)
        if height * width > MAX_PIXELS:
            raise SgcpError(
                f"{self.source}: {width} x {height} pixels, and this page accepts "
                f"{MAX_PIXELS:,}. Make it smaller, or use `sgcp segment`"
            )
        segmenter, request = self.take(), self.request
        start = time.perf_counter()
        image = read_photo(self.source)
        size = image.shape[0], image.shape[1]
        seen = network_size(segmenter, size, request.options)
        read = time.perf_counter() - start
        if not request.frame:  # the first image of a size includes building a graph for it
            segmenter.segment(image, seen, request.options)
        start = time.perf_counter()
        labels = segmenter.segment(image, seen, request.options)
        took = time.perf_counter() - start
        facts = {
            "Labels": f"{1000 * took:.1f} ms",
            "Image read": f"{1000 * read:.1f} ms",
            "Image": _size_text(size),
            "Network input": _size_text(seen),
            "Engine": _engine_name(segmenter),
        }
        meaning = {KEYWORD: train_ids_of(segmenter.classes).to_text()}
        parts: dict[str, bytes | Path] = {"labels": encode_png(labels, meaning)}
        if not request.frame:
            parts["image"] = encode_png(image)
        if request.confidence and not segmenter.engine.labels:
            prediction = segmenter.predict(image, seen, request.options)
            del image
            parts["confidence"] = encode_png(grey_levels(prediction.confidence))
        return Result(facts, describe_classes(segmenter, count_pixels(labels)), parts)

    def _label_video(self) -> Result:
        with open_video(self.source, LIMITS) as video:
            seconds = (video.container.duration or 0) / av.time_base  # some files do not state it
        if seconds > self.max_seconds:
            raise SgcpError(
                f"{self.source.name}: lasts {seconds:.1f} s, and this server accepts "
                f"{self.max_seconds:g}. Cut it, or start sgcp demo with a larger --max-seconds"
            )
        segmenter, options = self.take(), self.request.options
        target = self.source.with_name(f"{self.source.stem}_overlay.mp4")
        counts, lock = np.zeros(256, np.int64), threading.Lock()
        self.started = time.perf_counter()

        def paint(frame: UInt8) -> dict[str, UInt8]:
            self._check_stop()
            size = frame.shape[0], frame.shape[1]
            labels = segmenter.segment(frame, network_size(segmenter, size, options), options)
            with lock:
                counts[:] += count_pixels(labels)
            colors = colorize(labels, segmenter.classes)
            return {"overlay": blend(frame, colors, self.request.strength)}

        made = transform_video(
            self.source, {"overlay": target}, paint, segmenter.workers, self._advance,
            limits=LIMITS,
        )  # fmt: skip
        facts = {
            "Frames": str(made.frames),
            "Speed": f"{made.frames / made.seconds:.1f} frames/s",
            "Whole": f"{made.seconds:.1f} s",
            "Frame": _size_text(made.size),
            "Engine": _engine_name(segmenter),
        }
        return Result(facts, describe_classes(segmenter, counts), {"video": target})

    def _advance(self, done: int, total: int | None) -> None:
        self.done, self.total = done, total
        self._check_stop()
        if done > self.max_seconds * MAX_RATE:
            raise SgcpError(f"{self.source.name}: lasts more than {self.max_seconds:g} s. Cut it")

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise StoppedError("stopped")


def _engine_name(segmenter: Segmenter) -> str:
    return f"{segmenter.engine.name}, {segmenter.engine.precision}"


def _size_text(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]} pixels"


def network_size(
    segmenter: Segmenter, size: tuple[int, int], options: InferenceOptions
) -> tuple[int, int]:
    """Return the (height, width) of the network's input for an image, bounded at every scale."""
    height, width = segmenter.network_size(size)
    most = int(NETWORK_PIXELS / max(1.0, *options.scales) ** 2)
    factor = math.sqrt(most / (height * width))
    if factor >= 1 or segmenter.engine.fixed:
        return height, width
    rows, columns = (max(1, int(side * factor) // STRIDE) for side in (height, width))
    rows = min(rows, most // STRIDE**2)  # of a strip, whose other side cannot shrink
    return STRIDE * rows, STRIDE * min(columns, most // STRIDE**2 // rows)


def describe_classes(segmenter: Segmenter, counts: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return each class's name, colour and share of the pixels; ``counts``: (256,) by train id."""
    return [
        {
            "name": item.name,
            "color": item.color,
            "share": round(float(counts[item.train_id] / counts.sum()), 5),
        }
        for item in segmenter.classes
    ]


def count_pixels(labels: UInt8) -> NDArray[np.int64]:
    """Count the pixels (H, W) of each value: (256,)."""
    return np.array(Image.fromarray(labels).histogram(), np.int64)  # without a wider copy
