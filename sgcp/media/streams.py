"""Cameras and network streams, played live: a slower reader gets the newest frame.

A thread receives and decodes, and keeps one frame: the newest. A stream that breaks is opened
again. Files are played by the same reader at their own speed, and none of their frames is dropped.
"""

from __future__ import annotations

import errno
import math
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter

import av

from sgcp.core.errors import SgcpError
from sgcp.media.addresses import CAMERA, Stream
from sgcp.media.images import UInt8
from sgcp.media.video_reader import (
    DEMUXERS,
    FAILURES,
    KNOWN,
    VideoForm,
    VideoReader,
    open_video,
    reason,
)

# No playlist among the formats, and only the protocols of each scheme: an address that the user
# did not name is never asked, but where the server redirects to it (HTTP, RTSP).
OPTIONS = {
    "rtsp": {
        "format_whitelist": "rtsp,rtp,mpegts", "protocol_whitelist": "rtsp,rtp,udp,tcp",
        "rtsp_flags": "prefer_tcp", "allowed_media_types": "video",
    },
    "udp": {
        "format_whitelist": "mpegts", "protocol_whitelist": "udp",
        "overrun_nonfatal": "1",  # the buffer is full while the network is being loaded
    },
    "http": {
        "format_whitelist": f"{DEMUXERS},mpjpeg",
        "protocol_whitelist": "http,https,httpproxy,tcp,tls,crypto",
    },
}  # fmt: skip
QUICK = {"analyzeduration": "1000000"}  # microseconds of the stream, to find its form
PATIENCE = 10.0  # seconds to wait for an answer, and later for the next frame
PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between attempts to open a broken stream
LOST = 300.0  # seconds without a frame after which a broken stream is given up
GLANCE = 0.5  # seconds between two looks: a wait without end is not interrupted on Windows
TICKS = 1000  # a second, of the frames' times
NO_VIDEO = (av.error.InvalidDataError, av.error.ArgumentError)  # the latter: another format
CAMERAS = {  # by platform: FFmpeg's device and how it names a camera
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("dshow", "video={}"),
}


@dataclass(frozen=True)
class Arrival:
    """A frame, and when it came."""

    frame: av.VideoFrame
    """Its time counts from the first one taken on, in ``TICKS`` a second."""
    at: float
    """``perf_counter()`` when it was decoded."""
    clock: float
    """The same; of a recording its own time, seconds."""


