"""Read and write images as arrays, with errors that name the file.

Two policies. An image of a dataset (``read_image``, ``read_label``) is refused, never repaired,
where its bytes can be understood in two ways: 16 bits cut to 8, transparency dropped, the first of
several frames, a rotation that only some programs apply. A photograph (``read_photo``) is read as a
viewer shows it. Either way a file is read once. Its pixels are decoded once, but for photographs of
16-bit colours, which are decoded again to doubt their brightness where imagecodecs is installed.
"""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFilter, ImageOps

from sgcp.core.errors import SgcpError
from sgcp.core.extras import require
from sgcp.core.files import write_bytes

try:
    import imagecodecs
except ModuleNotFoundError:  # 80 MB, of the extra `pipeline`; Pillow takes longer
    imagecodecs = None  # type: ignore[assignment]

UInt8 = NDArray[np.uint8]
NO_TEXT: Mapping[str, str] = {}

FORMATS = ("PNG", "JPEG")  # of datasets; Pillow's other readers start programs, or guess
PHOTO_FORMATS = (*FORMATS, "WEBP", "BMP", "TIFF", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")  # of photographs
MAX_PIXELS = 2**26  # 8192 x 8192; Cityscapes has 2**21
MAX_BYTES = 2**28
IMAGE_MODES = ("1", "L", "P", "RGB", "LA", "RGBA")
LABEL_LAYOUTS = ("L", "P", "P;1", "P;2", "P;4")  # "L;4" would be stretched from 0..15 to 0..255
ORIENTING_CHUNKS = {b"eXIf", b"iTXt", b"zTXt", b"tEXt"}  # may follow the pixels
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_HEADER = 33  # bytes: the signature and the chunk IHDR
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the colour type in the header
# Beginning and step of rows and of columns of each pass of an interlaced PNG (Adam7).
PASSES = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2),
          (1, 2, 0, 1))  # fmt: skip
NO_FILTER, ONE_FILTER, ALL_FILTERS = 0x08, 0x80, 0xF8  # libpng's none, Paeth, and all
WHITE = (255, 255, 255, 255)
DARK = 2**14  # a 16-bit image whose values are all smaller is doubted
BAND = 256  # rows

TOO_BIG = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow and libpng (RuntimeError) raise on damaged files.
DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, AssertionError, KeyError, TypeError, IndexError,
    OverflowError, NotImplementedError, struct.error, zlib.error, Image.DecompressionBombError,
    UserWarning, RuntimeWarning, RuntimeError,
)  # fmt: skip


class DarkImageWarning(Warning):  # a UserWarning is an error while any thread opens an image
    """An image of 16 bits a channel is probably read too dark."""


Doubt = Callable[[str], object]
# stacklevel 3: the caller of read_photo or convert_photo, counted from _doubt_depth.
WARN_OF_DARK: Doubt = partial(warnings.warn, category=DarkImageWarning, stacklevel=3)


class _GuessesRefused:
    """Turn Pillow's warnings into errors while any thread is inside.

    Pillow warns where it guesses: broken EXIF, broken animation, decompression bombs. The filters
    belong to the process, and ``catch_warnings`` alone would leave them behind where threads
    overlap.
    """

    lock, inside, filters = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.filters.enter_context(warnings.catch_warnings())
                warnings.simplefilter("error", UserWarning)
                warnings.simplefilter("error", RuntimeWarning)
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.filters.close()


_GUESSES_REFUSED = _GuessesRefused()


def read_image(path: Path) -> UInt8:
    """Read an image of a dataset as RGB (H, W, 3) uint8.

    Raises:
        SgcpError: missing, truncated, not PNG or JPEG; or not an upright, opaque, single image of
            8 bits a channel.
    """
    return _read_rgb(path)


def read_label_colors(path: Path) -> UInt8:
    """Read a label map painted in colours as ``read_image``, from a PNG; a palette is applied."""
    return _read_rgb(path, png_only=True)


