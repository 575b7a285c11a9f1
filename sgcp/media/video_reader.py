"""A video's frames, upright and in order, and the packets of sound between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer

from sgcp.core.errors import SgcpError
from sgcp.media.images import MAX_PIXELS, UInt8

# FFmpeg's other readers follow addresses in playlists, take numbered files together, or guess.
DEMUXERS = "mov,matroska,avi,mpeg,mpegts,flv,asf,ogg"
KNOWN = "MP4, MOV, MKV, WebM, AVI, MPEG, FLV, ASF or Ogg"
SLACK = 0.5  # seconds by which headers overstate a video's length
OFTEN = Fraction(25)  # frames a second of a video without a rate
UNSPECIFIED, BT709 = 2, 1
STANDARD_LINES = 576  # taller images are BT.709 unless the file says otherwise
# What PyAV raises on damaged files; an index may point before the file's beginning.
FAILURES = (av.FFmpegError, OSError, EOFError, ValueError)


@dataclass(frozen=True)
class VideoForm:
    """What a video's frames have in common."""

    size: tuple[int, int]
    """(height, width), upright."""
    aspect: Fraction
    """Width of a pixel for its height, upright; 0: unknown."""
    rate: Fraction
    """Frames a second, on average."""
    time_base: Fraction
    """Seconds a tick of the timestamps."""
    directions: tuple[int, int, int, int]
    """a, b, c, d: the point (x, y) of a stored frame is shown at (a x + c y, b x + d y)."""


@dataclass(frozen=True)
class VideoLimits:
    """What a video may take."""

    pixels: int = MAX_PIXELS
    """Of a frame."""
    threads: int = 0
    """To decode, and to encode; 0: one for each processor. Each keeps a frame or two."""