class LiveReader:
    """Play a stream, or a file at its own speed, in a thread, and keep the newest frame.

    Args:
        source: a stream; or the path of a video, of which no frame is dropped.
        say: prints one line, about a stream that broke.

    Attributes:
        received, dropped: frames that came, and those that newer ones replaced.
        reconnects: how often the stream was opened again.
        reconnecting: whether it broke, and no frame came since.
        form: of its frames, once there is one; later ones of another size are scaled to it.
    """

    def __init__(self, source: Stream | Path, say: Callable[[str], None]) -> None:
        self.source, self.say = source, say
        self.received = self.dropped = self.reconnects = 0
        self.reconnecting = False
        self.form: VideoForm
        self._video: VideoReader
        self._newest: Arrival | None = None
        self._error: SgcpError | None = None
        self._changed = threading.Condition()
        self._stopping, self._ended = threading.Event(), False
        self._last = 0.0
        # FFmpeg waits up to PATIENCE for a silent source; nobody waits for the thread then.
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> LiveReader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(0.5)

    def first(self) -> Arrival:
        """Wait for the first frame, and leave it for ``frames``, to prepare for its size.

        Raises:
            SgcpError: the stream cannot be opened, or is no video.
        """
        with self._changed:
            while self._newest is None and not self._ended:
                self._changed.wait(GLANCE)
            if self._newest is None:
                raise self._error or SgcpError(f"{self.source}: a video without frames")
            return self._newest

    def silence(self) -> float:
        """Return the seconds since the newest frame came; 0 while one waits, or before the first.

        A frame waits where labelling takes longer than the source.
        """
        return 0.0 if self._newest or not self.received else perf_counter() - self._last

    def frames(
        self, seconds: float | None = None, waiting: Callable[[], object] = lambda: None
    ) -> Iterator[Arrival]:
        """Yield the newest frame each time, until the source ends or for ``seconds``.

        Drops before are not counted, nor is the time for which a frame has been waiting.

        Args:
            waiting: called every ``GLANCE`` seconds while there is no frame.

        Raises:
            SgcpError: the stream cannot be opened, is no video, or is lost for ``LOST`` seconds.
        """
        begin, ticks = perf_counter(), -1
        end = None if seconds is None else begin + seconds
        self.dropped = 0
        while newest := self._take(end, waiting):
            if ticks < 0:
                zero = newest.clock
            ticks = max(round((newest.clock - zero) * TICKS), ticks + 1)
            frame = newest.frame
            frame.pts, frame.time_base, frame.duration = ticks, Fraction(1, TICKS), 0
            yield replace(newest, at=max(newest.at, begin))

    def _take(self, end: float | None, waiting: Callable[[], object]) -> Arrival | None:
        with self._changed:
            while self._newest is None and not self._ended:
                left = None if end is None else end - perf_counter()
                if left is not None and left <= 0:
                    return None
                if not self._changed.wait(GLANCE if left is None else min(left, GLANCE)):
                    waiting()
            newest, self._newest = self._newest, None
            self._changed.notify_all()
        if newest is None and self._error:
            raise self._error
        return None if newest and end and newest.at > end else newest

    def upright(self, frame: av.VideoFrame) -> UInt8:
        """Return a frame as (H, W, 3) uint8 RGB, as large as the first one."""
        return self._video.upright(frame, self.form.directions)

    def _run(self) -> None:
        try:
            if isinstance(self.source, Path):
                with open_video(self.source) as video:
                    self._play(video, video.frames(), recorded=True)
            else:
                self._follow(self.source)
        except SgcpError as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _follow(self, stream: Stream) -> None:
        """Receive a stream, and open it again when it breaks."""
        pause = PAUSE
        while not self._stopping.is_set():
            before, problem, recorded = self.received, "it ended", False
            try:
                with open_stream(stream) as video:
                    # A file, sent as fast as the server can, rather than what happens now.
                    recorded = stream.scheme == "http" and bool(video.container.duration)
                    self._play(video, _decode(video), recorded)
                    if recorded and video.ends < video.declared_end():
                        raise SgcpError(
                            f"{stream}: ends early, after {self.received:,} frames. Run the "
                            "command again, or download the file first"
                        )
                if recorded and self.received:
                    return
            except FAILURES as error:
                problem = explain(error)
                if not self.received or recorded:
                    what = f"{stream}: cannot be played: {problem}"
                    raise SgcpError(f"{what}. {_advice(stream, error)}") from None
            except SgcpError as error:
                problem = str(error).removeprefix(f"{stream}: ")
                if not self.received or recorded:
                    raise
            if self._stopping.is_set():
                return
            if not self.received:
                raise SgcpError(f"{stream}: ended without a frame. Start the source again")
            if self.received > before:
                pause = PAUSE
            if perf_counter() - self._last > LOST:
                raise SgcpError(
                    f"{stream}: lost: no frame for {LOST:g} seconds ({problem}). Run the command "
                    "again when the source sends"
                )
            self.reconnects += 1
            self.reconnecting = True
            self.say(f"{stream}: {problem}; opening it again in {pause:g} s")
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _play(self, video: VideoReader, frames: Iterable[av.VideoFrame], recorded: bool) -> None:
        """Keep the newest frame; of a recording each, not before its time."""
        begin = -math.inf
        for frame in frames:
            clock = perf_counter()
            if recorded and frame.pts is not None:
                shown = float(frame.pts * video.stream.time_base)
                begin = max(begin, clock - shown)  # later, where the network is slower
                self._stopping.wait(max(0.0, begin + shown - clock))
                clock = shown
            if not self.received:
                video.stored = {"width": frame.width, "height": frame.height}
                self.form, self._video = video.form_of(frame, Fraction(1, TICKS)), video
            with self._changed:
                while recorded and self._newest is not None and not self._stopping.is_set():
                    self._changed.wait()
                self.dropped += self._newest is not None
                self._last, self.reconnecting = perf_counter(), False
                self._newest = Arrival(frame, self._last, clock)
                self.received += 1
                self._changed.notify_all()
            if self._stopping.is_set():
                return


