"""``index.csv`` and ``dataset.json``: the images of a prepared dataset, and what names them."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.files import file_sha256, json_digest, read_json, write_json, write_text
from sgcp.datasets.classes import SemanticClass, classes_from_json, classes_to_json
from sgcp.media.images import UInt8

if TYPE_CHECKING:
    from sgcp.settings import TrainSettings

Thing = TypeVar("Thing")

COLUMNS = (
    "split", "image", "label", "segments", "sequence", "height", "width", "image_digest",
    "label_digest", "segments_digest", "source", "source_digest",
)  # fmt: skip
SPLITS = ("train", "val", "test")
HOLDOUT = "holdout"  # `holdout:DRIVE`: the split of a drive's images in train and val
DRIVES_SHOWN = 30  # of one message
DIGEST_LENGTH = 32  # hexadecimal digits, 128 bits: enough to tell any two images apart
CITYSCAPES = "leftImg8bit"  # the folder of Cityscapes' images, and the end of their names
# Recording and frame of CamVid: one published name for each frame, in every edition and split.
CAMVID_FRAME = r"(?:0001TP|0006R0|0016E5|Seq05VD)_f?\d+"


@dataclass(frozen=True)
class Located:
    """An image of a split, by its place."""

    split: str
    image: Path
    """Below the raw folder."""

    @property
    def key(self) -> str:
        """Identify the image within its split: its path below the split's folder, without ending.

        Such as ``berlin/berlin_000000_000019`` or ``0001TP_006690`` (CamVid); in Unicode's composed
        form (NFC), since some disks decompose names.
        """
        parts = self.image.with_suffix("").parts
        below = parts[2:] if self.split in parts[1:2] else ()
        key = unicodedata.normalize("NFC", "/".join(below or parts[1:] or parts))
        return key.removesuffix(f"_{CITYSCAPES}") if parts[0] == CITYSCAPES else key

    @property
    def prediction(self) -> str:
        """Name the image's prediction, without ending: the key, in Cityscapes' form its last part.

        Cityscapes' evaluator looks for ``<city>_<seq>_<frame>*.png`` in any folder.
        """
        return PurePosixPath(self.key).name if self.image.parts[0] == CITYSCAPES else self.key

    @property
    def origin(self) -> str:
        """Name it among images trained on: by split and key, CamVid's by its published name."""
        frame = self.image.stem
        return frame if re.fullmatch(CAMVID_FRAME, frame) else f"{self.split}/{self.key}"


@dataclass(frozen=True)
class Item(Located):
    """One image of a split, prepared; ``split`` and ``key`` identify it.

    Digests of images and label maps are ``digest_pixels``, the others ``digest_file``.
    """

    sequence: str
    """City (Cityscapes), recording (CamVid) or folder (custom)."""
    height: int
    width: int
    image_digest: str
    """Its identity under any name."""
    label: Path | None = None
    """Below the prepared folder; None where no labels are published."""
    segments: Path | None = None
    """Map of objects and classes, below the prepared folder; None where no objects are known."""
    label_digest: str = ""
    segments_digest: str = ""
    source: Path | None = None
    """The file that the label map was made from, below the raw folder."""
    source_digest: str = ""

    @property
    def drive(self) -> str:
        """Name what ``train.holdout`` holds out: the first part of ``sequence``."""
        return self.sequence.partition("/")[0]


def find_collisions(images: Iterable[Located]) -> list[tuple[Located, Located]]:
    """Return pairs of one split whose predictions would be one file where letter case is lost."""
    first: dict[tuple[str, str], Located] = {}
    seen = ((first.setdefault((i.split, i.prediction.lower()), i), i) for i in images)
    return [(one, other) for one, other in seen if one is not other]


def refuse_collisions(images: Iterable[Located], folder: Path) -> None:
    """Refuse images below ``folder`` of which two of one split would have one prediction."""
    if not (pairs := find_collisions(images)):
        return
    one, other = pairs[0]
    if one.prediction == one.key:
        why, fix = "names that differ in their ending or letter case alone", "Rename one"
    else:
        why = "in Cityscapes' form a prediction is found by its image's name, in any folder"
        fix = f"Rename one, for example to {other.image.parent.name}_{other.image.name}"
    more = f" ({len(pairs) - 1} more images like this)" if len(pairs) > 1 else ""
    raise SgcpError(
        f"{folder / one.image} and {folder / other.image}: two images of '{one.split}' share "
        f"the prediction {one.prediction}.png: {why}{more}. {fix}, and its label."
    )


def train_only(dataset: str) -> str:
    """Return how to train on a dataset with a train split only."""
    return (
        "To train without validation, set in params.yaml validate_split: null and keep: last in "
        f"the recipe ({dataset}.train.RECIPE), and {dataset}.prepare.allow_missing: true, then run "
        f"`sgcp prepare {dataset}` and `sgcp train {dataset}`; to score the model, `validate` "
        "needs a split that it was not trained on"
    )


