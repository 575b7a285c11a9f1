"""Statistics of each prepared image and its label, both read once and not kept."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.core.machine import usable_cores
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import track
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.index import Item, digest_pixels
from sgcp.media.images import UInt8, read_image, read_label

Content = TypeVar("Content")

THUMB_WIDTH = 320  # pixels
OUTLINE = 16  # rows of an image's outline, and bits of each


@dataclass(frozen=True)
class Pixels:
    """Statistics of an image's pixels."""

    size: tuple[int, int]
    digest: str
    dark: int
    """Grey level, 0 .. 255, that 1 % of the pixels do not exceed."""
    bright: int
    """Grey level that 99 % of the pixels do not exceed."""
    constant: bool
    colored: bool
    """Whether a pixel is not grey."""
    outline: bytes
    """``_outline_of``: nearly the same for nearly the same image."""


@dataclass(frozen=True)
class Label:
    """Statistics of a label map's pixels."""

    size: tuple[int, int]
    digest: str
    pixels: dict[int, int]
    """Number of pixels by id, 255 included."""

    @property
    def coverage(self) -> float:
        """Share of the pixels that are not ignored."""
        return 1 - self.pixels.get(IGNORE, 0) / (self.size[0] * self.size[1])

    @property
    def classes(self) -> set[int]:
        """The ids that occur, without 255."""
        return self.pixels.keys() - {IGNORE}


@dataclass(frozen=True)
class Thumb:
    """A small copy of an image (h, w, 3) and its label (h, w) of train ids."""

    name: str
    path: str
    """Of the image, below the raw folder."""
    photo: UInt8
    label: UInt8 | None


@dataclass(frozen=True)
class ImageStatistics:
    """One image of the index, as its files are now; None for what cannot be read."""

    item: Item
    image: Pixels | None = None
    label: Label | None = None
    errors: tuple[str, ...] = ()
    """Why a file cannot be read, or segments not be used."""
    thumb: Thumb | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The image's path below the raw folder."""
        return self.item.image.as_posix()


def describe_images(
    items: Sequence[Item], raw: Path, prepared: Path, shown: Collection[Item] = ()
) -> Iterator[ImageStatistics]:
    """Read every image and label once, on all cores, under a progress bar.

    Args:
        shown: items that get a small copy.
    """
    small = {item.image for item in shown}
    describe = partial(_describe_item, small=small, raw=raw, prepared=prepared)
    return track(map_threads(describe, items, usable_cores()), "looking at images", len(items))


def _describe_item(
    item: Item, small: Collection[Path], raw: Path, prepared: Path
) -> ImageStatistics:
    errors: list[str] = []

    def read(reader: Callable[[], Content]) -> Content | None:
        try:
            return reader()
        except SgcpError as error:
            errors.append(str(error))
            return None

    rgb = read(partial(read_image, raw / item.image))
    label = None if item.label is None else read(partial(read_label, prepared / item.label))
    if item.label is not None and item.segments is not None:  # which scores read instead
        truth = read(partial(read_ground_truth, prepared, item))
        painted = None if truth is None else truth.train_ids[truth.segments]
        if painted is not None and label is not None and not np.array_equal(painted, label):
            errors.append(f"{item.segments}: size or classes are not its label's; prepare again")
    return ImageStatistics(
        item,
        None if rgb is None else _describe_image(rgb),
        None if label is None else _describe_label(label),
        tuple(errors),
        None if rgb is None or item.image not in small else _make_thumb(item, rgb, label),
    )


def _describe_image(rgb: UInt8) -> Pixels:
    grey = Image.fromarray(rgb).convert("L")
    up_to = np.cumsum(grey.histogram())  # pixels up to each level
    dark, bright = np.searchsorted(up_to, [0.01 * up_to[-1], 0.99 * up_to[-1]])
    red, green, blue = np.moveaxis(rgb, -1, 0)
    return Pixels(
        rgb.shape[:2],
        digest_pixels(rgb),
        int(dark),
        int(bright),
        constant=bool((rgb == rgb[0, 0]).all()),
        colored=bool((red != green).any() or (green != blue).any()),
        outline=_outline_of(grey),
    )


def _outline_of(grey: Image.Image) -> bytes:
    """Return OUTLINE * OUTLINE bits: where a coarse copy of a grey image brightens rightwards.

    A difference hash: as good as unchanged by another size, packing or exposure. Frames of a
    standing camera differ in up to 6 % of the bits, those of two of CamVid's splits in 27 and more.
    """
    coarse = np.asarray(grey.resize((OUTLINE + 1, OUTLINE), Image.Resampling.BOX))
    return np.packbits(coarse[:, 1:] > coarse[:, :-1]).tobytes()


def _describe_label(label: UInt8) -> Label:
    counts = Image.fromarray(label).histogram()
    return Label(label.shape, digest_pixels(label), {i: n for i, n in enumerate(counts) if n})


def _make_thumb(item: Item, rgb: UInt8, label: UInt8 | None) -> Thumb:
    height, width = rgb.shape[:2]
    scale = min(1.0, THUMB_WIDTH / width)
    wh = round(width * scale), max(1, round(height * scale))
    photo = Image.fromarray(rgb).resize(wh, Image.Resampling.BOX)
    if label is not None:  # of any size: a misfit is reported elsewhere
        label = np.asarray(Image.fromarray(label).resize(wh, Image.Resampling.NEAREST))
    return Thumb(item.key, item.image.as_posix(), np.asarray(photo), label)
