"""A user's own pictures and labels, in the folders of docs/own-dataset.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from sgcp.datasets.foreign_layouts import explain_layout, is_hidden, other_split
from sgcp.datasets.images import read_image, write_png
from sgcp.datasets.index import SPLITS, Dataset, Item, digest_file, digest_pixels
from sgcp.datasets.own_classes import CLASSES, ClassTable, read_classes
from sgcp.datasets.placement import OnlyOnce
from sgcp.errors import SgcpError, printable, shorten
from sgcp.progress import map_parallel, warn

IMAGES, LABELS = "images", "labels"
LABEL_ENDING = ".png"
ENDINGS = (LABEL_ENDING, ".jpg", ".jpeg")
FOREIGN = (".bmp", ".gif", ".heic", ".jp2", ".tif", ".tiff", ".webp")  # pictures, but not read
PAGE = "docs/own-dataset.md"
# A file that may list classes, where classes.csv is missing.
CLASS_LIST = (
    r"(?:^|/)[^/]*(?:class|categor|label_?map|palette)[^/]*\.(?:csv|tsv|txt|json|ya?ml|xlsx?)\Z"
)
LEARNED = ("train", "val")  # splits that must have labels


@dataclass(frozen=True)
class Picture:
    """One picture and its label; paths lie below the raw folder."""

    split: str
    image: Path
    label: Path | None


def raw_path(name: str) -> Path | None:
    """Return where a file of a user's folder or archive belongs below the raw folder.

    None if it is no picture: notes, hidden files, what file managers leave.

    Raises:
        SgcpError: a picture of a form that is not read; left out, it would not be missed.
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
        raise SgcpError(f"{name}: labels are PNG files, which keep every value; convert it")
    if ending in FOREIGN:
        raise SgcpError(f"{name}: pictures are PNG or JPEG files; convert it")
    return place


def check_source(place: OnlyOnce) -> None:
    """Refuse a source that lacks a part; mention images that none of the splits takes.

    Raises:
        SgcpError: naming what is missing and what there is instead; or a folder that is meant as
            a split but has another name.
    """
    parts = {path.parts[0] for path in place.taken}
    missing = [f"{kind}/SPLIT" for kind in (IMAGES, LABELS) if kind not in parts]
    if missing:
        found = explain_layout("own", place.skipped)
        lacks = " and ".join([*missing, *({CLASSES} - parts)])
        raise SgcpError(
            f"own: the source lacks {lacks} (SPLIT: train, val, test): {found}; see {PAGE}"
        )
    if CLASSES not in parts:
        near = [name for name in place.skipped if re.search(CLASS_LIST, name, re.IGNORECASE)]
        found = f"; the nearest to it is {printable(near[0])}" if near else ""
        raise SgcpError(
            f"own: the source lacks {CLASSES}, the list of your classes{found}. Write one as "
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
            f"own: {_count(strays, wrong)} would be left out: the splits are called "
            f"{', '.join(SPLITS)}. Rename {folder} to {right}, and so on"
        )
    if strays:
        warn(f"note: left out, as only {', '.join(SPLITS)} are read: {_count(strays, strays)}")


def _count(strays: Counter[str], folders: Iterable[str]) -> str:
    return shorten(f"{printable(f)} ({strays[f]:,} files)" for f in sorted(folders))


def list_files(raw: Path, kind: str, split: str) -> list[Path]:
    """Return the pictures of a split, sorted; links to files that are gone are not left out."""
    folder = raw / kind / split
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    return sorted(path.relative_to(raw) for path in paths if not path.is_dir())


def find_pictures(raw: Path, allow_missing: bool) -> list[Picture]:
    """Pair the pictures of every split with their labels.

    A test split may come without its labels; training and validation may not.

    Args:
        allow_missing: leave out what has no counterpart, and say so.

    Raises:
        SgcpError: a picture without label, or the reverse; a name given twice; an empty split.
    """
    pictures = []
    for split in SPLITS:
        images = list_files(raw, IMAGES, split)
        labels = set(list_files(raw, LABELS, split))
        wanted = {image: label_of(image) for image in images}
        if split not in LEARNED and not labels:
            pictures += [Picture(split, image, None) for image in images]
            continue
        bare = [image for image in images if wanted[image] not in labels]
        refuse_or_tell(raw, bare, "pictures have no label", allow_missing)
        orphans = sorted(labels - set(wanted.values()))
        refuse_or_tell(raw, orphans, "labels have no picture", allow_missing)
        kept = (image for image in images if wanted[image] in labels)
        pictures += [Picture(split, image, wanted[image]) for image in kept]
    refuse_equal_names(raw, pictures)
    refuse_empty(raw, pictures, allow_missing)
    return pictures


