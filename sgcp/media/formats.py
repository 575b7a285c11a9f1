"""Whether a file is an image or a video."""

from importlib.util import find_spec
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.media.images import SUFFIXES as IMAGES
from sgcp.media.images import is_photo

VIDEOS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".3gp",
    ".flv", ".wmv", ".ogv",
)  # fmt: skip


def is_video(path: Path) -> bool:
    """Return whether a file is a video: by its content, else by its name."""
    if is_photo(path):
        return False
    if path.suffix.lower() not in IMAGES:
        return True
    if find_spec("av") is None:
        return False
    from sgcp.media.video_reader import open_video

    try:
        with open_video(path):
            return True
    except SgcpError:
        return False
