"""What labelling tools draw: images with objects, each of which has a class and an outline."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sgcp.core.errors import SgcpError, printable, shorten
from sgcp.core.files import parse_json, read_text
from sgcp.datasets.classes import IGNORE, UNLISTED, ClassTable
from sgcp.datasets.custom import name_of
from sgcp.datasets.foreign_layouts import find_split, is_hidden
from sgcp.media.images import UInt8

Mask = NDArray[np.bool_]
Draw = Callable[[int, int], Mask]
Corners = NDArray[np.float64]

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_EXPORT = 2**30  # bytes of one file
LEAST_CORNERS = 3


@dataclass(frozen=True)
class Shape:
    """One object of a class; a later one of an image lies over the earlier ones."""

    name: str
    draw: Draw
    """Return its pixels (H, W) in an image of this height and width; ValueError: it is damaged."""
    where: str
    """Names it in a message."""


@dataclass(frozen=True)
class Painted:
    """A label map that an image has instead of objects."""

    path: Path
    names: Mapping[int, str]
    """Class of each value, or of each ``color_code`` if it is painted in colours."""
    colored: bool
    void: Collection[int] = ()
    """Values that mean no class."""
    listed_in: str = ""
    """What must name every other value; empty: those without a name are ignored."""


@dataclass(frozen=True)
class LabelledImage:
    """An image of an export."""

    image: Path
    split: str | None
    """``train``, ``val`` or ``test``; None: the export has none."""
    shapes: Sequence[Shape] = ()
    painted: Painted | None = None
    size: tuple[int, int] | None = None
    """(height, width) that the export states."""


@dataclass
class Export:
    """The content of an export."""

    images: list[LabelledImage] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Classes in the order of the tool; empty: it keeps no list."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How much of what is left out: objects that are no areas."""


class Form(Protocol):
    """A module of an export's form, or a dataset's."""

    @property
    def NAME(self) -> str:  # noqa: N802
        """What it is called in messages."""

    def find(self, folder: Path, files: list[Path], /) -> list[Path]:
        """Return those of this form of all files below a folder; none: it is no such export."""

    def read(self, folder: Path, files: list[Path]) -> Export:
        """Read an export; SgcpError: it is damaged, or images are missing."""


def files_like(suffix: str, sign: bytes, size: int) -> Callable[[Path, list[Path]], list[Path]]:
    """Return a form's ``find``: files whose first ``size`` bytes match a regular expression."""
    form = re.compile(sign, re.DOTALL)

    def is_like(path: Path) -> bool:
        with path.open("rb") as file:
            return form.match(file.read(size)) is not None

    def find(folder: Path, files: list[Path]) -> list[Path]:
        return [path for path in files if path.suffix == suffix and is_like(path)]

    return find


def polygon(parts: Sequence[Sequence[float]]) -> Draw:
    """Return how to draw polygons ``[x, y, ...]`` in pixels from the top left; or ValueError."""
    for part in parts:
        if len(part) % 2 or len(part) < 2 * LEAST_CORNERS:
            raise ValueError(f"{len(part) // 2} corners, expected {LEAST_CORNERS} or more")
    if not parts:
        raise ValueError("has no outline")
    numbers = [[float(value) for value in part] for part in parts]
    if not np.isfinite(np.concatenate(numbers)).all():
        raise ValueError("has corners that are no numbers")

    def draw(height: int, width: int) -> Mask:
        from pycocotools import mask

        return np.asarray(mask.decode(mask.merge(mask.frPyObjects(numbers, height, width))), bool)

    return draw


