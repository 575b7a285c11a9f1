"""What Pillow does not ask of a PNG: are there as many pixels as the header says?

A stream that ends early, at the end of a row, is decoded without complaint, and the rows that it
lacks are zeros: black, or the first class.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# First column, first row and steps of the seven passes of an interlaced picture.
PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip
PIECE = 2**20  # bytes unpacked at once


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
