"""CamVid: where its files belong, and its frames, of any edition, to 11-class label maps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_text
from sgcp.core.parallel import map_parallel
from sgcp.datasets.classes import IGNORE, ClassTable, camvid_classes, color_code
from sgcp.datasets.foreign_layouts import OTHER_IMAGES, OTHER_LABELS, SPLIT, explain_layout
from sgcp.datasets.index import CAMVID_FRAME, SPLITS, Dataset, digest_file
from sgcp.datasets.preparing import RawImage, check_counts, convert_image, pair_files
from sgcp.datasets.raw import OnlyOnce
from sgcp.datasets.source import DatasetSource, Inputs

COLOR_LISTS = ("label_colors.txt", "class_dict.csv")  # as Cambridge and Kaggle publish them
MAX_COLORS, MAX_SPLIT = 2**16, 2**20  # bytes of a list of 32 colours, and of stems
HEADINGS = ["name", "r", "g", "b"]  # of class_dict.csv
# The SegNet edition's label maps: train ids, and 11 for void.
SEGNET_TABLE = ClassTable(
    camvid_classes(), (*((i, i) for i in range(11)), (11, IGNORE), (IGNORE, IGNORE)),
    colored=False, source="the segnet edition",
)  # fmt: skip

# Which of the 32 source classes become which of the 11; every class not named is ignored.
# ``grouped`` is SegNet's merge. On 100 frames that both editions have, the share of a class's
# pixels with SegNet's grouped label is: LaneMkgsDriv .995, TrafficLight .969, Misc_Text .965,
# Truck_Bus .964, Wall .960, VegetationMisc .943. The others are not in these frames and follow
# convention.
STRICT = {
    "Sky": "Sky", "Building": "Building", "Column_Pole": "Pole", "Road": "Road",
    "Sidewalk": "Pavement", "Tree": "Tree", "SignSymbol": "SignSymbol", "Fence": "Fence",
    "Car": "Car", "Pedestrian": "Pedestrian", "Bicyclist": "Bicyclist",
}  # fmt: skip
GROUPED = STRICT | {
    "Bridge": "Building", "Tunnel": "Building", "Wall": "Building", "LaneMkgsDriv": "Road",
    "LaneMkgsNonDriv": "Road", "ParkingBlock": "Pavement", "RoadShoulder": "Pavement",
    "VegetationMisc": "Tree", "Misc_Text": "SignSymbol", "TrafficLight": "SignSymbol",
    "SUVPickupTruck": "Car", "Truck_Bus": "Car",
}  # fmt: skip
PROTOCOLS: Mapping[str, Mapping[str, str]] = {"strict": STRICT, "grouped": GROUPED}


@dataclass(frozen=True)
class Edition:
    """Folders of an edition's images and label maps, with ``{split}`` where they have splits."""

    images: str
    labels: str
    suffix: str
    """Of a label map's name, after the frame's."""
    parts: tuple[str, ...]
    """Patterns of the folders that no other edition has; each must exist."""
    colors: str | None = None
    """The list of the 32 colours in the label maps; None: they contain 11 classes."""

    def color_list(self, raw: Path) -> Path | None:
        """Return the list of colours: the edition's own, else the other's, which says the same."""
        paths = [raw / name for name in (self.colors, *COLOR_LISTS) if name and self.colors]
        return next((path for path in paths if path.is_file()), None)


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


def raw_path(name: str) -> Path | None:
    """Return where a member of an archive or folder belongs below the raw folder; None: unused."""
    folder, _, file = name.rpartition("/")
    folder = folder.rpartition("/")[2]
    if file in COLOR_LISTS:
        return Path(file)
    if not (match := re.fullmatch(rf"{CAMVID_FRAME}(_L)?\.png", file)):
        return None
    if re.fullmatch(r"(?:train|val|test)" + ("_labels" if match[1] else "(?:annot)?"), folder):
        return Path("CamVid", folder, file)
    if match[1]:
        return Path("LabeledApproved_full", file)
    others = re.search(r"label|annot|mask", folder, re.IGNORECASE)
    return None if others else Path("701_StillsRaw_full", file)


