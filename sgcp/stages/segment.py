"""``sgcp segment``: anybody's pictures -> label maps, colours and overlays. Needs no project."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgcp.datasets.images import UInt8, read_image, write_png
from sgcp.errors import SgcpError
from sgcp.inference.engines.base import cores
from sgcp.inference.segmenter import load
from sgcp.inference.views import PLAIN, Views
from sgcp.progress import map_threads, say, track, warn
from sgcp.reporting.panels import colorize
from sgcp.stages.model import choose_device

if TYPE_CHECKING:
    from sgcp.inference.segmenter import Segmenter

SUFFIXES = (".png", ".jpg", ".jpeg")
MOST, LEAST_SCALE, MOST_SCALE = 16384, 0.01, 16.0  # as in params.yaml
SHARE = 0.5  # of the colours in an overlay


@dataclass(frozen=True)
class Wanted:
    """What is written of each picture."""

    labels: bool = True
    """The model's train ids, 8 bits a pixel."""
    colors: bool = False
    """Class colours."""
    overlay: bool = True
    """Class colours over the picture."""

    def paths(self, stem: Path) -> dict[str, Path]:
        """Return the files of one picture, by kind."""
        kinds = {"labels": self.labels, "colors": self.colors, "overlay": self.overlay}
        return {kind: stem.with_name(f"{stem.name}_{kind}.png") for kind, on in kinds.items() if on}


@dataclass(frozen=True)
class Look:
    """How the network sees a picture."""

    input_size: tuple[int, int] | None = None
    """(height, width); None: as the model was trained."""
    views: Views = PLAIN
    """How often, and how."""

    @classmethod
    def checked(
        cls,
        input_size: tuple[int, int] | None,
        flip: bool,
        scales: Sequence[float],
        window: tuple[int, int] | None,
    ) -> Look:
        """Return what a command line asks for.

        Raises:
            SgcpError: a size or a scale is out of range.
        """
        for name, size in (("--input-size", input_size), ("--window", window)):
            if size and not (1 <= min(size) <= max(size) <= MOST):
                raise SgcpError(f"{name}: height and width, 1 .. {MOST} pixels, got {size}")
        if not all(LEAST_SCALE <= scale <= MOST_SCALE for scale in scales):
            raise SgcpError(f"--scale: {LEAST_SCALE} .. {MOST_SCALE}, got {list(scales)}")
        return cls(input_size, Views(flip, tuple(scales), window))


def segment(
    paths: Sequence[Path],
    model: str,
    out: Path,
    wanted: Wanted,
    look: Look,
    force: bool = False,
    accelerator: str = "auto",
) -> dict[str, Any]:
    """Label pictures, and those in folders; write what is wanted of each to ``out``.

    A picture that cannot be read is named and the others are labelled all the same.

    Args:
        model: as ``sgcp.load`` takes it.
        force: write over files that are there.

    Returns:
        For JSON: where to, how many pictures were labelled, and which were ``left_out``, why.

    Raises:
        SgcpError: no picture, no model, nothing wanted, or a file is in the way.
    """
    if not wanted.paths(Path("x")):
        raise SgcpError("nothing to write: leave one of --labels, --colors, --overlay on")
    pictures = name_outputs(find_pictures(paths, out), out)
    targets = [wanted.paths(stem) for stem in pictures.values()]
    sources = {picture.resolve() for picture in pictures}
    if mixed := [p for kinds in targets for p in kinds.values() if p.resolve() in sources]:
        raise SgcpError(f"{mixed[0]}: would be written over and is to be read too; another --out")
    there = [path for kinds in targets for path in kinds.values() if path.exists()]
    if there and not force:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise SgcpError(f"{there[0]}{more}: is there already; --force writes over it, or --out DIR")
    segmenter = load(model, choose_device(accelerator), callers=cores())
    failed: list[str] = []

    def label(task: tuple[Path, dict[str, Path]]) -> None:
        source, kinds = task
        try:
            image = read_image(source)
        except SgcpError as error:
            failed.append(str(error))
            return
        for kind, content in render(image, segmenter, look, kinds).items():
            write_png(kinds[kind], content)

    tasks = list(zip(pictures, targets, strict=True))
    for _ in track(map_threads(label, tasks, segmenter.workers), "segmenting", len(tasks)):
        pass
    for message in sorted(failed):
        warn(f"left out: {message}")
    say(f"{out}: {len(tasks) - len(failed)} of {len(tasks)} pictures")
    done = len(tasks) - len(failed)
    return {"out": str(out), "pictures": len(tasks), "labelled": done, "left_out": sorted(failed)}


def find_pictures(paths: Iterable[Path], out: Path) -> list[Path]:
    """Return pictures given by name, and all below folders given, each once.

    What lies below ``out`` is left out of a folder that ``out`` is in: results of another time.

    Raises:
        SgcpError: a path is not there, or there is no picture.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*")
                            if p.suffix.lower() in SUFFIXES and p.is_file())  # fmt: skip
            if path.resolve() != out.resolve():
                inside = [p for p in inside if not p.resolve().is_relative_to(out.resolve())]
            if not inside:
                raise SgcpError(f"{path}: no picture below it ({', '.join(SUFFIXES)})")
        elif path.is_file():
            inside = [path]
        else:
            raise SgcpError(f"{path}: no such file or folder")
        for picture in inside:
            found.setdefault(picture.resolve(), picture)
    return list(found.values())


def name_outputs(pictures: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Return what each picture's files are named after; of equal names all but one keep more.

    ``a/1.png`` and ``b/1.jpg`` become ``1`` and ``b_1.jpg``. Case makes no difference: on some
    disks it makes none.
    """
    named: dict[Path, Path] = {}
    taken: set[str] = set()
    for picture in pictures:
        longer = f"{picture.parent.name}_{picture.name}".lstrip("_")
        candidates = chain([picture.stem, longer], (f"{longer}_{number}" for number in count(2)))
        name = next(name for name in candidates if name.casefold() not in taken)
        taken.add(name.casefold())
        named[picture] = out / name
    return named


def render(
    image: UInt8, segmenter: Segmenter, look: Look, kinds: Iterable[str]
) -> dict[str, UInt8]:
    """Label (H, W, 3) and return the pictures of the kinds that are wanted."""
    labels = segmenter.segment(image, look.input_size, look.views)
    made = {"labels": labels}
    if {"colors", "overlay"} & set(kinds):
        made["colors"] = colorize(labels, segmenter.classes)
        mixed = image * (1 - SHARE) + made["colors"] * SHARE
        made["overlay"] = np.rint(mixed).astype(np.uint8)
    return {kind: made[kind] for kind in kinds}
