"""Steps that datasets share: pair images with label maps, count them, convert one."""

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.terminal import warn
from sgcp.datasets.index import Item, Located, digest_file, digest_pixels
from sgcp.media.images import UInt8, read_image, write_png

MOST_COMPARED = 2000  # names that are compared letter by letter


@dataclass(frozen=True)
class RawImage(Located):
    """An image of a split and the file that its label map is made from."""

    label: Path | None
    """Below the raw folder; None: the image needs none."""
    sequence: str = ""
    """The recording or folder that it belongs to."""


def pair_files(
    dataset: str,
    raw: Path,
    images: Sequence[RawImage],
    labels: Collection[Path],
    allow_missing: bool,
    layout: str,
) -> list[RawImage]:
    """Return the images whose label map exists, and those that need none.

    Each of ``images`` names the label map that it expects; ``labels`` are those that exist below
    ``raw``; ``layout`` tells where both are looked for. Other images, and label maps without an
    image, are left out and reported with ``allow_missing``, refused without. One pair must be left.
    """
    present = set(labels)
    kept = [one for one in images if one.label is None or one.label in present]
    bare = {one.image: one.label for one in images if one.label and one.label not in present}
    orphans = sorted(present - {one.label for one in images})
    problems = []
    if bare:
        missing = f"{shorten(bare)}; expected {next(iter(bare.values()))}"
        problems.append(f"images without a label map: {len(bare)} ({missing})")
    if orphans:
        problems.append(f"label maps without an image: {len(orphans)} ({shorten(orphans)})")
    near = compare_names(next(iter(bare.values())), orphans) if bare and orphans else ""
    if not any(one.label for one in kept):
        if kept:
            problems.append(f"test images, which need none: {len(kept)}")
        found = "; ".join(problems) or "no images and no label maps"
        raise SgcpError(
            f"{raw}: no image has a label map. Looked for {layout}; found {found}.{near}"
        )
    if problems and not allow_missing:
        raise SgcpError(
            f"{raw}: {'; '.join(problems)}.{near} Complete the dataset, or leave these files out: "
            f"`sgcp prepare {dataset} --allow-missing`"
        )
    if problems:
        warn(f"{raw}: left out {'; '.join(problems)}")
    return kept


def compare_names(expected: Path, found: Sequence[Path]) -> str:
    """Return a sentence about the name that is nearest to the one expected."""
    for path in found:
        if expected.stem in path.stem and path.parent == expected.parent:
            parts = filter(None, path.stem.split(expected.stem, 1))
            more = " and ".join(f"'{part}'" for part in parts)
            return f" {path} has {more} beside the name of the image: rename such files."
    close = difflib.get_close_matches(str(expected), map(str, found[:MOST_COMPARED]), n=1)
    return f" The nearest to {expected} is {close[0]}." if close else ""


def check_counts(dataset: str, counts: Mapping[str, tuple[int, int]], allow_missing: bool) -> None:
    """Refuse fewer images than published, by split, or report how many are missing."""
    missing = ", ".join(
        f"{published - found} of {published} {split} images"
        for split, (found, published) in counts.items()
        if found < published
    )
    if missing and not allow_missing:
        raise SgcpError(
            f"{dataset}: {missing} are missing. Complete the download, or prepare the images "
            f"found: `sgcp prepare {dataset} --allow-missing`"
        )
    if missing:
        warn(f"note: {dataset}: {missing} are missing")


def describe_image(image: RawImage, raw: Path) -> Item:
    """Return an image's row of the index, as yet without its label map."""
    pixels = read_image(raw / image.image)
    height, width, _ = pixels.shape
    item = Item(image.split, image.image, image.sequence, height, width, digest_pixels(pixels))
    if image.label is None:
        return item
    # Digested before it is read: a change in between must be noticed.
    return replace(item, source=image.label, source_digest=digest_file(raw / image.label))


def convert_image(
    image: RawImage, read: Callable[[Path], UInt8], raw: Path, out: Path
) -> tuple[Item, set[int]]:
    """Write the label map that ``read`` returns; return its row of the index and its train ids."""
    item = describe_image(image, raw)
    if image.label is None:
        return item, set()
    label = read(raw / image.label)
    size = (item.height, item.width)
    if label.shape != size:
        raise SgcpError(
            f"{raw / image.label}: {label.shape} differs from its image {size} "
            "(height, width); a label map has a value for each pixel of its own image"
        )
    target = Path("labels", image.split, f"{image.key}.png")
    if not (out / target).is_file():
        write_png(out / target, label)
    present = np.flatnonzero(np.bincount(label.ravel()))  # np.unique would sort
    return replace(item, label=target, label_digest=digest_pixels(label)), {*present.tolist()}
