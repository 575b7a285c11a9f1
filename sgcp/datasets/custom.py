"""A user's own images and labels, in the folders of docs/custom-dataset.md."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from sgcp.core.errors import SgcpError, printable, shorten
from sgcp.core.parallel import map_parallel
from sgcp.core.terminal import warn
from sgcp.datasets.classes import SemanticClass
from sgcp.datasets.custom_classes import CLASSES, IGNORED, means_void, read_classes
from sgcp.datasets.foreign_layouts import LAYOUTS, explain_layout, find_split, is_hidden
from sgcp.datasets.index import SPLITS, Dataset, digest_file, refuse_collisions, train_only
from sgcp.datasets.preparing import RawImage, convert_image, pair_files
from sgcp.datasets.raw import OnlyOnce
from sgcp.datasets.source import DatasetSource, Inputs

IMAGES, LABELS = "images", "labels"
LABEL_ENDING = ".png"
ENDINGS = (LABEL_ENDING, ".jpg", ".jpeg")
FOREIGN = (".bmp", ".gif", ".heic", ".jp2", ".tif", ".tiff", ".webp")  # images, but not read
LABELLED = ("train", "val")  # splits that must have labels
SHOWN = 5  # classes of one message
PAGE = "docs/custom-dataset.md"
# A file that may list classes, where classes.csv is missing.
CLASS_LIST = (
    r"(?:^|/)[^/]*(?:class|categor|label_?map|label_?colou?r|palette)[^/]*"
    r"\.(?:csv|tsv|txt|json|ya?ml|xlsx?)\Z"
)


def raw_path(name: str) -> Path | None:
    """Return where a file of a user belongs below the raw folder; None: no image, or hidden."""
    match = re.search(
        rf"(?:^|/)((?:({IMAGES}|{LABELS})/(?:train|val|test)/|{CLASSES}\Z)[\s\S]*)\Z", name
    )
    if match is None:
        return None
    place, kind = Path(match[1]), match[2]
    if kind is None:
        return place
    ending = place.suffix.lower()
    if any(part.startswith(".") for part in place.parts) or ending not in ENDINGS + FOREIGN:
        return None
    if kind == LABELS and ending != LABEL_ENDING:
        raise SgcpError(f"{name}: label maps are PNG files, as JPEG changes values; export PNG")
    if ending in FOREIGN:
        raise SgcpError(f"{name}: images are PNG or JPEG files; convert it")
    return place


def _find_images(raw: Path, allow_missing: bool) -> list[RawImage]:
    """Pair the images of every split with their label maps, which test alone may lack."""
    labels: list[Path] = []
    images = []
    for split in SPLITS:
        found: dict[str, Path] = {}
        for path in _list_files(raw, LABELS, split):
            if (other := found.setdefault(name_of(path), path)) != path:
                raise SgcpError(
                    f"{raw / path} and {raw / other}: have one name, but for their ending or the "
                    "form of their accents. Keep one"
                )
        labels += found.values()
        for image in _list_files(raw, IMAGES, split):
            expected = Path(LABELS, *image.parts[1:]).with_suffix(LABEL_ENDING)
            label = found.get(name_of(image), expected) if found or split in LABELLED else None
            images.append(RawImage(split, image, label, "/".join(image.parts[2:-1])))
    layout = f"{IMAGES}/SPLIT/NAME.png or .jpg, and {LABELS}/SPLIT/NAME{LABEL_ENDING}"
    images = pair_files("custom", raw, images, labels, allow_missing, layout)
    refuse_collisions(images, raw)
    empty = [split for split in LABELLED if not any(image.split == split for image in images)]
    if empty and not allow_missing:
        without = {
            "train": "To score a model without training one, run "
            "`sgcp prepare custom --allow-missing`",
            "val": train_only("custom"),
        }
        raise SgcpError(
            f"{raw / IMAGES / empty[0]}: no image with a label map. Move some of the others here, "
            "with their label maps; images of one drive or day all to the same split. "
            + without[empty[0]]
        )
    return images


def _list_files(raw: Path, kind: str, split: str) -> list[Path]:
    """Return the images of a split, sorted; dead links are included."""
    paths = (path for path in (raw / kind / split).rglob("*") if path.suffix.lower() in ENDINGS)
    return sorted(path.relative_to(raw) for path in paths if not path.is_dir())


def name_of(path: Path) -> str:
    """Return what pairs an image with its label map: its path below ``images``, without ending."""
    # In Unicode's composed form: disks and archives of macOS decompose names.
    return unicodedata.normalize("NFC", Path(*path.parts[1:]).with_suffix("").as_posix())


def _prepare(inputs: Inputs, out: Path, settings: Any, workers: int | str) -> Dataset:
    raw = inputs.raw
    sources = {CLASSES: digest_file(raw / CLASSES)}
    table = read_classes(raw / CLASSES)
    images = _find_images(raw, settings.allow_missing)
    convert = partial(convert_image, read=table.read, raw=raw, out=out)
    converted = map_parallel(convert, images, workers, "labels")
    items = tuple(item for item, _ in converted)
    # Without a training split, as for a dataset that only scores, all its label maps count.
    judged = ("train",) if any(item.split == "train" for item in items) else SPLITS
    seen = set().union(*(found for item, found in converted if item.split in judged))
    _judge_classes(table.classes, seen)
    return Dataset(
        "custom", "folder", table.protocol, table.classes, items, sources, table.void_ids
    )


def _judge_classes(classes: Sequence[SemanticClass], seen: set[int]) -> None:
    """Report classes without a pixel to learn from, and names that usually mean no class."""
    void = [item for item in classes if means_void(item.name)]
    if empty := [item.name for item in void if item.train_id not in seen]:
        raise SgcpError(
            f"{CLASSES}: does '{empty[0]}' mean pixels without a class? No label map of train has "
            f"one of its pixels. If so, name it '{IGNORED}', or add its values to that row: such "
            "pixels are neither trained on nor scored. If it is a class, give it another name, "
            f"such as '{empty[0]} class'"
        )
    if void:
        warn(
            f"note: {shorten(item.name for item in void)}: trained on and scored as a class; for "
            f"pixels without a class, name it '{IGNORED}' in {CLASSES}"
        )
    if unseen := [item.name for item in classes if item.train_id not in seen]:
        warn(f"note: no label map of train has {shorten(unseen, SHOWN)}: it cannot be learned")


def _refuse_several(source: Path, taken: Mapping[Path, str]) -> None:
    """Refuse one folder or archive that contains images or label maps in several places."""
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


def check_source(raw: Path, place: OnlyOnce, edition: str) -> None:
    """Refuse a source that lacks a part; mention images that none of the splits takes."""
    parts = {path.parts[0] for path in place.taken}
    missing = [f"{kind}/SPLIT" for kind in (IMAGES, LABELS) if kind not in parts]
    if missing:
        found = explain_layout(LAYOUTS, place.skipped)
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
    _check_strays(place.skipped)


def _check_strays(names: Iterable[str]) -> None:
    """Mention images and label maps that lie below the parts but in none of the splits."""
    strays: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    for name in names:
        match = re.search(rf"(?:^|/)(({IMAGES}|{LABELS})/(?:([^/]+)/)?)[^/]", name)
        if match is None or is_hidden(name) or Path(name).suffix.lower() not in ENDINGS:
            continue
        folder = match[1].rstrip("/")
        strays[folder] += 1
        if match[3] not in (None, *SPLITS) and (split := find_split(match[3])):
            wrong[folder] = f"{match[2]}/{split}"
    found = shorten(f"{printable(f)} ({strays[f]:,} files)" for f in sorted(wrong or strays))
    if wrong:
        folder, right = min(wrong.items())
        raise SgcpError(
            f"custom: {found} would be left out: the splits are called {', '.join(SPLITS)}. "
            f"Rename {folder} to {right}, and so on"
        )
    if strays:
        warn(f"note: left out, as only {', '.join(SPLITS)} are read: {found}")


SOURCE = DatasetSource(_prepare, raw_path, check_source, _refuse_several, layouts=LAYOUTS)