def detect_edition(raw: Path) -> str:
    """Return the edition, by the folders that only it has; refuse one that lacks a part."""
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
        raise SgcpError(f"{raw}: contains no CamVid data; run `sgcp download camvid` first")
    name = next(iter(found))
    edition = EDITIONS[name]
    missing = [part for part in edition.parts if not any(raw.glob(part))]
    if edition.colors and not edition.color_list(raw):
        missing.append(edition.colors)
    if missing:
        raise SgcpError(
            f"{raw}: the {name} edition lacks {', '.join(missing)}. Give all its parts together: "
            "`sgcp download camvid --archive ...`"
        )
    return name


def _split_by_folders(raw: Path) -> dict[str, list[str]]:
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


def _find_frames(
    raw: Path, edition: Edition, splits: Mapping[str, Sequence[str]], allow_missing: bool
) -> list[RawImage]:
    """List the frames of the splits that exist, with their labels, which test alone may lack."""
    frames: list[RawImage] = []
    labels: list[Path] = []
    for split, stems in splits.items():
        images, annotations = (
            Path(folder.format(split=split)) for folder in (edition.images, edition.labels)
        )
        places = {images / f"{s}.png": annotations / f"{s}{edition.suffix}.png" for s in stems}
        found = [label for label in places.values() if (raw / label).is_file()]
        labels += found
        needed = found or split != "test"
        frames += [
            RawImage(split, image, label if needed else None, image.stem.split("_")[0])
            for image, label in places.items()
            if (raw / image).is_file()
        ]
    expected = f"{edition.images}/FRAME.png and {edition.labels}/FRAME{edition.suffix}.png"
    layout = expected.format(split="SPLIT")
    return pair_files("camvid", raw, frames, labels, allow_missing, layout)


def _prepare(inputs: Inputs, out: Path, settings: Any, workers: int | str) -> Dataset:
    raw, protocol, allow_missing = inputs.raw, settings.protocol, settings.allow_missing
    splits = {split: _read_split(inputs.splits / f"{split}.txt") for split in SPLITS}
    name = detect_edition(raw)
    edition = EDITIONS[name]
    if edition.colors is None and protocol != "grouped":
        raise SgcpError(
            f"camvid.prepare.protocol: '{protocol}' needs the cambridge edition; the segnet "
            "edition's labels are grouped already: set 'grouped'"
        )
    # Kaggle's edition has splits of its own; the published ones tell whether it is complete.
    chosen = _split_by_folders(raw) if name == "kaggle" else splits
    frames = _find_frames(raw, edition, chosen, allow_missing)
    groups = splits if name != "kaggle" else {"published": list(chain(*splits.values()))}
    stems = {frame.image.stem for frame in frames}
    counts = {group: (len(stems.intersection(part)), len(part)) for group, part in groups.items()}
    check_counts("camvid", counts, allow_missing)
    colors = edition.color_list(raw)
    sources = {colors.name: digest_file(colors)} if colors else {}
    table = color_table(colors, protocol) if colors else SEGNET_TABLE
    convert = partial(convert_image, read=table.read, raw=raw, out=out)
    items = tuple(item for item, _ in map_parallel(convert, frames, workers, "labels"))
    return Dataset("camvid", name, protocol, camvid_classes(), items, sources)


def _read_split(path: Path) -> list[str]:
    try:
        stems = read_text(path, MAX_SPLIT).split()
    except (FileNotFoundError, ValueError) as error:
        raise SgcpError(f"{path}: no list of images ({error}); it comes with the project") from None
    if not stems:
        raise SgcpError(f"{path}: an empty split")
    if odd := [stem for stem in stems if not re.fullmatch(r"\w[\w.-]*", stem)]:
        raise SgcpError(f"{path}: {odd[0][:80]!r} is not the name of an image")
    if len(set(stems)) < len(stems):
        raise SgcpError(f"{path}: an image is listed twice")
    return stems


