"""A user's own images and labels, in the folders of docs/custom-dataset.md."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.parallel import map_parallel
from sgcp.core.terminal import warn
from sgcp.datasets.classes import SemanticClass
from sgcp.datasets.custom_classes import CLASSES, IGNORED, ClassTable, means_void, read_classes
from sgcp.datasets.index import SPLITS, Dataset, Item, digest_file, digest_pixels, train_only
from sgcp.datasets.keys import Located, refuse_collisions
from sgcp.datasets.missing import pair_files
from sgcp.media.images import read_image, write_png

IMAGES, LABELS = "images", "labels"
LABEL_ENDING = ".png"
ENDINGS = (LABEL_ENDING, ".jpg", ".jpeg")
FOREIGN = (".bmp", ".gif", ".heic", ".jp2", ".tif", ".tiff", ".webp")  # images, but not read
LEARNED = ("train", "val")  # splits that must have labels
SHOWN = 5  # classes of one message


@dataclass(frozen=True)
class Entry(Located):
    """One image and its label; paths lie below the raw folder."""

    label: Path | None


def raw_path(name: str) -> Path | None:
    """Return where a file of a user's folder or archive belongs below the raw folder.

    None if it is no image: notes, hidden files, what file managers leave.

    Raises:
        SgcpError: an image of a form that is not read; left out, it would not be missed.
    """
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


def list_files(raw: Path, kind: str, split: str) -> list[Path]:
    """Return the images of a split, sorted; links to files that are gone are not left out."""
    folder = raw / kind / split
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    return sorted(path.relative_to(raw) for path in paths if not path.is_dir())


def find_images(raw: Path, allow_missing: bool) -> list[Entry]:
    """Pair the images of every split with their label maps, by name.

    A test split may come without label maps; training and validation may not.

    Args:
        allow_missing: leave out what has no counterpart, and say so.

    Raises:
        SgcpError: an image without label map, or the reverse; one name twice in a folder; an empty
            split.
    """
    wanted: dict[Path, Path] = {}
    labels: dict[str, Path] = {}
    entries = []
    for split in SPLITS:
        images = list_files(raw, IMAGES, split)
        found = by_name(raw, list_files(raw, LABELS, split))
        if found or split in LEARNED:
            labels |= found
            wanted |= {image: found.get(name_of(image), label_of(image)) for image in images}
        else:
            entries += [Entry(split, image, None) for image in images]
    layout = f"{IMAGES}/SPLIT/NAME.png or .jpg, and {LABELS}/SPLIT/NAME{LABEL_ENDING}"
    pairs = pair_files("custom", raw, wanted, labels.values(), allow_missing, layout)
    entries = [*(Entry(i.parts[1], i, label) for i, label in pairs.items()), *entries]
    refuse_collisions(entries, raw)
    refuse_empty(raw, entries, allow_missing)
    return entries


def name_of(path: Path) -> str:
    """Return what pairs an image with its label map: its path below ``images``, without ending.

    In Unicode's composed form (NFC): disks and archives of macOS decompose names.
    """
    return unicodedata.normalize("NFC", Path(*path.parts[1:]).with_suffix("").as_posix())


def by_name(raw: Path, paths: Iterable[Path]) -> dict[str, Path]:
    """Return files by ``name_of``.

    Raises:
        SgcpError: two have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(name_of(path), path)
        if other != path:
            raise SgcpError(
                f"{raw / path} and {raw / other}: have one name, but for their ending or the form "
                "of their accents. Keep one"
            )
    return found


def label_of(image: Path) -> Path:
    """Return where the label map of an image belongs."""
    return Path(LABELS, *image.parts[1:]).with_suffix(LABEL_ENDING)


