"""What a source of a user's own dataset lacks, and what lies there that nothing reads."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from sgcp.core.errors import SgcpError, printable, shorten
from sgcp.core.terminal import warn
from sgcp.datasets.custom import ENDINGS, IMAGES, LABELS
from sgcp.datasets.custom_classes import CLASSES
from sgcp.datasets.foreign_layouts import OWN, explain_layout, is_hidden, other_split
from sgcp.datasets.index import SPLITS
from sgcp.datasets.links import OnlyOnce

PAGE = "docs/custom-dataset.md"
# A file that may list classes, where classes.csv is missing.
CLASS_LIST = (
    r"(?:^|/)[^/]*(?:class|categor|label_?map|palette)[^/]*\.(?:csv|tsv|txt|json|ya?ml|xlsx?)\Z"
)


def refuse_several(source: Path, taken: Mapping[Path, str]) -> None:
    """Refuse one folder or archive that contains images or label maps in several places.

    Args:
        taken: its files, each by its place in the raw data.

    Raises:
        SgcpError: naming the places.
    """
    for kind in (IMAGES, LABELS):
        parents = {
            PurePosixPath(name).parents[len(place.parts) - 1] / kind
            for place, name in taken.items()
            if place.parts[0] == kind
        }
        if len(parents) > 1:
            raise SgcpError(
                f"{source}: several datasets: {printable(shorten(sorted(parents)))}. Name the "
                "folder of one with --root, or merge them: a split may have sub-folders"
            )


def check_source(place: OnlyOnce) -> None:
    """Refuse a source that lacks a part; mention images that none of the splits takes.

    Raises:
        SgcpError: naming what is missing and what there is instead; or a folder that is meant as
            a split but has another name.
    """
    parts = {path.parts[0] for path in place.taken}
    missing = [f"{kind}/SPLIT" for kind in (IMAGES, LABELS) if kind not in parts]
    if missing:
        found = explain_layout(OWN, place.skipped)
        lacks = " and ".join([*missing, *({CLASSES} - parts)])
        raise SgcpError(
            f"custom: the source lacks {lacks} (SPLIT: train, val, test): {found}; see {PAGE}"
        )
    if CLASSES not in parts:
        near = [name for name in place.skipped if re.search(CLASS_LIST, name, re.IGNORECASE)]
        found = f"; the nearest to it is {printable(near[0])}" if near else ""
        raise SgcpError(
            f"custom: the source lacks {CLASSES}, the list of your classes{found}. Write one as "
            f"{PAGE} shows, beside {IMAGES} and {LABELS}"
        )
    check_strays(place.skipped)


def check_strays(names: Iterable[str]) -> None:
    """Mention images and label maps that lie below the parts but in none of the splits.

    Raises:
        SgcpError: their folder is meant as a split, such as ``images/valid``.
    """
    strays: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    for name in names:
        match = re.search(rf"(?:^|/)(({IMAGES}|{LABELS})/(?:([^/]+)/)?)[^/]", name)
        if match is None or is_hidden(name) or Path(name).suffix.lower() not in ENDINGS:
            continue
        folder = match[1].rstrip("/")
        strays[folder] += 1
        if match[3] and (split := other_split(match[3])):
            wrong[folder] = f"{match[2]}/{split}"
    if wrong:
        folder, right = next(iter(sorted(wrong.items())))
        raise SgcpError(
            f"custom: {_count(strays, wrong)} would be left out: the splits are called "
            f"{', '.join(SPLITS)}. Rename {folder} to {right}, and so on"
        )
    if strays:
        warn(f"note: left out, as only {', '.join(SPLITS)} are read: {_count(strays, strays)}")


def _count(strays: Counter[str], folders: Iterable[str]) -> str:
    return shorten(f"{printable(f)} ({strays[f]:,} files)" for f in sorted(folders))
