"""CamVid's frames, of any edition, to 11-class label maps."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.parallel import map_parallel
from sgcp.datasets.camvid_labels import color_table, convert_colors, convert_indices
from sgcp.datasets.classes import camvid_classes
from sgcp.datasets.index import SPLITS, Dataset, Item, digest_file, digest_pixels
from sgcp.datasets.keys import CAMVID_FRAME as STEM
from sgcp.datasets.missing import check_counts, pair_files
from sgcp.media.images import read_image, read_label, write_png

COLOR_LISTS = ("label_colors.txt", "class_dict.csv")  # as Cambridge and Kaggle publish them


@dataclass(frozen=True)
class Edition:
    """Where an edition keeps its files, below the raw folder; ``{split}`` stands for the split."""

    images: str
    """Folder of ``FRAME.png``."""
    labels: str
    """Folder of the label maps."""
    suffix: str
    """Of a label map's name, after the frame's."""
    parts: tuple[str, ...]
    """Patterns of the folders that no other edition has; each must exist."""
    colors: str | None = None
    """The list of the 32 colours in the label maps; None: they hold 11 classes."""

    def __str__(self) -> str:
        """Name the files that it consists of."""
        files = f"{self.images}/FRAME.png and {self.labels}/FRAME{self.suffix}.png"
        return files.format(split="SPLIT")


EDITIONS = {
    "segnet": Edition("CamVid/{split}", "CamVid/{split}annot", "", ("CamVid/*annot",)),
    "cambridge": Edition(
        "701_StillsRaw_full", "LabeledApproved_full", "_L",
        ("701_StillsRaw_full", "LabeledApproved_full"), COLOR_LISTS[0],
    ),
    "kaggle": Edition(
        "CamVid/{split}", "CamVid/{split}_labels", "_L", ("CamVid/*_labels",), COLOR_LISTS[1]
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One frame of any edition; paths lie below the raw folder."""

    split: str
    stem: str
    image: Path
    label: Path | None


def raw_path(name: str) -> Path | None:
    """Return where a member of a CamVid archive or folder belongs below ``data/raw/camvid``.

    None if the project has no use for it, such as the SegNet repository's other images.
    """
    if match := re.search(rf"(?:^|/)((?:train|val|test)(?:annot)?)/({STEM}\.png)\Z", name):
        return Path("CamVid", match[1], match[2])
    if match := re.search(rf"(?:^|/)((?:train|val|test)_labels)/({STEM}_L\.png)\Z", name):
        return Path("CamVid", match[1], match[2])
    if match := re.search(rf"(?:^|/)({STEM}_L\.png)\Z", name):
        return Path("LabeledApproved_full", match[1])
    labels = re.search(r"(?:label|annot|mask)[^/]*/[^/]*\Z", name, re.IGNORECASE)
    if not labels and (match := re.search(rf"(?:^|/)({STEM}\.png)\Z", name)):
        return Path("701_StillsRaw_full", match[1])
    name = name.rpartition("/")[2]
    return Path(name) if name in COLOR_LISTS else None


def detect_edition(raw: Path) -> str:
    """Tell the editions apart by the folders that only one of them has.

    Raises:
        SgcpError: none, several, or one that lacks a folder or its list of colours.
    """
    found = {
        name: paths[0].relative_to(raw)
        for name, edition in EDITIONS.items()
        if (paths := sorted(path for part in edition.parts for path in raw.glob(part)))
    }
    if len(found) > 1:
        mixed = " and ".join(f"{name} ({path})" for name, path in found.items())
        raise SgcpError(f"{raw}: several editions of CamVid are mixed: {mixed}. Give one of them")
    if not found and (raw / "CamVid").is_dir():
        return "segnet"  # frames alone, which both folders of splits have: pair_files refuses them
    if not found:
        raise SgcpError(f"{raw}: holds no CamVid; run `sgcp download camvid` first")
    name = next(iter(found))
    missing = [part for part in EDITIONS[name].parts if not any(raw.glob(part))]
    if (colors := EDITIONS[name].colors) and find_colors(raw) is None:
        missing.append(colors)
    if missing:
        raise SgcpError(
            f"{raw}: the {name} edition lacks {', '.join(missing)}. Give all its parts together: "
            "`sgcp download camvid --archive ...`"
        )
    return name


def find_colors(raw: Path) -> Path | None:
    """Return the list of colours that the raw folder has."""
    return next((raw / name for name in COLOR_LISTS if (raw / name).is_file()), None)