def circle() -> Corners:
    """Return corners (64, 2) on the circle of radius 1."""
    angles = np.arange(64) * (2 * np.pi / 64)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def turned(corners: Corners, origin: Corners, degrees: float) -> Draw:
    """Return how to draw corners (N, 2) turned clockwise about 0, and moved by ``origin`` (2,)."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return polygon([[*map(float, (corners @ turn + origin).ravel())]])


def place(inside: Mask, left: int, top: int, height: int, width: int) -> Mask:
    """Return a mask (H, W) with a smaller one laid into it; what lies outside is cut off."""
    whole = np.zeros((height, width), bool)
    above, before = max(0, -top), max(0, -left)
    part = inside[above : max(above, height - top), before : max(before, width - left)]
    whole[max(0, top) :, max(0, left) :][: part.shape[0], : part.shape[1]] = part
    return whole


def label_map(
    labelled: LabelledImage, size: tuple[int, int], ids: Mapping[str, int], rest: int
) -> UInt8:
    """Return the class numbers (H, W) of an image, ``rest`` where no object is drawn.

    SgcpError: the labels are of another size, or an object cannot be drawn.
    """
    stated: tuple[int, ...] = labelled.size or size
    label = np.full(size, rest, np.uint8)
    if painted := labelled.painted:
        codes = range(2**24 if painted.colored else 256)  # an export may list others
        named = [(code, ids[name]) for code, name in painted.names.items() if code in codes]
        table = (*named, *((code, IGNORE) for code in painted.void))
        unnamed = UNLISTED if painted.listed_in else IGNORE
        label = ClassTable((), table, painted.colored, unnamed, painted.listed_in).read(
            painted.path
        )
        stated = label.shape
    if stated != size:
        raise SgcpError(
            f"{labelled.image}: {size[0]}x{size[1]}, but its labels are of {stated[0]}x{stated[1]} "
            "(height, width). Export the labels of this very image, or put theirs here"
        )
    for shape in labelled.shapes:
        try:
            label[shape.draw(*size)] = ids[shape.name]
        except (OSError, ValueError, TypeError) as error:
            raise SgcpError(f"{shape.where}: {error}") from None
    return label


def read_export_json(path: Path) -> Any:
    """Read a JSON file of an export; SgcpError: it is missing or damaged."""
    try:
        return parse_json(read_text(path, MAX_EXPORT))
    except (OSError, ValueError) as error:
        raise SgcpError(f"{path}: not valid JSON ({error}). Export it again") from None


def visible_files(folder: Path) -> list[Path]:
    """Return the files below a folder in order, without what systems hide there (``._NAME``)."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in paths if not is_hidden(path.relative_to(folder).as_posix())]


def composed(name: str) -> str:
    """Return a name in Unicode's composed form: disks and archives of macOS decompose it."""
    return unicodedata.normalize("NFC", name)


def split_of(path: Path | PurePosixPath, of_list: bool = False) -> str | None:
    """Return the split that a folder means, or a word of a list: ``instances_train2017.json``."""
    words = [*path.parts[:-1], *(re.split(r"[_.\-]", path.stem) if of_list else ())]
    return next(filter(None, map(find_split, reversed(words))), None)


class Images:
    """The images below a folder, found by what an export calls them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_name: dict[str, list[Path]] = defaultdict(list)
        for path in visible_files(folder):
            if path.suffix.lower() in ENDINGS:
                self.by_name[composed(path.name)].append(path)

    def __iter__(self) -> Iterator[Path]:
        return (path for paths in self.by_name.values() for path in paths)

    def find(self, reference: str, beside: Path, where: str) -> Path:
        """Return the image that the file ``beside`` names, by a path, an address or a mere name.

        SgcpError: there is none, or several that it may be.
        """
        wanted = PurePosixPath(composed(reference).replace("\\", "/").partition("?")[0])
        exact, root = (beside.parent / wanted).resolve(), self.folder.resolve()
        if not wanted.is_absolute() and exact.is_file() and root in exact.parents:
            return self.folder / exact.relative_to(root)
        found = self.by_name.get(wanted.name, [])
        shared = [_shared_end(path, wanted) for path in found]
        best = [path for path, count in zip(found, shared, strict=True) if count == max(shared)]
        if not best:
            raise SgcpError(
                f"{where}: its image {printable(str(wanted.name))} is not below {self.folder}. Put "
                "the images there; many tools export them only on request"
            )
        if len(best) > 1:
            raise SgcpError(
                f"{where}: {len(best)} images may be its {printable(str(wanted))} "
                f"({shorten(best, 2)}). Export the sets of images one by one"
            )
        return best[0]


def _shared_end(path: Path, wanted: PurePosixPath) -> int:
    pairs = zip(map(composed, reversed(path.parts)), reversed(wanted.parts), strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), len(wanted.parts))


def same_name(path: Path) -> str:
    """Return what pairs an image with its label map: the name without its ending."""
    return name_of(Path("x", path.name))
