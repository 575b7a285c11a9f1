"""Make files that no honest program writes, and see whether anything was lost."""

import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

from sgcp.core.files import LOCK

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(
    wh: tuple[int, int],
    depth: int = 8,
    color: int = 2,
    rows: bytes | None = None,
    before: bytes = b"",
    after: bytes = b"",
    interlaced: bool = False,
) -> bytes:
    """Return a PNG of any header; ``before`` and ``after`` are chunks around its pixels.

    Args:
        color: PNG's colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
        rows: unpacked rows, each after its filter byte; zeros if None.
    """
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    if rows is None:
        rows = (b"\0" + bytes((wh[0] * channels * depth + 7) // 8)) * wh[1]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *wh, depth, color, 0, 0, interlaced))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return PNG + header + before + pixels + after + chunk(b"IEND", b"")


def exif(orientation: int) -> bytes:
    """Return an EXIF block that says nothing but how to turn the image."""
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + bytes(4)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def zip_bytes(members: list[tuple[str, bytes]], mode: int = 0, method: int = 8) -> bytes:
    """Return a zip; ``mode`` is the Unix file type and rights of each member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.filename = name  # as given: ZipInfo would clean it
            info.external_attr = mode << 16
            archive.writestr(info, content, method)
    return buffer.getvalue()


CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


def patch_zip(content: bytes, local: dict[int, bytes], central: dict[int, bytes]) -> bytes:
    """Overwrite bytes of every local and central header, by offset in the header."""
    data = bytearray(content)
    for signature, changes in ((LOCAL, local), (CENTRAL, central)):
        place = data.find(signature)
        while place >= 0:
            for offset, value in changes.items():
                data[place + offset : place + offset + len(value)] = value
            place = data.find(signature, place + 4)
    return bytes(data)


def declare(content: bytes, size: int) -> bytes:
    """Let every member of a zip claim this length when unpacked."""
    claim = struct.pack("<I", size)
    return patch_zip(content, {22: claim}, {24: claim})


def overlap(names: list[str], content: bytes) -> bytes:
    """Return a zip whose members are all the same bytes of the file."""
    first = zip_bytes([(names[0], content)], method=0)
    start = first.find(CENTRAL)
    entry = bytearray(first[start : first.find(b"PK\x05\x06")])
    entries = b""
    for name in names:
        fixed = entry[:46]
        fixed[28:30] = struct.pack("<H", len(name))
        entries += bytes(fixed) + name.encode()
    end = struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, len(names), len(names), len(entries), start, 0
    )
    return first[:start] + entries + end


LINK, DEVICE, PIPE, FILE = (kind | 0o644 for kind in (
    stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFREG,
))  # fmt: skip


def snapshot(folder: Path) -> dict[str, Any]:
    """Return the content of every file but locks and remembered times, and where links lead."""
    return {
        str(path.relative_to(folder)): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink()
        or (path.is_file() and path.suffix != LOCK and not path.name.endswith(".stamps.json"))
    }