def read_label(path: Path) -> UInt8:
    """Read a single-channel 8-bit label map (H, W) uint8; a palette is ignored, its indices kept.

    Raises:
        SgcpError: missing, truncated, not PNG, or colours instead of indices.
    """
    content = _read_bytes(path)
    with _opened(path, content) as image:
        _check_strict(image, path, png_only=True)
        if image.mode not in ("L", "P"):
            raise SgcpError(
                f"{path}: label map of mode {image.mode}, expected one 8-bit channel of class ids"
            )
        if (layout := _pixel_layout(image)) not in LABEL_LAYOUTS:
            raise SgcpError(f"{path}: grey levels stored as {layout}; save it with 8 bits a pixel")
        if (pixels := _decode(image, content, "L")) is None:
            _refuse_rotation(image, path)
            pixels = np.array(image)
        return pixels


def read_photo(path: Path, doubt: Doubt = WARN_OF_DARK) -> UInt8:
    """Read an image as a viewer shows it: RGB (H, W, 3) uint8.

    Rotated and mirrored by its EXIF orientation; on white where it is transparent; of several
    frames the first; 16 bits of grey scaled to 8, other 16-bit channels cut to their upper 8; CMYK
    by Pillow's plain formula, without colour profiles.

    Args:
        doubt: receives why 16-bit values are probably too dark; default: a ``DarkImageWarning``.

    Raises:
        SgcpError: missing, damaged, truncated, too big, none of ``PHOTO_FORMATS``, or of 32 bits a
            pixel, whose value of white is unknown.
    """
    content = _read_bytes(path)
    with _opened(path, content, PHOTO_FORMATS) as image:
        # Of 16-bit colours Pillow keeps 8 bits.
        deep = ";16" in _pixel_layout(image) and not image.mode.startswith("I;16")
        if (pixels := _decode(image, content, "RGB")) is not None:
            return pixels
        if deep and imagecodecs and image.format in ("PNG", "TIFF"):
            keep = imagecodecs.png_decode if image.format == "PNG" else imagecodecs.tiff_decode
            _doubt_depth(str(path), keep(content), doubt)
        ImageOps.exif_transpose(image, in_place=True)
        try:
            return convert_photo(image, doubt, str(path))
        except ValueError as error:
            raise SgcpError(f"{path}: {error}") from None


def convert_photo(image: Image.Image, doubt: Doubt = WARN_OF_DARK, name: str = "") -> UInt8:
    """Return a PIL image as ``read_photo`` returns a file of it: RGB (H, W, 3) uint8.

    Pillow keeps all bits of 16-bit grey only: other images are not doubted. Raises ValueError for
    32 bits a pixel, or no pixel at all.
    """
    if image.mode in ("I", "F"):
        raise ValueError(
            f"mode {image.mode}: the value of white is unknown. Save it with 8 or 16 bits a channel"
        )
    if 0 in image.size:
        raise ValueError(f"an image of {image.width} x {image.height} pixels")
    if image.mode.startswith("I;16"):
        name = name or getattr(image, "filename", "") or "image"
        _doubt_depth(name, np.asarray(image), doubt)
    if image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1):
        image = ImageOps.exif_transpose(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, BAND):  # each step would copy the whole image
        bottom = min(top + BAND, image.height)
        pixels[top:bottom] = _rgb_band(image.crop((0, top, image.width, bottom)))
    return pixels


def read_size(path: Path) -> tuple[int, int]:
    """Read (height, width) from the header of a dataset's image.

    Raises:
        SgcpError: missing or no image, or one whose header shows that ``read_image`` refuses it.
    """
    with _opened(path) as image:
        _check_strict(image, path)
        _refuse_rotation(image, path)
        return image.height, image.width


def read_mode(path: Path) -> str:
    """Read Pillow's mode from a header, as ``read_size``: ``RGB``, or ``P`` for a palette."""
    with _opened(path) as image:
        _check_strict(image, path)
        return image.mode


def read_palette(path: Path) -> UInt8:
    """Read the colours (N, 3) of the palette of an image, by index; none: it has no palette."""
    with _opened(path) as image:
        return np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)


def photo_size(path: Path) -> tuple[int, int]:
    """Read (height, width) from a photograph's header, before any EXIF rotation.

    Raises:
        SgcpError: missing, none of ``PHOTO_FORMATS``, or too big for ``read_photo``.
    """
    with _opened(path, formats=PHOTO_FORMATS) as image:
        return image.height, image.width


def is_photo(path: Path) -> bool:
    """Return whether a file begins like an image, which ``read_photo`` reads or calls too big."""
    try:
        with Image.open(path, formats=PHOTO_FORMATS):
            return True
    except (*DAMAGED, Warning) as error:
        return isinstance(error, TOO_BIG)