def _decode(video: VideoReader) -> Iterator[av.VideoFrame]:
    """Yield the frames of a stream; damaged ones are skipped until a key frame repairs it."""
    last = perf_counter()
    for packet in video.container.demux():
        video.note_end(packet)
        if packet.stream is not video.stream:
            continue
        frames: list[av.VideoFrame] = []
        with suppress(av.error.InvalidDataError):
            frames = packet.decode()  # type: ignore[assignment]
        for frame in frames:
            yield frame
            last = perf_counter()  # not the time that a recording waits for its reader
        if perf_counter() - last > PATIENCE:
            raise SgcpError(f"no frame that can be decoded for {PATIENCE:g} seconds")


@contextmanager
def open_stream(stream: Stream) -> Iterator[VideoReader]:
    """Open a camera or stream for low latency.

    Raises:
        av.FFmpegError, OSError: it cannot be opened.
        SgcpError: no video in it, frames of too many pixels, or no such camera.
    """
    device, address = find_camera(stream) if stream.is_camera else (None, stream.address)
    options = {} if stream.is_camera else OPTIONS[stream.scheme]
    container = av.open(
        address, "r", format=device, options=QUICK | options,
        timeout=(PATIENCE, PATIENCE), metadata_errors="replace",
    )  # fmt: skip
    with container:
        video = VideoReader(stream, container)
        video.stream.thread_type = "SLICE"  # threads of whole frames each keep one back
        video.stream.codec_context.flags |= av.codec.context.Flags.low_delay
        yield video


def find_camera(stream: Stream) -> tuple[str, str]:
    """Return FFmpeg's device and name of a camera; SgcpError names those that exist."""
    number = stream.address[len(CAMERA) :]
    device, pattern = CAMERAS.get(sys.platform, CAMERAS["linux"])
    if device != "v4l2":
        return device, pattern.format(number)
    path = Path(pattern.format(number))
    if not number.isdecimal() or not path.exists():
        names = (file.name.removeprefix("video") for file in path.parent.glob("video*"))
        found = sorted(int(name) for name in names if name.isdecimal())
        raise SgcpError(
            f"{stream}: no such camera. This machine has "
            f"{', '.join(f'{CAMERA}{n}' for n in found) or 'none'}"
        )
    return device, str(path)


def explain(error: BaseException) -> str:
    """Return why a stream broke, in words; FFmpeg's own contain the address with its password."""
    if isinstance(error, av.error.ExitError | TimeoutError):
        return f"no answer for {PATIENCE:g} seconds"
    if isinstance(error, NO_VIDEO):
        return "not a video that is read"
    if getattr(error, "errno", None) == errno.EIO:  # of FFmpeg: name unknown, or closed midway
        return "no connection"
    text = reason(error)
    return text[:1].lower() + text[1:]


def _advice(stream: Stream, error: BaseException) -> str:
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return f"Write user and password: {stream.scheme}://USER:PASSWORD@HOST/PATH"
    if isinstance(error, NO_VIDEO):
        return f"Expected {KNOWN}, MPEG-TS or MJPEG; playlists (.m3u8) are not followed"
    if stream.is_camera:
        return "Close other programs that use it, and check the permissions (group `video`)"
    return "Check the address, and that the source is sending"
