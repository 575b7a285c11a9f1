"""Anybody's images as a viewer shows them: upright, opaque, 8 bits a channel.

A dataset's images are refused where they can be understood in two ways (``images``): one of them
would be wrong beside its labels. Whoever labels an image of their own wants what they see.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFilter, ImageOps

from sgcp.core.errors import SgcpError
from sgcp.media.images import (
    DAMAGED,
    GUESSES_REFUSED,
    MAX_BYTES,
    MAX_PIXELS,
    UInt8,
    has_every_row,
    pixel_layout,
    read_image,
)

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")  # none starts a program or guesses
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
PAPER = (255, 255, 255, 255)
DECODERS = {"PNG": imagecodecs.png_decode, "TIFF": imagecodecs.tiff_decode}  # all 16 bits
DARK = 2**14  # an image of 16 bits whose values are all below is doubted
BAND = 256  # rows


class DarkImageWarning(Warning):  # a UserWarning is an error while any thread opens an image
    """An image of 16 bits a channel is probably read too dark."""


def warn_dark(text: str) -> None:
    """Warn as Python does."""
    warnings.warn(text, DarkImageWarning, stacklevel=2)


def read_photo(path: Path, doubt: Callable[[str], object] = warn_dark) -> UInt8:
    """Read an image as a viewer shows it: RGB (H, W, 3) uint8.

    Turned and mirrored as its EXIF orientation says; laid on white where it is transparent; of
    several frames the first; 16 bits of grey scaled to 8, other 16-bit channels cut to their
    upper 8; CMYK by Pillow's plain formula, without colour profiles.

    Args:
        doubt: takes the reason why a 16-bit image is probably read too dark, if there is one.

    Raises:
        SgcpError: missing, damaged, truncated, too big, none of ``FORMATS``, or of 32 bits a pixel,
            where nothing says which value is white.
    """
    with suppress(SgcpError):  # not as datasets have it: perhaps as people do
        return read_image(path)
    return _as_shown(path, doubt)


def photo_size(path: Path) -> tuple[int, int]:
    """Read (height, width) from an image's header, before any EXIF rotation.

    Raises:
        SgcpError: missing, none of ``FORMATS``, or too big for ``read_photo``.
    """
    with _opened(path) as image:
        return image.height, image.width


def is_photo(path: Path) -> bool:
    """Tell whether a file begins like an image, that ``read_photo`` may read or call too big."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return True  # too big an image, and named so when it is read
    except (*DAMAGED, Warning):
        return False


def _as_shown(path: Path, doubt: Callable[[str], object]) -> UInt8:
    with _opened(path) as image:
        is_grey = image.mode.startswith("I;16")
        if ";16" in pixel_layout(image) and image.format in DECODERS and not is_grey:
            _doubt_depth(str(path), DECODERS[image.format](path.read_bytes()), doubt)
        with Image.open(path, formats=FORMATS) as again:
            again.verify()  # checksums that decoding does not look at
        image.load()
        if image.format == "PNG" and not has_every_row(path):
            raise SgcpError(f"{path}: damaged, it holds fewer rows than it declares; get it again")
        ImageOps.exif_transpose(image, in_place=True)
        try:
            return convert_photo(image, doubt)
        except ValueError as error:
            raise SgcpError(f"{path}: {error}") from None


def convert_photo(image: Image.Image, doubt: Callable[[str], object] = warn_dark) -> UInt8:
    """Return a PIL image as ``read_photo`` returns a file of it: RGB (H, W, 3) uint8.

    Pillow opens 16-bit grey only with all bits: other images are not doubted.

    Raises:
        ValueError: 32 bits a pixel, or no pixel at all.
    """
    if image.mode in ("I", "F"):
        raise ValueError(
            f"mode {image.mode}: nothing says which value is white; save it with 8 or 16 bits a "
            "channel"
        )
    if 0 in image.size:
        raise ValueError(f"an image of {image.width} x {image.height} pixels")
    if image.mode.startswith("I;16"):
        _doubt_depth(getattr(image, "filename", "") or "image", np.asarray(image), doubt)
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    return _rgb(ImageOps.exif_transpose(image) if turned else image)  # it would copy any image


def _doubt_depth(name: str, pixels: NDArray[np.uint16], doubt: Callable[[str], object]) -> None:
    """Tell ``doubt`` why 16-bit values, (H, W) or (H, W, C), may be read too dark, if they may.

    Cameras store 10, 12 or 14 bits in files of 16, with values far below the largest one. Lone
    pixels four times as bright as all others are defects of the camera.
    """
    if pixels.ndim == 3:
        colors = pixels.shape[2] - (pixels.shape[2] in (2, 4))  # without alpha
        pixels = pixels[..., :colors].max(axis=2)
    largest = int(pixels.max())
    if largest >= DARK:
        bright = pixels > largest // 4
        if not Image.fromarray(bright.view(np.uint8)).filter(ImageFilter.MinFilter(3)).getbbox():
            largest = int(pixels.max(where=~bright, initial=0))  # no 3 x 3 of them
    if 0 < largest < DARK:
        bits = largest.bit_length()
        doubt(
            f"{name}: values up to {largest:,} of 65,535, so it is read dark: data of {bits} bits "
            f"in a 16-bit file? Multiply its values by {2 ** (16 - bits)} first "
            f"(`magick FILE -evaluate multiply {2 ** (16 - bits)} OUT.png`)"
        )


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if not path.is_file():
        raise SgcpError(f"{path}: no such image")
    if path.stat().st_size > MAX_BYTES:
        raise SgcpError(f"{path}: {path.stat().st_size:,} bytes; no image is so big")
    too_big = f"{path}: more than {MAX_PIXELS:,} pixels; cut it into tiles or make it smaller"
    try:
        with GUESSES_REFUSED, Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SgcpError(too_big)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise SgcpError(too_big) from None
    except DAMAGED as error:
        raise SgcpError(
            f"{path}: damaged or not an image in {', '.join(FORMATS)} ({error}); get it again"
        ) from None


def _rgb(image: Image.Image) -> UInt8:
    """Convert to RGB (H, W, 3) by bands of rows: each step would copy the whole image."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, BAND):
        bottom = min(top + BAND, image.height)
        pixels[top:bottom] = _rgb_band(image.crop((0, top, image.width, bottom)))
    return pixels


def _rgb_band(image: Image.Image) -> UInt8:
    if image.mode.startswith("I;16"):
        deep = np.array(image).astype(np.uint32)  # 0 .. 65535
        grey = ((deep + 128) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, PAPER), image)
    return np.array(image.convert("RGB"))