def read_png_text(path: Path) -> dict[str, str]:
    """Return the text before a PNG's pixels by keyword; nothing where it is not a PNG."""
    try:
        with _GUESSES_REFUSED, Image.open(path, formats=["PNG"]) as image:
            return png_text(image)
    except DAMAGED:
        return {}


def png_text(image: Image.Image) -> dict[str, str]:
    """Return the text of an opened PNG by keyword."""
    return {str(key): value for key, value in image.info.items() if isinstance(value, str)}


def write_png(path: Path, array: NDArray[np.integer], text: Mapping[str, str] = NO_TEXT) -> None:
    """Write (H, W) as one channel or (H, W, 3) as RGB, uint8 or uint16, whole or not at all.

    Args:
        text: stored before the pixels (tEXt chunks), Latin-1 by keyword.
    """
    write_bytes(path, encode_png(array, text), flush=False)


def encode_png(
    array: NDArray[np.integer], text: Mapping[str, str] = NO_TEXT, filters: int = ALL_FILTERS
) -> bytes:
    """Encode (H, W) as a PNG of one channel or (H, W, 3) as RGB, uint8 or uint16.

    Run lengths take a third of the time of Pillow's defaults for 1.1 to 2 times the bytes of a
    label map, 1.02 to 1.07 times those of an image (docs/results.md). A label map has no
    line filters: they cost time to undo and save nothing.

    Args:
        filters: of RGB; libpng chooses one for each line. ``ONE_FILTER`` takes two thirds of the
            time of all for as many bytes.
    """
    content = _compress(np.ascontiguousarray(array), NO_FILTER if array.ndim == 2 else filters)
    chunks = b"".join(
        _chunk(b"tEXt", f"{key}\0{value}".encode("latin-1")) for key, value in text.items()
    )
    return content[:PNG_HEADER] + chunks + content[PNG_HEADER:]


