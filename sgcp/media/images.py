"""Read and write images as arrays, with errors that name the file.

An image is refused, never repaired, where its bytes can be understood in two ways: 16 bits cut to
8, transparency dropped, the first of several frames, a rotation that only some programs apply.
"""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from sgcp.core.errors import SgcpError
from sgcp.core.files import write_bytes

NO_TEXT: Mapping[str, str] = {}

UInt8 = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG")  # Pillow's other readers start programs, or guess
MAX_PIXELS = 2**26  # 8192 x 8192; Cityscapes has 2**21
MAX_BYTES = 2**28
IMAGE_MODES = ("1", "L", "P", "RGB", "LA", "RGBA")
LABEL_LAYOUTS = ("L", "P", "P;1", "P;2", "P;4")  # "L;4" would be stretched from 0..15 to 0..255

# Chunks that may stand behind the pixels and say that the image is turned.
TOLD_BEHIND = (b"eXIf", b"iTXt", b"zTXt", b"tEXt")

# What Pillow raises on damaged files, beyond OSError.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    AssertionError,
    KeyError,
    TypeError,
    IndexError,
    OverflowError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    UserWarning,
    RuntimeWarning,
    RuntimeError,  # libpng's
)


class _GuessesRefused:
    """Turn Pillow's warnings into errors while any thread is inside.

    It warns where it goes on with a guess: broken EXIF, broken animation, bombs. The filters are
    the process's, and ``catch_warnings`` alone would leave them behind where threads overlap.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.before = warnings.catch_warnings()
                self.before.__enter__()
                for category in (UserWarning, RuntimeWarning):
                    warnings.simplefilter("error", category)
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.before.__exit__(None, None, None)


GUESSES_REFUSED = _GuessesRefused()


def read_image(path: Path) -> UInt8:
    """Read an image as RGB (H, W, 3) uint8.

    Raises:
        SgcpError: missing, truncated, no PNG or JPEG; or no upright, opaque, single image of
            8 bits a channel.
    """
    with _opened(path) as image:
        if _is_plain(image, "RGB"):
            return _decode(path)
        _load(image, path)
        if image.has_transparency_data:
            if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
                raise SgcpError(f"{path}: is partly transparent; save it as RGB, without alpha")
            image.info.pop("transparency", None)  # opaque: Pillow need not think about it
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def read_label(path: Path) -> UInt8:
    """Read a single-channel 8-bit label map (H, W) uint8; a palette is ignored, its indices kept.

    Raises:
        SgcpError: missing, truncated, no PNG, or colours instead of indices.
    """
    with _opened(path) as image:
        if image.mode not in ("L", "P"):
            raise SgcpError(
                f"{path}: label map of mode {image.mode}, expected one 8-bit channel of class ids"
            )
        _refuse_blurred(image, path)
        if (layout := pixel_layout(image)) not in LABEL_LAYOUTS:
            raise SgcpError(f"{path}: grey levels stored as {layout}; save it with 8 bits a pixel")
        _load(image, path)
        return np.array(image)


def read_mode(path: Path) -> str:
    """Read Pillow's mode of an image from its header, such as ``RGB``, or ``P`` for a palette.

    Raises:
        SgcpError: as ``read_size``.
    """
    with _opened(path) as image:
        return image.mode


def read_label_colors(path: Path) -> UInt8:
    """Read a label map painted in colours (H, W, 3) uint8; a palette is applied.

    Raises:
        SgcpError: as ``read_image``; or no PNG.
    """
    with _opened(path) as image:
        _refuse_blurred(image, path)
    return read_image(path)


def read_size(path: Path) -> tuple[int, int]:
    """Read (height, width) from an image's header.

    Raises:
        SgcpError: missing or no image, or one that its header shows ``read_image`` to refuse.
    """
    with _opened(path) as image:
        _refuse_rotation(image, path)
        return image.height, image.width


def write_png(path: Path, array: UInt8, text: Mapping[str, str] = NO_TEXT) -> None:
    """Write (H, W) as mode L or (H, W, 3) as RGB, whole or not at all.

    Args:
        text: stands in the file before its pixels (tEXt chunks), Latin-1 by keyword.
    """
    content = encode_labels(array, text=text) if array.ndim == 2 else _encode(array, text)
    write_bytes(path, content, flush=False)


def read_png_text(path: Path) -> dict[str, str]:
    """Return the text before a PNG's pixels by keyword; nothing where it is no PNG."""
    try:
        with GUESSES_REFUSED, Image.open(path, formats=["PNG"]) as image:
            return png_text(image)
    except DAMAGED:
        return {}


def png_text(image: Image.Image) -> dict[str, str]:
    """Return the text of an opened PNG by keyword."""
    return {str(key): value for key, value in image.info.items() if isinstance(value, str)}