def refuse_empty(raw: Path, entries: Sequence[Entry], allow_missing: bool) -> None:
    """Refuse a dataset without images to learn from or to choose the best epoch by.

    Raises:
        SgcpError: naming the folder that is empty, and all that training without it needs.
    """
    found = {entry.split for entry in entries}
    empty = [split for split in LEARNED if split not in found]
    if not empty or allow_missing:
        return
    without = {
        "train": "To score a model without training one, run `sgcp prepare custom --allow-missing`",
        "val": train_only("custom"),
    }
    raise SgcpError(
        f"{raw / IMAGES / empty[0]}: no image with a label map. Move some of the others here, with "
        f"their label maps; images of one drive or day all to the same split. {without[empty[0]]}"
    )


def convert_image(
    entry: Entry, raw: Path, out: Path, table: ClassTable
) -> tuple[Item, frozenset[int]]:
    """Write one image's label map; return its row of the index and the train ids it holds.

    Raises:
        SgcpError: a file is damaged, the two differ in size, or a value is not listed.
    """
    image = read_image(raw / entry.image)
    height, width = image.shape[:2]
    sequence = "/".join(entry.image.parts[2:-1])
    digest = digest_pixels(image)
    item = Item(entry.split, entry.image, sequence, height, width, digest)
    if entry.label is None:
        return item, frozenset()
    # Digested before it is read: a change in between must not go by unnoticed.
    source_digest = digest_file(raw / entry.label)
    label = table.read(raw / entry.label)
    if label.shape != (height, width):
        raise SgcpError(
            f"{raw / entry.label}: {label.shape} differs from its image {(height, width)} "
            "(height, width); a label has a value for each pixel of its own image"
        )
    target = label_of(entry.image)
    if not (out / target).is_file():
        write_png(out / target, label)
    found = frozenset(np.unique(label).tolist())
    item = replace(
        item,
        label=target,
        label_digest=digest_pixels(label),
        source=entry.label,
        source_digest=source_digest,
    )
    return item, found


def prepare_own(raw: Path, out: Path, allow_missing: bool, workers: int | str) -> Dataset:
    """Convert every labelled image into ``out/labels``.

    Raises:
        SgcpError: ``classes.csv``, an image or a label is not as docs/custom-dataset.md says.
    """
    sources = {CLASSES: digest_file(raw / CLASSES)}
    table = read_classes(raw / CLASSES)
    entries = find_images(raw, allow_missing)
    convert = partial(convert_image, raw=raw, out=out, table=table)
    converted = map_parallel(convert, entries, workers, "labels")
    items = tuple(item for item, _ in converted)
    # Without a training split, as for a dataset that only scores, all its label maps count.
    learned = "train" if any(item.split == "train" for item in items) else None
    seen = frozenset[int]().union(
        *(found for item, found in converted if learned in (None, item.split))
    )
    judge_classes(table.classes, seen)
    return Dataset(
        "custom", "folder", table.protocol, table.classes, items, sources, table.void_ids
    )


def judge_classes(classes: Sequence[SemanticClass], seen: frozenset[int]) -> None:
    """Report classes without a pixel to learn from, and names that usually mean no class.

    Args:
        seen: train ids that label maps hold.

    Raises:
        SgcpError: a class has such a name and no pixel.
    """
    void = [item for item in classes if means_void(item.name)]
    if empty := [item.name for item in void if item.train_id not in seen]:
        raise SgcpError(
            f"{CLASSES}: does '{empty[0]}' mean pixels without a class? No label map of train has "
            f"one of its pixels. If so, name it '{IGNORED}': such pixels are neither trained on "
            f"nor scored. If it is a class, give it another name, such as '{empty[0]} class'"
        )
    if void:
        warn(
            f"note: {shorten(item.name for item in void)}: trained on and scored as a class; for "
            f"pixels without a class, name it '{IGNORED}' in {CLASSES}"
        )
    if unseen := [item.name for item in classes if item.train_id not in seen]:
        warn(f"note: no label map of train has {shorten(unseen, SHOWN)}: it cannot be learned")
