"""Videos through a function of single frames: constant memory, timestamps and sound kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import IO, Any, NamedTuple

import av
import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.core.files import PARTIAL
from sgcp.core.parallel import map_threads
from sgcp.media.images import UInt8
from sgcp.media.video_reader import BT709, VideoForm, VideoLimits, open_video, reason

LOSSLESS, WATCHED = ".mkv", ".mp4"
# Container, its options, codec, its options, pixel format. H.264 is nearly identical to the input
# frames at a fifth of the time of `medium`. Times are finer than milliseconds, so that sound stays
# where it was.
FORMATS: dict[str, tuple[str, dict[str, str], str, dict[str, str], str]] = {
    LOSSLESS: ("matroska", {}, "ffv1", {}, "gray"),
    WATCHED: ("mp4", {"movie_timescale": "90000"}, "libx264", {"preset": "veryfast", "crf": "20"},
              "yuv420p"),
}  # fmt: skip
# Of a live recording: in fragments of a second (microseconds) until it is complete, and without
# frames that wait in the encoder, so that all but the last second can be played after a kill.
LIVE: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    LOSSLESS: ({"cluster_time_limit": "1000", "flush_packets": "1"}, {}),
    WATCHED: ({"movflags": "hybrid_fragmented", "frag_duration": "1000000"},
              {"tune": "zerolatency"}),
}  # fmt: skip
STUDIO_RANGE = 1  # 16 .. 235, as every player expects of H.264


def read_comment(path: Path) -> str:
    """Return the comment in a video's header; nothing where it is no video."""
    try:
        with av.open(str(path)) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
            return tags.get("comment", "")
    except (av.FFmpegError, OSError):
        return ""


class InOrder(NamedTuple):
    """What is made of a frame with regard to those before it; ``paint`` is given it too."""

    predict: Callable[[UInt8], Any]
    """Takes a frame; called in threads."""
    follow: Callable[[UInt8, Any], Any]
    """Takes a frame and what ``predict`` returned; called in the frames' order."""


@dataclass(frozen=True)
class VideoSummary:
    """What was done to one video."""

    frames: int
    seconds: float
    """Wall-clock time that it took."""
    size: tuple[int, int]
    """(height, width) of a frame, upright."""
    left_out: tuple[str, ...]
    """Streams of sound that the targets cannot contain, in words."""


def transform_video(
    source: Path,
    targets: Mapping[str, Path],
    paint: Callable[..., Mapping[str, UInt8]],
    workers: int = 2,
    progress: Callable[[int, int | None], None] | None = None,
    comment: str = "",
    limits: VideoLimits = VideoLimits(),
    in_order: InOrder | None = None,
) -> VideoSummary:
    """Paint every frame of a video and write a video of each kind of image, whole or not at all.

    Args:
        targets: a file for each kind that ``paint`` returns. ``.mp4`` gets H.264 of (H, W, 3)
            images and the sound unchanged; ``.mkv`` gets lossless FFV1 of (H, W) label maps.
        paint: takes a frame, upright, (H, W, 3) uint8 RGB; returns images of its height and
            width by kind. Called in ``workers`` threads, the results written in order.
        progress: called in this thread with the frames done and how many there are; None: unknown.
        comment: stands in each target, as ``read_comment`` returns it.
        in_order: ``paint`` takes the result of its ``follow`` as a second argument.

    Raises:
        SgcpError: no video that FFmpeg reads, or one without frames or its end. Targets stay as
            they were.
    """
    started = perf_counter()
    with open_video(source, limits) as video:
        form = video.form()
    done = 0
    with (
        open_video(source, limits) as video,
        writing(targets, form, video.sound, comment, limits.threads) as opened,
    ):

        def look(frame: av.VideoFrame) -> tuple[Any, ...]:
            image = video.upright(frame, form.directions)
            return (frame, image, in_order.predict(image)) if in_order else (frame, image)

        def work(task: tuple[Any, ...]) -> dict[str, av.VideoFrame]:
            frame, *given = task
            images = paint(*given)
            return {kind: to.prepare(images[kind], frame) for kind, to in opened.items()}

        def keep_sound(packet: av.Packet) -> None:
            for target in opened.values():
                target.keep(packet)

        frames = video.frames(keep_sound)
        if in_order:
            looked = map_threads(look, frames, workers)
            tasks = (
                (frame, image, in_order.follow(image, found)) for frame, image, found in looked
            )
            painted = map_threads(work, tasks, workers)
        else:
            painted = map_threads(lambda frame: work(look(frame)), frames, workers)
        for done, prepared in enumerate(painted, 1):
            for kind, frame in prepared.items():
                opened[kind].encode(frame)
            if progress:
                progress(done, video.expected)
        left_out = sorted({what for target in opened.values() for what in target.left_out})
    return VideoSummary(done, perf_counter() - started, form.size, tuple(left_out))