def _encode(rgb: UInt8, text: Mapping[str, str]) -> bytes:
    info = PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    # Half the time of Pillow's own choice for 2 to 7 % more bytes (benchmarks/png_level.py).
    Image.fromarray(rgb).save(buffer, "PNG", pnginfo=info, compress_type=PACKING)
    return buffer.getvalue()


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image and check its header; what goes wrong inside the block names the file."""
    if not path.is_file():
        raise SgcpError(f"{path}: no such image")
    if path.stat().st_size > MAX_BYTES:
        raise SgcpError(f"{path}: {path.stat().st_size:,} bytes; no image of a dataset is so big")
    try:
        with GUESSES_REFUSED, Image.open(path, formats=FORMATS) as image:
            _check_header(image, path)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise SgcpError(f"{path}: {_too_big()}") from None
    except DAMAGED as error:
        raise SgcpError(
            f"{path}: damaged or not an image in PNG or JPEG ({error}); get it again"
        ) from None


def _refuse_blurred(image: Image.Image, path: Path) -> None:
    if image.format != "PNG":
        raise SgcpError(f"{path}: {image.format} under the name of a PNG; it blurs class ids")


def _too_big() -> str:
    return f"more than {MAX_PIXELS:,} pixels; cut it into tiles or make it smaller"


def _check_header(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise SgcpError(f"{path}: {_too_big()}")
    if getattr(image, "n_frames", 1) > 1:
        raise SgcpError(f"{path}: holds several frames; save the one that is meant by itself")
    layout = pixel_layout(image)
    if image.mode not in IMAGE_MODES or ";16" in layout:
        raise SgcpError(
            f"{path}: mode {image.mode}, stored as {layout}: expected 8 bits a channel, grey or "
            "RGB; convert it"
        )


def pixel_layout(image: Image.Image) -> str:
    """Return how the pixels lie in the file, in Pillow's words, such as ``RGB;16B``."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else image.mode
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _load(image: Image.Image, path: Path) -> None:
    """Decode the pixels, after comparing the checksums that decoding does not look at."""
    with Image.open(path, formats=FORMATS) as again:
        again.verify()
    image.load()
    _refuse_rotation(image, path)  # a PNG may say so after its pixels
    # Rows that a PNG lacks are zeros at its end, so most images need no second look.
    suspect = image.info.get("interlace") or not np.asarray(image)[-1].any()
    if suspect and image.format == "PNG" and not has_every_row(path):
        raise SgcpError(f"{path}: damaged, it holds fewer rows than it declares; get it again")


def _is_plain(image: Image.Image, layout: str) -> bool:
    """Tell whether an image is a PNG of nothing but pixels, as far as its header shows."""
    return (
        image.format == "PNG" and not image.info.keys() - {"dpi"} and pixel_layout(image) == layout
    )


def _decode(path: Path) -> UInt8:
    """Decode a plain PNG by libpng, in two thirds of Pillow's time (benchmarks/inference_parts.py).

    Where something follows the pixels that Pillow should look at, Pillow decodes.

    Raises:
        RuntimeError: truncated or damaged pixels.
    """
    content = path.read_bytes()
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if any(kind in content for kind in TOLD_BEHIND):  # a chance match only costs time
            _load(image, path)
            return np.array(image)
        image.verify()  # the checksums of chunks that libpng passes over
    return imagecodecs.png_decode(content)


def _refuse_rotation(image: Image.Image, path: Path) -> None:
    # PNG's own getexif() would decode the pixels to look behind them.
    turn = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    if turn not in (0, 1):
        raise SgcpError(
            f"{path}: is to be turned or mirrored (EXIF orientation {turn}), which labels would "
            "not be; save it upright, without that tag (`mogrify -auto-orient FILE`)"
        )


SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Run lengths, without line filters: a label map is written three to four times and read twice as
# fast as Pillow's of mode L, in 1.1 to 2 times its bytes (benchmarks/png_level.py).
PACKING = zlib.Z_RLE
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# First column, first row and steps of the seven passes of an interlaced image.
PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip
PIECE = 2**20  # bytes unpacked at once


def encode_labels(
    labels: NDArray[np.uint8],
    level: int = zlib.Z_DEFAULT_COMPRESSION,
    strategy: int = PACKING,
    text: Mapping[str, str] = NO_TEXT,
) -> bytes:
    """Encode a label map (H, W) as a PNG of one 8-bit channel without line filters.

    Args:
        level: zlib's, 0 .. 9; without effect on run lengths.
        strategy: zlib's.
        text: what stands in the file beside its pixels, Latin-1 by keyword.
    """
    height, width = labels.shape
    rows = np.zeros((height, 1 + width), dtype=np.uint8)  # filter type 0, then the pixels
    rows[:, 1:] = labels
    stream = zlib.compressobj(level, strategy=strategy)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)  # 8 bits, grey
    texts = ((b"tEXt", f"{key}\0{value}".encode("latin-1")) for key, value in text.items())
    pixels = stream.compress(rows.tobytes()) + stream.flush()
    chunks = [(b"IHDR", header), *texts, (b"IDAT", pixels), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def has_every_row(path: Path) -> bool:
    """Tell whether a PNG's packed pixels are as many as its header declares.

    Args:
        path: a PNG whose chunks and checksums were found right.
    """
    content = path.read_bytes()
    wanted = _declared_bytes(content)
    stream = zlib.decompressobj()
    found = 0
    for packed in _pixel_chunks(content):
        while packed and found < wanted:
            found += len(stream.decompress(packed, PIECE))
            packed = stream.unconsumed_tail
    return found >= wanted


def _declared_bytes(content: bytes) -> int:
    width, height, depth, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    bits = depth * CHANNELS[color]
    total = 0
    for x, y, step_x, step_y in PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def _pixel_chunks(content: bytes) -> Iterator[bytes]:
    place = 8
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"IDAT":
            yield content[place + 8 : place + 8 + length]
        place += length + 12
