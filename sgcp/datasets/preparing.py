"""Steps that datasets share: pair images with label maps, count them, convert one.

What is missing is refused, or left out and reported.
"""

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.terminal import warn
from sgcp.datasets.index import Item, Located, digest_file, digest_pixels
from sgcp.media.images import UInt8, read_image, write_png

MOST_COMPARED = 2000  # names that are compared letter by letter


def pair_files(
    dataset: str,
    raw: Path,
    wanted: Mapping[Path, Path],
    labels: Collection[Path],
    allow_missing: bool,
    layout: str,
    unlabelled: int = 0,
) -> dict[Path, Path]:
    """Return the images that have a label map, each with its label map.

    All paths lie below ``raw``. Images without a label map and label maps without an image are
    left out with ``allow_missing``, and reported.

    Args:
        wanted: each image with the path at which its label map is expected.
        labels: the label maps that exist.
        layout: where images and label maps are looked for.
        unlabelled: number of images of splits that need no label maps.

    Raises:
        SgcpError: no image has a label map; or some have none, or some label maps have no image,
            and ``allow_missing`` is off.
    """
    present = set(labels)
    pairs = {image: label for image, label in wanted.items() if label in present}
    bare = {image: label for image, label in wanted.items() if label not in present}
    orphans = sorted(present - set(wanted.values()))
    problems = []
    if bare:
        hint = f"expected {next(iter(bare.values()))}"
        problems.append(f"images without a label map: {len(bare)} ({shorten(bare)}; {hint})")
    if orphans:
        problems.append(f"label maps without an image: {len(orphans)} ({shorten(orphans)})")
    near = compare_names(list(bare.values()), orphans)
    if not pairs:
        if unlabelled:
            problems.append(f"test images, which need none: {unlabelled}")
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
    return pairs


def compare_names(expected: Sequence[Path], found: Sequence[Path]) -> str:
    """Return a sentence about the names that are near those expected, and how to rename them."""
    if not expected or not found:
        return ""
    first = expected[0]
    longer = [path for path in found if first.stem in path.stem and path.parent == first.parent]
    alike = {str(path).casefold(): path for path in found}
    close = difflib.get_close_matches(str(first), map(str, found[:MOST_COMPARED]), n=1)
    if near := alike.get(str(first).casefold()):
        return f" {near} differs from {first} in letter case: rename it."
    if longer:
        more = " and ".join(f"'{part}'" for part in longer[0].stem.split(first.stem, 1) if part)
        return f" {longer[0]} has {more} beside the name of the image: rename such files."
    return f" The nearest to {first} is {close[0]}." if close else ""


def check_counts(
    dataset: str, found: Mapping[str, int], expected: Mapping[str, int], allow_missing: bool
) -> None:
    """Refuse fewer images than published, or report how many are missing from each split.

    Raises:
        SgcpError: images are missing and ``allow_missing`` is off.
    """
    short = [
        f"{expected[split] - found[split]} of {expected[split]} {split} images"
        for split in expected
        if found[split] < expected[split]
    ]
    if not short:
        return
    missing = ", ".join(short)
    if not allow_missing:
        raise SgcpError(
            f"{dataset}: {missing} are missing. Complete the download, or prepare the images "
            f"found: `sgcp prepare {dataset} --allow-missing`"
        )
    warn(f"note: {dataset}: {missing} are missing")


def convert_image(
    image: Located,
    source: Path | None,
    sequence: str,
    target: Path,
    read: Callable[[Path], UInt8],
    raw: Path,
    out: Path,
) -> tuple[Item, UInt8 | None]:
    """Write one image's label map; return its row of the index and the label map's train ids.

    Args:
        source: its label map below ``raw``; None: there is none.
        target: where the train ids go below ``out``.
        read: returns the train ids (H, W) of a source.

    Raises:
        SgcpError: the two differ in size; or as ``read_image`` and ``read``.
    """
    pixels = read_image(raw / image.image)
    height, width = pixels.shape[:2]
    item = Item(image.split, image.image, sequence, height, width, digest_pixels(pixels))
    if source is None:
        return item, None
    # Digested before it is read: a change in between must be noticed.
    source_digest = digest_file(raw / source)
    label = read(raw / source)
    if label.shape != (height, width):
        raise SgcpError(
            f"{raw / source}: {label.shape} differs from its image {(height, width)} "
            "(height, width); a label map has a value for each pixel of its own image"
        )
    if not (out / target).is_file():
        write_png(out / target, label)
    described = {"label": target, "label_digest": digest_pixels(label)}
    return replace(item, **described, source=source, source_digest=source_digest), label  # type: ignore[arg-type]