def split_by_folders(raw: Path) -> dict[str, list[str]]:
    """Return the frames of each split of the kaggle edition: those in its folders.

    Raises:
        SgcpError: a frame is in two splits.
    """
    edition, splits = EDITIONS["kaggle"], {}
    home: dict[str, str] = {}
    for split in SPLITS:
        images = (raw / edition.images.format(split=split)).glob("*.png")
        labels = (raw / edition.labels.format(split=split)).glob("*.png")
        stems = {path.stem.removesuffix(edition.suffix) for path in (*images, *labels)}
        splits[split] = sorted(stems)
        for stem in splits[split]:
            if home.setdefault(stem, split) != split:
                raise SgcpError(
                    f"{raw}: frame {stem} is in both {home[stem]} and {split}. Remove it from one: "
                    "an image that is trained on must not be scored"
                )
    return splits


def find_frames(
    raw: Path, edition: Edition, splits: Mapping[str, Sequence[str]], allow_missing: bool
) -> list[Frame]:
    """List the frames of the splits that the raw folder has, with their labels.

    The test split may come without its labels; training and validation may not.

    Raises:
        SgcpError: as ``pair_files``.
    """
    frames: list[Frame] = []
    wanted: dict[Path, Path] = {}
    labels: list[Path] = []
    for split, stems in splits.items():
        images, annotations = (
            Path(folder.format(split=split)) for folder in (edition.images, edition.labels)
        )
        places = {stem: annotations / f"{stem}{edition.suffix}.png" for stem in stems}
        found = [label for label in places.values() if (raw / label).is_file()]
        here = [
            Frame(split, stem, image, label if found or split != "test" else None)
            for stem, label in places.items()
            if (raw / (image := images / f"{stem}.png")).is_file()
        ]
        frames += here
        wanted |= {frame.image: frame.label for frame in here if frame.label}
        labels += found
    pairs = pair_files("camvid", raw, wanted, labels, allow_missing, str(edition))
    return [frame for frame in frames if frame.label is None or frame.image in pairs]


def convert_frame(frame: Frame, raw: Path, out: Path, protocol: str, colors: Path | None) -> Item:
    """Write one frame's label map and return its row of the index.

    Args:
        colors: the list of the colours in its label; None: it holds the 11 classes.

    Raises:
        SgcpError: image and label differ in size, or the label has an unlisted value.
    """
    image = read_image(raw / frame.image)
    height, width = image.shape[:2]
    sequence = frame.stem.split("_")[0]
    item = Item(frame.split, frame.image, sequence, height, width, digest_pixels(image))
    if frame.label is None:
        return item
    source = raw / frame.label
    # Digested before it is read: a change in between must not go by unnoticed.
    source_digest = digest_file(source)
    if colors is None:
        label = convert_indices(read_label(source), source)
    else:
        label = convert_colors(read_image(source), color_table(colors, protocol), source)
    if label.shape != (height, width):
        raise SgcpError(
            f"{source}: {label.shape} differs from its image {(height, width)} "
            "(height, width); the archives do not belong together"
        )
    target = Path("labels", frame.split, f"{frame.stem}.png")
    if not (out / target).is_file():
        write_png(out / target, label)
    return replace(
        item,
        label=target,
        label_digest=digest_pixels(label),
        source=frame.label,
        source_digest=source_digest,
    )


def prepare_camvid(
    raw: Path,
    out: Path,
    splits: Mapping[str, Sequence[str]],
    protocol: str,
    allow_missing: bool,
    workers: int | str,
) -> Dataset:
    """Convert every frame into ``out/labels``.

    Args:
        splits: the published splits. The kaggle edition has its own, its folders; the published
            ones tell whether it is complete.

    Raises:
        SgcpError: the edition, a frame or a label is not as published; or frames or labels are
            missing and ``allow_missing`` is off.
    """
    name = detect_edition(raw)
    edition = EDITIONS[name]
    if edition.colors is None and protocol != "grouped":
        raise SgcpError(
            f"camvid.prepare.protocol: '{protocol}' needs the cambridge edition; the segnet "
            "edition's labels are grouped already: set 'grouped'"
        )
    chosen = split_by_folders(raw) if name == "kaggle" else splits
    frames = find_frames(raw, edition, chosen, allow_missing)
    groups = splits if name != "kaggle" else {"published": list(chain(*splits.values()))}
    stems = {frame.stem for frame in frames}
    check_counts(
        "camvid",
        {group: len(stems.intersection(published)) for group, published in groups.items()},
        {group: len(published) for group, published in groups.items()},
        allow_missing,
    )
    colors = find_colors(raw) if edition.colors else None
    sources = {colors.relative_to(raw).as_posix(): digest_file(colors)} if colors else {}
    convert = partial(convert_frame, raw=raw, out=out, protocol=protocol, colors=colors)
    items = map_parallel(convert, frames, workers, "labels")
    return Dataset("camvid", name, protocol, camvid_classes(), tuple(items), sources)
