"""Videos through a function of single frames: constant memory, timestamps and sound kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
Paint = Callable[[UInt8], Mapping[str, UInt8]]
Progress = Callable[[int, int | None], None]

LOSSLESS, WATCHED = ".mkv", ".mp4"


@dataclass(frozen=True)
class VideoSummary:
    """What became of one video."""

    frames: int
    """How many were painted, each once."""
    seconds: float
    """Wall-clock time that it took."""
    size: tuple[int, int]
    """(height, width) of a frame, upright."""
    left_out: tuple[str, ...] = ()
    """Streams of sound that the targets cannot hold, in words."""


def transform_video(
    source: Path,
    targets: Mapping[str, Path],
    paint: Paint,
    workers: int = 2,
    progress: Progress | None = None,
) -> VideoSummary:
    """Paint every frame of a video and write a video of each kind of picture, whole or not at all.

    Args:
        source: any video that FFmpeg reads from a file.
        targets: a file for each kind that ``paint`` returns. ``.mp4`` gets H.264 of (H, W, 3)
            pictures and the sound as it was; ``.mkv`` gets lossless FFV1 of (H, W) label maps.
        paint: takes a frame, upright, (H, W, 3) uint8 RGB; returns pictures of its height and
            width by kind. Called in ``workers`` threads, the results written in order.
        progress: called in this thread with the frames done and how many there are, None where
            the file does not say.

    Raises:
        SgcpError: no video, one without frames, or one that ends before its end. No target is
            there then, or the one that was there before is as it was.
    """
    raise NotImplementedError
