"""Videos through a function of single frames: constant memory, timestamps and sound kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import av

from sgcp.core.errors import SgcpError
from sgcp.core.parallel import map_threads
from sgcp.media.images import SUFFIXES as IMAGES
from sgcp.media.images import UInt8, is_photo
from sgcp.media.video_reader import ANY_VIDEO, VideoLimits, open_video
from sgcp.media.video_writer import writing

Paint = Callable[[UInt8], Mapping[str, UInt8]]
Progress = Callable[[int, int | None], None]

SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".3gp",
    ".flv", ".wmv", ".ogv",
)  # fmt: skip


def is_video(path: Path) -> bool:
    """Return whether a file is a video: by its content, else by its name."""
    if is_photo(path):
        return False
    if path.suffix.lower() not in IMAGES:
        return True
    try:
        with open_video(path):
            return True
    except SgcpError:
        return False


def read_comment(path: Path) -> str:
    """Return the comment in a video's header; nothing where it is no video."""
    try:
        with av.open(str(path)) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
            return tags.get("comment", "")
    except (av.FFmpegError, OSError):
        return ""


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
    paint: Paint,
    workers: int = 2,
    progress: Progress | None = None,
    comment: str = "",
    limits: VideoLimits = ANY_VIDEO,
) -> VideoSummary:
    """Paint every frame of a video and write a video of each kind of image, whole or not at all.

    Args:
        source: any video that FFmpeg reads from a file.
        targets: a file for each kind that ``paint`` returns. ``.mp4`` gets H.264 of (H, W, 3)
            images and the sound unchanged; ``.mkv`` gets lossless FFV1 of (H, W) label maps.
        paint: takes a frame, upright, (H, W, 3) uint8 RGB; returns images of its height and
            width by kind. Called in ``workers`` threads, the results written in order.
        progress: called in this thread with the frames done and how many there are, None where
            unknown.
        comment: stands in each target, as ``read_comment`` returns it.

    Raises:
        SgcpError: no video, one without frames, or one that ends before its end. No target is
            written then, or the earlier file is unchanged.
    """
    started = perf_counter()
    with open_video(source, limits) as video:
        form = video.form()
    done = 0
    with (
        open_video(source, limits) as video,
        writing(targets, form, video.sound, comment, limits.threads) as opened,
    ):

        def work(frame: av.VideoFrame) -> dict[str, av.VideoFrame]:
            images = paint(video.upright(frame, form.directions))
            return {kind: to.prepare(images[kind], frame) for kind, to in opened.items()}

        def keep_sound(packet: av.Packet) -> None:
            for target in opened.values():
                target.keep(packet)

        for prepared in map_threads(work, video.frames(keep_sound), workers):
            for kind, frame in prepared.items():
                opened[kind].encode(frame)
            done += 1
            if progress:
                progress(done, video.expected)
        left_out = sorted({what for target in opened.values() for what in target.left_out})
    return VideoSummary(done, perf_counter() - started, form.size, tuple(left_out))
