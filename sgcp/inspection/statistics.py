"""What can be said of one prepared image and its label, each read once and not kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.core.parallel import map_threads, usable_cores
from sgcp.core.terminal import track
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.index import Item, digest_pixels
from sgcp.media.images import UInt8, read_image, read_label

THUMB_WIDTH = 320  # pixels
OUTLINE = 16  # rows of an image's outline, and bits of each


@dataclass(frozen=True)
class Picture:
    """What an image's pixels say."""

    size: tuple[int, int]
    digest: str
    dark: int
    """Grey level, 0 .. 255, that 1 % of the pixels do not exceed."""
    bright: int
    """Grey level that 99 % of the pixels do not exceed."""
    constant: bool
    """Whether all pixels are the same."""
    colored: bool
    """Whether a pixel is not grey."""
    outline: bytes
    """Nearly the same for nearly the same image: ``_outline_of``."""


@dataclass(frozen=True)
class Label:
    """What a label map's pixels say."""

    size: tuple[int, int]
    digest: str
    pixels: dict[int, int]
    """How many there are of each id that occurs, 255 included."""

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
    """An image made small, to be looked at."""

    photo: UInt8
    """(h, w, 3)."""
    label: UInt8 | None
    """(h, w) train ids."""


@dataclass(frozen=True)
class DatasetStatistics:
    """One image of the index, as its files are now."""

    item: Item
    picture: Picture | None = None
    """None where it cannot be read."""
    label: Label | None = None
    """None where there is none, or it cannot be read."""
    errors: tuple[str, ...] = ()
    """Why a file cannot be read, or segments not be used."""
    thumb: Thumb | None = field(default=None, repr=False, compare=False)


def dataset_statistics(
    items: Sequence[Item], raw: Path, prepared: Path, shown: Collection[Item] = ()
) -> Iterator[DatasetStatistics]:
    """Look at every image and label, on all cores, under a progress bar.

    Args:
        shown: those of which a small copy is wanted.
    """
    look = partial(_item_statistics, raw=raw, prepared=prepared)
    wanted = {item.image for item in shown}
    tasks = ((item, item.image in wanted) for item in items)
    results = map_threads(lambda task: look(*task), tasks, usable_cores())
    return track(results, "looking at images", len(items))


def _item_statistics(item: Item, thumb: bool, raw: Path, prepared: Path) -> DatasetStatistics:
    """Look at one image, its label and segments; what cannot be read is said in ``errors``."""
    errors: list[str] = []
    rgb = _read(read_image, raw / item.image, errors)
    label = None if item.label is None else _read(read_label, prepared / item.label, errors)
    if item.label is not None and item.segments is not None:
        try:
            _check_segments(item, label, prepared)
        except SgcpError as error:
            errors.append(str(error))
    return DatasetStatistics(
        item,
        None if rgb is None else _describe_image(rgb),
        None if label is None else _describe_label(label),
        tuple(errors),
        _make_thumb(rgb, label) if thumb and rgb is not None else None,
    )


def _check_segments(item: Item, label: UInt8 | None, prepared: Path) -> None:
    """Read the map of segments, which scores read in the label's place."""
    truth = read_ground_truth(prepared, item)
    if label is not None and not np.array_equal(truth.train_ids[truth.segments], label):
        raise SgcpError(f"{item.segments}: size or classes are not its label's; prepare again")


def _read(reader: Callable[[Path], UInt8], path: Path, errors: list[str]) -> UInt8 | None:
    try:
        return reader(path)
    except SgcpError as error:
        errors.append(str(error))
        return None


def _describe_image(rgb: UInt8) -> Picture:
    """Describe (H, W, 3)."""
    grey = Image.fromarray(rgb).convert("L")
    up_to = np.cumsum(grey.histogram())  # pixels up to each level
    dark, bright = np.searchsorted(up_to, [0.01 * up_to[-1], 0.99 * up_to[-1]])
    red, green, blue = np.moveaxis(rgb, -1, 0)
    return Picture(
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
    """Describe train ids (H, W)."""
    counts = Image.fromarray(label).histogram()
    return Label(label.shape, digest_pixels(label), {i: n for i, n in enumerate(counts) if n})


def _make_thumb(rgb: UInt8, label: UInt8 | None) -> Thumb:
    """Make an image (H, W, 3) and its label (H, W) at most ``THUMB_WIDTH`` wide."""
    height, width = rgb.shape[:2]
    scale = min(1.0, THUMB_WIDTH / width)
    wh = max(1, round(width * scale)), max(1, round(height * scale))
    photo = Image.fromarray(rgb).resize(wh, Image.Resampling.BOX)
    if label is not None:  # of whatever size: one that does not fit is reported elsewhere
        label = np.asarray(Image.fromarray(label).resize(wh, Image.Resampling.NEAREST))
    return Thumb(np.asarray(photo), label)