def score_needs(dataset: str) -> str:
    """Return how to score a model where every split was trained on."""
    return (
        "A score needs labelled images that the model was not trained on. Add some to your data as "
        f"split val, then run `sgcp download {dataset}` and `sgcp prepare {dataset}`; train again "
        "if they were moved from train"
    )


def digest_pixels(pixels: UInt8) -> str:
    """Digest an image's size and pixels; another file of the same pixels has the same digest."""
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()[:DIGEST_LENGTH]


def digest_file(path: Path) -> str:
    """Digest a file's bytes."""
    try:
        return file_sha256(path)[:DIGEST_LENGTH]
    except OSError as error:
        raise SgcpError(f"{path}: cannot be read ({error.strerror}); get it again") from None


def fingerprint_items(items: Sequence[Item]) -> str:
    """Digest a split: its keys, pixels and labels, in any order."""
    rows = sorted(f"{item.key} {item.image_digest} {item.label_digest}" for item in items)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:DIGEST_LENGTH]


def fingerprint_order(items: Sequence[Item]) -> str:
    """Digest images with their splits, in their order: what an index means to a run."""
    rows = [f"{item.split} {item.key} {item.image_digest} {item.label_digest}" for item in items]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset: its classes, its provenance, its images."""

    name: str
    edition: str
    protocol: str
    """How source labels became classes; stamped into every metrics file."""
    classes: tuple[SemanticClass, ...]
    items: tuple[Item, ...]
    sources: Mapping[str, str] = field(default_factory=dict)
    """``digest_file`` of each raw file that all label maps depend on, such as ``classes.csv``."""
    void_ids: frozenset[int] = frozenset()
    """Label ids that ``classes.csv`` lists as ignored; a prediction may contain them too."""

    def split(self, name: str, labelled: bool = True, instead: str = "") -> list[Item]:
        """Return one split, in the order of the index.

        ``trainval`` is train and val together, ``holdout:DRIVE`` the images of one drive among
        these. An SgcpError names a split that is empty, then with what to do ``instead``, or lacks
        labels that are asked for.
        """
        kind, _, drive = name.partition(":")
        parts = ("train", "val") if kind in ("trainval", HOLDOUT) else (name,)
        items = [item for item in self.items if item.split in parts]
        if not items:
            counts = Counter(item.split for item in self.items)
            prepared = ", ".join(f"{counts[split]} {split}" for split in SPLITS)
            raise SgcpError(
                f"{self.name}: split '{name}' is empty: of {prepared} images prepared. "
                + (instead or "Choose another split in params.yaml")
            )
        if kind == HOLDOUT:
            _refuse_unknown_drive(self.name, items, drive)
            items = [item for item in items if item.drive == drive]
        if labelled and any(item.label is None for item in items):
            raise SgcpError(
                f"{self.name}: split '{name}' has images without labels, so it cannot be "
                "trained on or scored; choose another split in params.yaml"
            )
        return items

    def provenance(self) -> dict[str, Any]:
        """Return what identifies the data behind a number."""
        return {
            "dataset": self.name,
            "edition": self.edition,
            "protocol": self.protocol,
            "class_order": [item.name for item in self.classes],
        }


def _refuse_unknown_drive(dataset: str, items: Sequence[Item], drive: str) -> None:
    """Refuse a drive without images, and one that has all of them."""
    counts = Counter(item.drive for item in items)
    named = [f"{name} ({count} images)" for name, count in sorted(counts.items()) if name]
    if len(counts) == 1:
        raise SgcpError(
            f"{dataset}: train and val are {named[0] if named else 'in no folders'}, so no drive "
            "can be held out. Put the images of each drive, with their label maps, into a folder: "
            "train/DRIVE/NAME"
        )
    if drive not in counts or not drive:
        raise SgcpError(
            f"{dataset}: train and val have no drive '{drive}'. Choose one of "
            f"{shorten(named, DRIVES_SHOWN)}"
        )


def learned_items(dataset: Dataset, settings: TrainSettings) -> list[Item]:
    """Return the images to learn from: ``split``, without the drive that is held out."""
    return [item for item in dataset.split(settings.split) if item.drive != settings.holdout]


def scored_split(settings: TrainSettings) -> str | None:
    """Return the split that training scores; None: it scores none."""
    held = settings.holdout
    return settings.validate_split if held is None else f"{HOLDOUT}:{held}"


def name_items(items: Sequence[Item]) -> dict[str, Item]:
    """Return images by key; by split and key where two splits share a key."""
    by_key = {item.key: item for item in items}
    if len(by_key) == len(items):
        return by_key
    return {f"{item.split}/{item.key}": item for item in items}


def write_dataset(folder: Path, dataset: Dataset) -> None:
    """Write ``index.csv`` and ``dataset.json`` into a prepared folder."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for item in dataset.items:
        values = (getattr(item, column) for column in COLUMNS)
        table.writerow(v.as_posix() if isinstance(v, Path) else v for v in values)
    write_text(folder / "index.csv", text.getvalue())
    splits = {s: [item for item in dataset.items if item.split == s] for s in SPLITS}
    content = {
        "dataset": dataset.name,
        "edition": dataset.edition,
        "protocol": dataset.protocol,
        "splits": {
            split: {
                "images": len(items),
                "labels": sum(bool(item.label) for item in items),
                "fingerprint": fingerprint_items(items),
            }
            for split, items in splits.items()
        },
        "classes": classes_to_json(dataset.classes),
        "sources": dict(dataset.sources),
        "void_ids": sorted(dataset.void_ids),
    }
    write_json(folder / "dataset.json", content)