class VideoReader:
    """Read one video of an open file or stream; ``path`` is for messages.

    Raises:
        SgcpError: nothing to see in it, or frames of too many pixels.
    """

    def __init__(
        self, path: object, container: InputContainer, limits: VideoLimits = VideoLimits()
    ) -> None:
        self.path, self.container = path, container
        covers = av.stream.Disposition.attached_pic
        seen = [s for s in container.streams.video if not s.disposition & covers]
        if not seen or seen[0].codec_context is None:
            raise SgcpError(f"{path}: no video in it that can be decoded; convert it to H.264")
        self.stream: Any = seen[0]  # PyAV's types know neither of missing rates nor of its enums
        if self.stream.width * self.stream.height > limits.pixels:
            raise SgcpError(
                f"{path}: frames of {self.stream.width}x{self.stream.height}, and at most "
                f"{limits.pixels:,} pixels are read; make it smaller: "
                "`ffmpeg -i FILE -vf scale=1280:-2 SMALLER.mp4`"
            )
        self.stored = {"width": self.stream.width, "height": self.stream.height}
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = limits.threads
        self.stream.codec_context.options = {"max_pixels": str(limits.pixels)}  # midway too
        self.sound = container.streams.audio
        self.done = 0
        self.ends = 0.0  # seconds at which the packets so far end

    @property
    def expected(self) -> int | None:
        """Estimated number of frames; None where the file has none."""
        if count := int(self.stream.frames):
            return count
        if self.container.duration is None or not self.stream.average_rate:
            return None
        return round(self.container.duration / av.time_base * self.stream.average_rate)

    def frames(self, keep_sound: Callable[[Any], None] | None = None) -> Iterator[av.VideoFrame]:
        """Yield the frames in the order they are shown, their times strictly growing.

        Args:
            keep_sound: called with each packet of sound, in order with the frames.

        Raises:
            SgcpError: damaged, or ends before its header says.
        """
        step = max(1, round(1 / ((self.stream.average_rate or OFTEN) * self.stream.time_base)))
        last = -step
        for packet, frames in self._packets():
            if keep_sound and packet.stream in self.sound and packet.dts is not None:
                keep_sound(packet)
            for frame in frames:
                # Raw streams have no times, and damaged ones have some twice.
                stated = last + step if frame.pts is None else frame.pts
                frame.pts = last = max(stated, last + 1) if self.done else stated
                self.done += 1
                yield frame

    def _packets(self) -> Iterator[tuple[Any, list[Any]]]:
        """Yield every packet with the frames that it completes."""
        broken = False
        try:
            for packet in self.container.demux():
                if self.note_end(packet):
                    broken = packet.is_corrupt
                yield packet, packet.decode() if packet.stream is self.stream else []
        except FAILURES as error:
            raise self._damage(reason(error)) from None
        if broken or self.ends < self.declared_end():
            raise self._damage("ends early")

    def note_end(self, packet: Any) -> bool:
        """Let ``ends`` reach the end of a packet of any kind; return whether it has times."""
        if packet.pts is None:
            return False
        end = (packet.pts + (packet.duration or 0)) * packet.time_base
        self.ends = max(self.ends, float(end))
        return True

    def form(self) -> VideoForm:
        """Read the first frame's form; raise SgcpError if there is none."""
        first = next(self.frames(), None)
        if first is None:
            raise SgcpError(f"{self.path}: a video without frames; record it again")
        return self.form_of(first, self.stream.time_base)

    def form_of(self, first: av.VideoFrame, time_base: Fraction) -> VideoForm:
        """Return the form of a video with this first frame and this time base."""
        directions = _directions(first)
        height, width = self.upright(first, directions).shape[:2]
        aspect = self.stream.sample_aspect_ratio or Fraction(0)
        return VideoForm(
            (height, width),
            # Of a video on its side, width and height are exchanged.
            1 / aspect if aspect and abs(directions[1]) > abs(directions[0]) else aspect,
            self.stream.average_rate or OFTEN,
            time_base,
            directions,
        )

    def upright(self, frame: av.VideoFrame, directions: tuple[int, int, int, int]) -> UInt8:
        """Return a frame as (H, W, 3) uint8 RGB, turned and mirrored as the file requires."""
        size: Any = dict(self.stored)  # some change it midway
        if frame.colorspace == UNSPECIFIED and frame.height > STANDARD_LINES:
            size["src_colorspace"] = BT709
        image: Any = frame.reformat(format="rgb24", **size).to_ndarray()
        return _turn(image, *directions)

    def declared_end(self) -> float:
        """Return the seconds at which the file should end at the earliest; 0: unknown."""
        if self.container.duration is None:
            return 0.0
        rate = self.stream.average_rate or OFTEN
        length = self.container.duration / av.time_base
        if self.container.format.name == "avi":  # where FFmpeg corrects it by the file's size
            length = max(length, float(self.stream.frames / rate))
        start = (self.container.start_time or 0) / av.time_base
        return start + length - max(SLACK, float(2 / rate))

    def _damage(self, why: str) -> SgcpError:
        of = f" of {self.expected:,}" if self.expected else ""
        return SgcpError(
            f"{self.path}: damaged after {self.done:,}{of} frames ({why}); get it again, or save "
            "the readable part: `ffmpeg -i FILE -c copy WHOLE.mkv`"
        )


@contextmanager
def open_video(path: Path, limits: VideoLimits = VideoLimits()) -> Iterator[VideoReader]:
    """Open a video; a name is never taken for an address, nor a playlist followed.

    Raises:
        SgcpError: missing, not a video, or frames of too many pixels.
    """
    if not path.is_file():
        raise SgcpError(f"{path}: no such video")
    with path.open("rb") as file:
        try:
            container = av.open(
                file, "r", options={"format_whitelist": DEMUXERS}, metadata_errors="replace"
            )
        except FAILURES as error:
            raise SgcpError(
                f"{path}: damaged or not a video in {KNOWN} ({reason(error)}); get it again"
            ) from None
        with container:
            yield VideoReader(path, container, limits)


def reason(error: BaseException) -> str:
    """Return the message of FFmpeg or the system, without numbers."""
    return str(getattr(error, "strerror", None) or error)


def _directions(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    # Of one frame only: asking ties it to itself, and it stays until the collector comes by.
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    return a, b, c, d


def _turn(image: UInt8, a: int, b: int, c: int, d: int) -> UInt8:
    """Show (h, w, 3) where a point (x, y) belongs at (a x + c y, b x + d y), by right angles."""
    right, down = a, d
    if abs(b) > abs(a):  # width and height are exchanged
        image, right, down = image.swapaxes(0, 1), c, b
    return np.ascontiguousarray(image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])
