"""Rules for incomplete datasets: refuse what is missing, or leave it out and report it."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.terminal import warn

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
    """Say how files found are called that may be those expected, and how to rename them.

    Returns:
        A sentence after a blank, or nothing where no name is near.
    """
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