def read_dataset(folder: Path) -> Dataset:
    """Read a prepared folder; raise SgcpError if it is not prepared yet, or damaged."""
    command = f"sgcp prepare {folder.name}"
    content = read_json(folder / "dataset.json", made_by=command)
    try:
        with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file, strict=True)
            columns = tuple(next(rows, ()))
            items = tuple(map(_item_from_row, rows)) if columns == COLUMNS else ()
        if not items:
            raise ValueError(f"index.csv: expected the columns {', '.join(COLUMNS)} and rows")
        if pairs := find_collisions(items):
            names = " and ".join(str(item.image) for item in pairs[0])
            raise ValueError(f"index.csv: {names} have one name")
        return Dataset(
            name=str(content["dataset"]),
            edition=str(content["edition"]),
            protocol=str(content["protocol"]),
            classes=classes_from_json(content["classes"]),
            items=items,
            sources={str(_inside(name)): str(d) for name, d in content["sources"].items()},
            void_ids=frozenset(map(int, content["void_ids"])),
        )
    except (OSError, KeyError, ValueError, TypeError, OverflowError, csv.Error) as error:
        raise SgcpError(f"{folder}: damaged ({error}); run `{command}` again") from None


def _item_from_row(values: list[str]) -> Item:
    row: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
    for column in ("image", "label", "segments", "source"):
        row[column] = _inside(row[column]) if row[column] else None
    for column in ("height", "width"):
        row[column] = int(row[column])
    if row["split"] not in SPLITS or row["image"] is None or min(row["height"], row["width"]) < 1:
        raise ValueError(f"index.csv: {','.join(values)[:120]}")
    return Item(**row)


def _inside(name: str) -> Path:
    path = Path(name)
    if path.is_absolute() or not path.name or ".." in path.parts or "\0" in name:
        raise ValueError(f"index.csv or dataset.json: {name} is not a file of the folder")
    return path


def spread(things: Sequence[Thing], count: int) -> list[Thing]:
    """Return up to ``count`` of the things, evenly spread from the first to the last."""
    places = np.linspace(0, len(things) - 1, min(count, len(things))).astype(int)
    return [things[place] for place in places]


def trained_digests(
    items: Sequence[Item], before: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return the digest of each image by its origin, added to those trained on ``before``.

    Images of other datasets may have the same name: the digests of both are kept.
    """
    return merge_digests(before, ((item.origin, item.image_digest) for item in items))


def merge_digests(before: Mapping[str, str], others: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return all digests by name; of a name with two of them, both."""
    digests = dict(before)
    for name, digest in others:
        known = digests.get(name, digest) == digest
        digests[name if known else f"{name} ({digest})"] = digest
    return digests


def summarize_digests(trained: Mapping[str, str]) -> dict[str, Any]:
    """Return what tells the images that a model was trained on from others, without a list."""
    return {"images": len(trained), "fingerprint": json_digest(dict(trained))}


def find_trained(summary: Mapping[str, Any], dataset: Dataset) -> dict[str, str] | None:
    """Return the digests of which ``summary`` is the summary; None: not those of whole splits."""
    for count in range(len(SPLITS) + 1):
        for names in combinations(SPLITS, count):
            trained = trained_digests([item for item in dataset.items if item.split in names])
            if summarize_digests(trained) == summary:
                return trained
    return None


def trained_among(trained: Mapping[str, str], evaluated: Sequence[Item]) -> list[Item]:
    """Return the images that were trained on, by name or by content."""
    digests = {*trained.values()}
    return [
        item
        for item in evaluated
        if item.image_digest in digests or item.origin in trained or item.image.stem in trained
    ]


def refuse_overlap(
    trained: Mapping[str, str],
    evaluated: Sequence[Item],
    advice: str = "Choose another split in params.yaml",
) -> None:
    """Refuse to score images that were trained on, by name or by content, and name one.

    ``trained`` is as ``trained_digests`` returns; older models list an image by its file's stem.
    """
    if shared := trained_among(trained, evaluated):
        one, seen = shared[0], {digest: name for name, digest in trained.items()}
        name = one.origin
        if (same := seen.get(one.image_digest)) is None:
            name += ", by its name alone; rename it if it is another image"
        elif same != name:
            name += f", the same pixels as {same}"
        raise SgcpError(
            f"{len(shared)} of {len(evaluated)} images to score were trained on (such as "
            f"{name}): the score would be meaningless. {advice}"
        )
