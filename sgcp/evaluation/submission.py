"""The rules of a submission: what the Cityscapes server takes, checked before it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sgcp.datasets.images import DAMAGED, read_label
from sgcp.errors import SgcpError


@dataclass(frozen=True)
class Expected:
    """One test image that a submission must answer."""

    stem: str
    """``<city>_<seq>_<frame>``; exactly one file must begin with it."""
    size: tuple[int, int]
    """(height, width) of the original image."""


def match_files(folder: Path, expected: Sequence[Expected]) -> tuple[dict[str, Path], list[str]]:
    """Find the one file of each test image.

    Returns:
        File by stem, and problems: missing, several, or stray files.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stems = {item.stem for item in expected}
    found: dict[str, list[Path]] = {}
    problems = []
    for path in files:
        owners = [stem for stem in _prefixes(path.stem) if stem in stems]
        if path.suffix != ".png" or not owners:
            problems.append(f"{path.name}: stray file, answers no test image")
        else:
            found.setdefault(owners[0], []).append(path)
    for stem in sorted(stems):
        count = len(found.get(stem, ()))
        if count == 0:
            problems.append(f"{stem}: no prediction")
        elif count > 1:
            names = ", ".join(path.name for path in found[stem])
            problems.append(f"{stem}: {count} predictions, expected one ({names})")
    return {stem: paths[0] for stem, paths in found.items()}, problems


def _prefixes(stem: str) -> list[str]:
    """Return every prefix of a name that ends at an underscore or the end, longest first."""
    parts = stem.split("_")
    return ["_".join(parts[:count]) for count in range(len(parts), 0, -1)]


def check_prediction(path: Path, size: tuple[int, int], names: Mapping[int, str]) -> list[str]:
    """Check one prediction: mode, size and ids.

    Args:
        size: (height, width) of the original image.
        names: class name by allowed id.

    Returns:
        What is wrong with it, nothing if all is well.
    """
    try:
        with Image.open(path) as image:
            mode, kind = image.mode, image.format
        ids = read_label(path)
    except (*DAMAGED, SgcpError) as error:
        return [f"{path.name}: {error}"]
    problems = []
    if kind != "PNG":
        problems.append(f"{path.name}: {kind} under the name of a PNG")
    if mode != "L":
        problems.append(f"{path.name}: mode {mode}, expected L (one 8-bit channel, no palette)")
    if ids.shape != size:
        problems.append(f"{path.name}: size {ids.shape}, expected {size} (height, width)")
    foreign = [int(value) for value in np.unique(ids) if int(value) not in names]
    if foreign:
        hint = "; train ids?" if min(names) > 0 and 0 in foreign else ""
        problems.append(f"{path.name}: ids {foreign[:8]} are not evaluated{hint}")
    return problems


def check_predictions(
    folder: Path, expected: Sequence[Expected], names: Mapping[int, str], published: int | None
) -> tuple[dict[str, Path], list[str]]:
    """Check a folder of predictions against every rule.

    Args:
        published: how many test images the benchmark has; None where it sets no number.

    Returns:
        File by stem, and everything that is wrong.
    """
    matched, problems = match_files(folder, expected)
    if published is not None and len(expected) != published:
        problems.append(f"{len(expected)} test images are known, the benchmark has {published}")
    for item in expected:
        if item.stem in matched:
            problems += check_prediction(matched[item.stem], item.size, names)
    return matched, problems