def read_colors(path: Path) -> dict[str, tuple[int, int, int]]:
    """Read a list of colours: lines ``R G B<tabs>Name``; in a CSV ``Name,R,G,B`` below headings."""
    colors: dict[str, tuple[int, int, int]] = {}
    if not path.is_file() or path.stat().st_size > MAX_COLORS:
        raise SgcpError(f"{path}: not a list of colours; get it again")
    form = "Name,R,G,B" if path.suffix == ".csv" else "R G B Name"
    # A byte that is not UTF-8 appears in the message about its line.
    text = path.read_text(encoding="utf-8-sig", errors="backslashreplace")
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.replace(",", " ").split()
        if not cells or (number == 1 and cells == HEADINGS):
            continue
        name, *parts = cells if path.suffix == ".csv" else [cells[-1], *cells[:-1]]
        valid = len(parts) == 3 and all(re.fullmatch(r"[0-9]{1,3}", part) for part in parts)
        if not valid or max(map(int, parts)) > 255 or not re.fullmatch(r"\w+", name):
            raise SgcpError(f"{path}, line {number}: expected '{form}', got {line[:80]!r}")
        red, green, blue = map(int, parts)
        color = (red, green, blue)
        if name in colors or color in colors.values():
            raise SgcpError(f"{path}, line {number}: {name} {color} is listed twice")
        colors[name] = color
    return colors


def color_table(path: Path, protocol: str) -> ClassTable:
    """Return the train id of each colour of a list."""
    colors, target = read_colors(path), PROTOCOLS[protocol]
    if absent := sorted(target.keys() - colors.keys()):
        raise SgcpError(f"{path}: lacks {', '.join(absent)}, which the protocol needs")
    ids = {item.name: item.train_id for item in camvid_classes()}
    pairs = ((color_code(*c), ids.get(target.get(name, ""), IGNORE)) for name, c in colors.items())
    return ClassTable(camvid_classes(), tuple(pairs), colored=True, source=path.name)


LAYOUTS = (
    ("CamVid as fast.ai publishes it", rf"labels/{CAMVID_FRAME}_P\.png",
     "Its label maps contain the 32 classes by number: use the colours of "
     "LabeledApproved_full.zip, with label_colors.txt"),
    ("frames in another format", rf"{CAMVID_FRAME}(?:_L)?\.(?:jpe?g|webp|bmp|tiff?|gif)",
     "Frames and label maps are PNG files: get them again, since JPEG changes the colours of "
     "label maps"),
    ("label maps with other names", rf"[^/]*{OTHER_LABELS}[^/]*/[^/]*{CAMVID_FRAME}[^/]*\.png",
     "The cambridge and kaggle editions call them FRAME_L.png; the segnet edition has FRAME.png "
     "in trainannot, valannot and testannot"),
    ("archives that are not unpacked",
     r"[^/]*(?:701_StillsRaw|LabeledApproved|SegNet|camvid)[^/]*\.zip",
     "Give them by `--archive FILE...`, or unpack them"),
    ("images that are not CamVid's frames",
     rf"(?:{SPLIT}/.+|{OTHER_IMAGES}/.+)\.(?:png|jpe?g)",
     "Its frames have names such as 0016E5_07959.png; other images make a dataset of your own "
     "(docs/custom-dataset.md)"),
)  # fmt: skip


def check_source(raw: Path, place: OnlyOnce, edition: str) -> None:
    """Refuse a source that is not of this edition."""
    if not place.taken:
        found = explain_layout(LAYOUTS, place.skipped)
        raise SgcpError(f"camvid: the source has no file of this dataset: {found}")
    found, problem = "", ""
    try:
        found = detect_edition(raw)
        if not any(any(raw.glob(part)) for part in EDITIONS[found].parts):
            problem = f"{raw}: its frames have no label maps"
    except SgcpError as error:
        problem = str(error)
    if problem and place.skipped:
        raise SgcpError(f"{problem}. Besides, {explain_layout(LAYOUTS, place.skipped)}")
    if not found:
        raise SgcpError(problem)
    if found != edition:
        raise SgcpError(
            f"camvid.download.edition: '{edition}' in params.yaml, but the source has the "
            f"'{found}' edition; set it to '{found}'"
        )


def _check_file(path: Path) -> str:
    try:
        return "" if path.suffix != ".txt" or read_colors(path) else "an empty list of colours"
    except SgcpError as error:
        return str(error)


SOURCE = DatasetSource(_prepare, raw_path, check_source, check_file=_check_file, layouts=LAYOUTS)
