"""Compare CamVid's remapping of 32 colours to 11 classes by table with a loop over colours.

    python benchmarks/camvid_remap.py FOLDER

FOLDER holds ``LabeledApproved_full.zip`` and ``label_colors.txt``. Most ports make a mask of the
image for each colour, ``(rgb == color).all(axis=-1)``; comparing the three channels one by one
is the faster way to write such a loop. Prints milliseconds an image of 720x960: of remapping
alone, and with reading the colours and writing the label map. Means over the images of the
fastest of some tries each.
"""

import argparse
import io
import statistics
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from sgcp.datasets.camvid import color_table, convert_colors, read_colors
from sgcp.datasets.classes import IGNORE
from sgcp.media.images import UInt8, encode_png

IMAGES = 8
TRIES = 7
Remap = Callable[[UInt8], UInt8]


def remaps(colors_file: Path) -> dict[str, Remap]:
    """Return every way, the usual first."""
    table = color_table(colors_file, "grouped")
    ids = {(r, g, b): table[r << 16 | g << 8 | b] for r, g, b in read_colors(colors_file).values()}

    def usual(rgb: UInt8) -> UInt8:
        label = np.full(rgb.shape[:2], IGNORE, dtype=np.uint8)
        for color, train_id in ids.items():
            label[(rgb == np.array(color, dtype=np.uint8)).all(axis=-1)] = train_id
        return label

    def channels(rgb: UInt8) -> UInt8:
        red, green, blue = (rgb[..., channel] for channel in range(3))
        label = np.full(rgb.shape[:2], IGNORE, dtype=np.uint8)
        for (r, g, b), train_id in ids.items():
            label[(red == r) & (green == g) & (blue == b)] = train_id
        return label

    def ours(rgb: UInt8) -> UInt8:
        return convert_colors(rgb, table, colors_file)

    return {"a mask a colour": usual, "the same, channel by channel": channels, "table": ours}


def decode(content: bytes) -> UInt8:
    """Return an image's colours (H, W, 3)."""
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image.convert("RGB"))


def whole_with_pillow(content: bytes, remap: Remap) -> bytes:
    """Read, remap and write as ports do."""
    buffer = io.BytesIO()
    Image.fromarray(remap(decode(content))).save(buffer, "PNG")
    return buffer.getvalue()


def whole_with_ours(content: bytes, remap: Remap) -> bytes:
    """Read, remap and write as ``sgcp prepare`` does, without its checks of files."""
    return encode_png(remap(decode(content)))


def milliseconds(function: Callable[..., object], pictures: list, *rest: object) -> float:
    """Return the mean over images of the fastest of some calls."""

    def once(picture: object) -> float:
        started = time.perf_counter()
        function(picture, *rest)
        return time.perf_counter() - started

    return 1000 * statistics.mean(min(once(p) for _ in range(TRIES)) for p in pictures)


def main() -> None:
    """Measure every way and print its ratio to the usual one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with zipfile.ZipFile(folder / "LabeledApproved_full.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith("_L.png")][:IMAGES]
        contents = [archive.read(name) for name in names]
    pictures = [decode(content) for content in contents]
    found = remaps(folder / "label_colors.txt")
    first = found["a mask a colour"]
    base = milliseconds(first, pictures), milliseconds(whole_with_pillow, contents, first)
    height, width = pictures[0].shape[:2]
    print(f"{len(pictures)} images of {height}x{width}, {'ms':>8}{'':8}{'with files, ms':>16}")
    for name, remap in found.items():
        assert all(np.array_equal(remap(rgb), first(rgb)) for rgb in pictures)
        whole = whole_with_ours if name == "table" else whole_with_pillow
        alone, both = milliseconds(remap, pictures), milliseconds(whole, contents, remap)
        print(f"{name:30}{alone:8.2f} x{base[0] / alone:<6.1f}{both:8.2f} x{base[1] / both:.1f}")


if __name__ == "__main__":
    main()