def label_of(image: Path) -> Path:
    """Return where the label of a picture lies."""
    return Path(LABELS, *image.parts[1:]).with_suffix(LABEL_ENDING)


def refuse_or_tell(raw: Path, paths: Sequence[Path], problem: str, allow_missing: bool) -> None:
    """Refuse files without a counterpart, or say that they are left out.

    Raises:
        SgcpError: there are some and ``allow_missing`` is off.
    """
    if not paths:
        return
    first = paths[0]
    hint = f" (expected {raw / label_of(first)})" if first.parts[0] == IMAGES else ""
    found = (
        f"{raw / first.parts[0] / first.parts[1]}: {len(paths)} {problem}, such as {first}{hint}"
    )
    if not allow_missing:
        raise SgcpError(
            f"{found}; complete them, or leave these out: `sgcp prepare own --allow-missing`"
        )
    warn(f"{found}: left out")


def refuse_equal_names(raw: Path, pictures: Sequence[Picture]) -> None:
    """Refuse two pictures of one name: predictions and panels would be one file.

    Raises:
        SgcpError: naming both, in whatever folders and splits they lie.
    """
    first: dict[str, Path] = {}
    for picture in pictures:
        other = first.setdefault(picture.image.stem, picture.image)
        if other != picture.image:
            raise SgcpError(
                f"{raw / picture.image} and {raw / other}: have one name; a picture is known by "
                "its name without folder and ending, in all splits: rename one and its label"
            )


def refuse_empty(raw: Path, pictures: Sequence[Picture], allow_missing: bool) -> None:
    """Refuse a dataset without pictures to learn from or to choose the best epoch by.

    Raises:
        SgcpError: naming the folder that is empty.
    """
    found = {picture.split for picture in pictures}
    empty = [raw / IMAGES / split for split in LEARNED if split not in found]
    if not pictures or (empty and not allow_missing):
        raise SgcpError(
            f"{empty[0]}: holds no picture with a label; give train and val some each (of one "
            "drive or day all to the same), or go on without: `sgcp prepare own --allow-missing`"
        )


def convert_picture(
    picture: Picture, raw: Path, out: Path, table: ClassTable
) -> tuple[Item, frozenset[int]]:
    """Write one picture's label map; return its row of the index and the train ids it holds.

    Raises:
        SgcpError: a file is damaged, the two differ in size, or a value is not listed.
    """
    image = read_image(raw / picture.image)
    height, width = image.shape[:2]
    sequence = "/".join(picture.image.parts[2:-1])
    digest = digest_pixels(image)
    item = Item(picture.split, picture.image, sequence, height, width, digest)
    if picture.label is None:
        return item, frozenset()
    # Digested before it is read: a change in between must not go by unnoticed.
    source_digest = digest_file(raw / picture.label)
    label = table.read(raw / picture.label)
    if label.shape != (height, width):
        raise SgcpError(
            f"{raw / picture.label}: {label.shape} differs from its image {(height, width)} "
            "(height, width); a label has a value for each pixel of its own picture"
        )
    if not (out / picture.label).is_file():
        write_png(out / picture.label, label)
    found = frozenset(np.unique(label).tolist())
    item = replace(
        item,
        label=picture.label,
        label_digest=digest_pixels(label),
        source=picture.label,
        source_digest=source_digest,
    )
    return item, found


def prepare_own(raw: Path, out: Path, allow_missing: bool, workers: int | str) -> Dataset:
    """Convert every labelled picture into ``out/labels``.

    Raises:
        SgcpError: ``classes.csv``, a picture or a label is not as docs/own-dataset.md says.
    """
    sources = {CLASSES: digest_file(raw / CLASSES)}
    table = read_classes(raw / CLASSES)
    pictures = find_pictures(raw, allow_missing)
    convert = partial(convert_picture, raw=raw, out=out, table=table)
    converted = map_parallel(convert, pictures, workers, "labels")
    seen = frozenset[int]().union(*(found for item, found in converted if item.split == "train"))
    unseen = [item.name for item in table.classes if item.train_id not in seen]
    if unseen:
        warn(f"note: no label of train holds {', '.join(unseen)}: nothing can be learnt of that")
    items = tuple(item for item, _ in converted)
    return Dataset("own", "folder", table.protocol, table.classes, items, sources)
