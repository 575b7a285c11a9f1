"""Read and write pictures as arrays, with errors that name the file."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sgcp.errors import SgcpError
from sgcp.files import write_bytes

UInt8 = NDArray[np.uint8]

# What Pillow raises on damaged files, beyond OSError.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(path: Path) -> UInt8:
    """Read a picture as RGB (H, W, 3) uint8.

    Raises:
        SgcpError: missing, truncated or no picture.
    """
    with _open(path) as image:
        return np.array(image.convert("RGB"))


def read_label(path: Path) -> UInt8:
    """Read a single-channel 8-bit label map (H, W) uint8; a palette is ignored, its indices kept.

    Raises:
        SgcpError: missing, truncated, or colours instead of indices.
    """
    with _open(path) as image:
        if image.mode not in ("L", "P"):
            raise SgcpError(
                f"{path}: label map of mode {image.mode}, expected one 8-bit channel of class ids"
            )
        return np.array(image)


def read_size(path: Path) -> tuple[int, int]:
    """Read (height, width) from a picture's header.

    Raises:
        SgcpError: missing or no picture.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise SgcpError(f"{path}: no such picture") from None
    except DAMAGED as error:
        raise SgcpError(f"{path}: not a readable picture ({error})") from None


def write_png(path: Path, array: UInt8) -> None:
    """Write (H, W) as mode L or (H, W, 3) as RGB, whole or not at all."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    write_bytes(path, buffer.getvalue(), flush=False)


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError:
        raise SgcpError(f"{path}: no such picture") from None
    except DAMAGED as error:
        raise SgcpError(f"{path}: damaged or not a picture ({error}); get it again") from None
    return image