class _Sink:
    """A file that fails once: PyAV prints a traceback where writes fail while it ends a video."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path, self.tell = file, path, file.tell
        self.error: OSError | None = None  # with the video's final name; FFmpeg's own may differ

    def write(self, content: bytes) -> int:
        return self._try(self.file.write, content) or len(content)

    def seek(self, *place: int) -> int:
        return self._try(self.file.seek, *place) or 0

    def flush(self) -> None:
        self._try(self.file.flush)

    def to_disk(self) -> None:
        self.flush()
        self._try(os.fsync, self.file.fileno())

    def _try(self, work: Callable[..., int | None], *given: Any) -> int | None:
        if self.error:
            return None
        try:
            return work(*given)
        except OSError as error:
            error.filename = str(self.path)
            self.error = error
            raise


class VideoTarget:
    """One video that is being written, in the format of its final suffix.

    Args:
        sound: streams to be kept; label maps get none.
        threads: that encode; 0: as many as there are processors.
        live: the file can be played while it is written.

    Raises:
        SgcpError: another suffix.
    """

    def __init__(
        self, file: _Sink, form: VideoForm, sound: Iterable[Any], threads: int, live: bool = False
    ) -> None:
        path = file.path
        if path.suffix not in FORMATS:
            raise SgcpError(f"{path}: videos are written as {WATCHED}, label maps as {LOSSLESS}")
        container, its_options, codec, options, pixels = FORMATS[path.suffix]
        if live:
            more = LIVE[path.suffix]
            its_options, options = its_options | more[0], options | more[1]
        self.form, self.labels = form, path.suffix == LOSSLESS
        self.file = file if live else None
        self.container = av.open(file, "w", format=container, container_options=its_options)
        height, width = form.size
        odd = (0, 0) if self.labels else (height % 2, width % 2)  # H.264 takes even sizes
        self.padding = ((0, odd[0]), (0, odd[1]), (0, 0))[: 2 if self.labels else 3]
        self.stream: Any = self.container.add_stream(
            codec, rate=form.rate, options=options, time_base=form.time_base, pix_fmt=pixels,
            height=height + odd[0], width=width + odd[1],
        )  # fmt: skip
        context: Any = self.stream.codec_context
        context.thread_count, context.sample_aspect_ratio = threads, form.aspect
        self.left_out: list[str] = []
        self.sound: dict[int, Any] = {}
        self.durations: dict[int, int] = {}
        if self.labels:
            return
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = STUDIO_RANGE
        for stream in sound:
            try:
                self.sound[stream.index] = self.container.add_stream_from_template(stream)
            except ValueError:
                self.left_out.append(f"sound {stream.index} ({stream.name}), which MP4 cannot hold")

    def prepare(self, image: UInt8, source: av.VideoFrame) -> av.VideoFrame:
        """Make a frame of (H, W, 3), or labels (H, W), in any thread; ValueError: other shapes."""
        if image.shape[:2] != self.form.size or image.ndim != len(self.padding):
            raise ValueError(f"painted {image.shape}, of a frame of {self.form.size}")
        if any(end for _, end in self.padding):
            image = np.pad(image, self.padding, mode="edge")
        frame = av.VideoFrame.from_ndarray(image, format="gray" if self.labels else "rgb24")
        if not self.labels:
            frame = frame.reformat(format="yuv420p", dst_colorspace=BT709)
        frame.pts, frame.time_base, frame.duration = source.pts, source.time_base, source.duration
        return frame

    def encode(self, frame: av.VideoFrame | None) -> None:
        """Write one frame; None: the frames that the encoder still keeps."""
        if frame is not None and frame.pts is not None:
            self.durations[frame.pts] = frame.duration
        for packet in self.stream.encode(frame):
            packet.duration = self.durations.pop(packet.pts, 0) or packet.duration
            self.container.mux(packet)
        if self.file:
            self.file.flush()

    def keep(self, packet: Any) -> None:
        """Write a packet of sound, its bytes and times as they are."""
        if stream := self.sound.get(packet.stream_index):
            packet.stream = stream
            self.container.mux(packet)


@contextmanager
def writing(
    targets: Mapping[str, Path],
    form: VideoForm,
    sound: Iterable[Any] = (),
    comment: str = "",
    threads: int = 0,
    live: bool = False,
) -> Iterator[dict[str, VideoTarget]]:
    """Open videos to be written; they replace earlier files when all are complete.

    ``live`` ones can be played while they are written. What is written of those remains, as
    ``NAME.partial``, if they cannot be completed.
    """
    partials = {path: path.with_name(path.name + PARTIAL) for path in targets.values()}
    files: list[_Sink] = []
    try:
        with ExitStack() as stack:
            opened = {}
            for kind, path in targets.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                file = _Sink(stack.enter_context(partials[path].open("wb")), path)
                files.append(file)
                stack.callback(file.to_disk)
                opened[kind] = VideoTarget(file, form, sound, threads, live)
                opened[kind].container.metadata["comment"] = comment
                stack.enter_context(opened[kind].container)
            yield opened
            for target in opened.values():
                target.encode(None)
        for path, partial in partials.items():
            partial.replace(path)
    except (av.FFmpegError, OSError) as error:
        if failed := next((file.error for file in files if file.error), None):
            raise failed from None
        if not isinstance(error, av.FFmpegError):
            raise
        # Such as sound whose times run backwards.
        raise SgcpError(
            f"{next(iter(partials))}: FFmpeg cannot write it ({reason(error)}); convert the video "
            "first: `ffmpeg -i FILE WHOLE.mp4`"
        ) from None
    finally:
        for partial in () if live else partials.values():
            partial.unlink(missing_ok=True)
