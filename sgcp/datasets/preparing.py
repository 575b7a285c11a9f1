"""Steps that datasets share: pair images with label maps, count them, convert one.

What is missing is refused, or left out and reported.
"""

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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


def pair_files(
    dataset: str,
    raw: Path,
    images: Sequence[RawImage],
    labels: Collection[Path],
    allow_missing: bool,
    layout: str,
) -> list[RawImage]:
    """Return the images whose label map exists, and those that need none.

    Other images, and label maps without an image, are left out with ``allow_missing``.

    Args:
        images: each with the place at which its label map is expected.
        labels: the label maps that exist, below ``raw``.
        layout: where images and label maps are looked for.

    Raises:
        SgcpError: no image has a label map; or some have none, or some label maps have no image,
            and ``allow_missing`` is off.
    """
    present = set(labels)
    kept = [one for one in images if one.label is None or one.label in present]
    bare = {one.image: one.label for one in images if one.label and one.label not in present}
    orphans = sorted(present - {one.label for one in images})
    problems = []
    if bare:
        hint = f"expected {next(iter(bare.values()))}"
        problems.append(f"images without a label map: {len(bare)} ({shorten(bare)}; {hint})")
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


def check_counts(
    dataset: str, found: Mapping[str, int], expected: Mapping[str, int], allow_missing: bool
) -> None:
    """Refuse fewer images than published, or report how many are missing from each split."""
    missing = ", ".join(
        f"{expected[split] - found[split]} of {expected[split]} {split} images"
        for split in expected
        if found[split] < expected[split]
    )
    if missing and not allow_missing:
        raise SgcpError(
            f"{dataset}: {missing} are missing. Complete the download, or prepare the images "
            f"found: `sgcp prepare {dataset} --allow-missing`"
        )
    if missing:
        warn(f"note: {dataset}: {missing} are missing")


def convert_image(
    image: RawImage, read: Callable[[Path], UInt8], raw: Path, out: Path, sequence: str = ""
) -> tuple[Item, UInt8 | None]:
    """Write one image's label map; return its row of the index and the label map's train ids.

    Args:
        read: returns the train ids (H, W) of a file.
        sequence: the recording or folder that the image belongs to.
    """
    pixels = read_image(raw / image.image)
    size = (pixels.shape[0], pixels.shape[1])
    item = Item(image.split, image.image, sequence, *size, digest_pixels(pixels))
    if image.label is None:
        return item, None
    # Digested before it is read: a change in between must be noticed.
    source_digest = digest_file(raw / image.label)
    label = read(raw / image.label)
    if label.shape != size:
        raise SgcpError(
            f"{raw / image.label}: {label.shape} differs from its image {size} "
            "(height, width); a label map has a value for each pixel of its own image"
        )
    target = Path("labels", image.split, f"{image.key}.png")
    if not (out / target).is_file():
        write_png(out / target, label)
    item = replace(
        item,
        label=target,
        label_digest=digest_pixels(label),
        source=image.label,
        source_digest=source_digest,
    )
    return item, label