def _compress(array: NDArray[np.integer], filters: int) -> bytes:
    if imagecodecs:
        rle = imagecodecs.PNG.STRATEGY.RLE
        return bytes(imagecodecs.png_encode(array, strategy=rle, filter=filters))
    if array.ndim == 2:
        return _compress_grey(array)
    if array.dtype != np.uint8:
        require("imagecodecs", "a PNG of 16-bit colours")
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def _compress_grey(array: NDArray[np.integer]) -> bytes:
    """Encode (H, W) without line filters, in a fifth of the time that Pillow filters it in."""
    height, width = array.shape
    size = array.dtype.itemsize
    lines = np.zeros((height, 1 + width * size), np.uint8)  # the first byte: no filter
    lines[:, 1:] = array.astype(array.dtype.newbyteorder(">")).view(np.uint8)
    packer = zlib.compressobj(strategy=zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, 8 * size, 0, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": packer.compress(lines.data) + packer.flush(), b"IEND": b""}
    return PNG_SIGNATURE + b"".join(_chunk(*pair) for pair in chunks.items())


def _chunk(kind: bytes, content: bytes) -> bytes:
    end = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + end


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise SgcpError(f"{path}: no such image")
    if path.stat().st_size > MAX_BYTES:
        raise SgcpError(f"{path}: {path.stat().st_size:,} bytes; no image is so big")
    return path.read_bytes()


@contextmanager
def _opened(
    path: Path, content: bytes | None = None, formats: tuple[str, ...] = FORMATS
) -> Iterator[Image.Image]:
    """Open an image; errors inside the block name the file."""
    if content is None and not path.is_file():
        raise SgcpError(f"{path}: no such image")
    too_big = f"{path}: more than {MAX_PIXELS:,} pixels; cut it into tiles or make it smaller"
    source = path if content is None else io.BytesIO(content)
    try:
        with _GUESSES_REFUSED, Image.open(source, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SgcpError(too_big)
            yield image
    except TOO_BIG:
        raise SgcpError(too_big) from None
    except DAMAGED as error:
        *most, last = formats
        raise SgcpError(
            f"{path}: damaged or not an image in {', '.join(most)} or {last} ({error}); "
            "get it again"
        ) from None


def _check_strict(image: Image.Image, path: Path, png_only: bool = False) -> None:
    if png_only and image.format != "PNG":
        raise SgcpError(f"{path}: {image.format} under the name of a PNG; it blurs class ids")
    if getattr(image, "n_frames", 1) > 1:
        raise SgcpError(f"{path}: contains several frames; save the right one by itself")
    layout = _pixel_layout(image)
    if image.mode not in IMAGE_MODES or ";16" in layout:
        raise SgcpError(
            f"{path}: mode {image.mode}, stored as {layout}: expected 8 bits a channel, grey or "
            "RGB; convert it"
        )


def _read_rgb(path: Path, png_only: bool = False) -> UInt8:
    content = _read_bytes(path)
    with _opened(path, content) as image:
        _check_strict(image, path, png_only)
        if (pixels := _decode(image, content, "RGB")) is not None:
            return pixels
        _refuse_rotation(image, path)
        if image.has_transparency_data:
            if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
                raise SgcpError(f"{path}: is partly transparent; save it as RGB, without alpha")
            image.info.pop("transparency", None)  # opaque: convert() would warn of it
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _pixel_layout(image: Image.Image) -> str:
    """Return how the pixels lie in the file, in Pillow's words, such as ``RGB;16B``."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else image.mode
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _decode(image: Image.Image, content: bytes, layout: str) -> UInt8 | None:
    """Decode an opened file whose bytes are ``content``, and refuse one with wrong checksums.

    libpng (imagecodecs) decodes a PNG of this layout and nothing but pixels in two thirds of
    Pillow's time (benchmarks/inference_parts.py), and refuses rows that are missing. Pillow fills
    those with zeros; it decodes all others into ``image``, and None is returned.
    """
    with Image.open(io.BytesIO(content), formats=PHOTO_FORMATS) as again:
        again.verify()  # every chunk: decoders skip some of them
    png = image.format == "PNG"
    plain = png and image.info.keys() <= {"dpi"} and _pixel_layout(image) == layout
    if plain and imagecodecs and ORIENTING_CHUNKS.isdisjoint(k for k, _ in _chunks(content)):
        return imagecodecs.png_decode(content)
    image.load()
    if png and (image.info.get("interlace") or not np.asarray(image)[-1].any()):
        _refuse_missing_rows(content)
    return None


def _refuse_missing_rows(content: bytes) -> None:
    """Raise ValueError where a verified PNG has fewer bytes of pixels than its header says."""
    width, height, bits, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    needed = 0
    for top, down, left, across in PASSES if interlaced else ((0, 1, 0, 1),):
        rows, columns = len(range(top, height, down)), len(range(left, width, across))
        needed += rows * (1 + -(-columns * bits * PNG_CHANNELS[color] // 8)) if columns else 0
    packed = b"".join(part for kind, part in _chunks(content) if kind == b"IDAT")
    if len(zlib.decompressobj().decompress(packed, needed)) < needed:
        raise ValueError("rows are missing")


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and the content of every chunk of a verified PNG."""
    view = memoryview(content)
    place = len(PNG_SIGNATURE)
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        yield kind, view[place + 8 : place + 8 + length]
        place += length + 12  # length, kind and checksum


def _refuse_rotation(image: Image.Image, path: Path) -> None:
    # PNG's own getexif() would decode the pixels to look behind them.
    orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    if orientation not in (0, 1):
        raise SgcpError(
            f"{path}: has EXIF orientation {orientation}, and its label map has none. Save it "
            "upright, without that tag (`mogrify -auto-orient FILE`)"
        )


def _doubt_depth(name: str, pixels: NDArray[np.uint16], doubt: Doubt) -> None:
    """Report why 16-bit values, (H, W) or (H, W, C), may be read too dark, if they may.

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
    if not 0 < largest < DARK:
        return
    bits = largest.bit_length()
    doubt(
        f"{name}: values up to {largest:,} of 65,535, so it is read dark: data of {bits} bits "
        f"in a 16-bit file? Multiply its values by {2 ** (16 - bits)} first "
        f"(`magick FILE -evaluate multiply {2 ** (16 - bits)} OUT.png`)"
    )


def _rgb_band(image: Image.Image) -> UInt8:
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        return np.repeat(grey[..., None].astype(np.uint8), 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    return np.array(image.convert("RGB"))
