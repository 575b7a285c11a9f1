"""CamVid, both editions and both protocols, to 11-class label maps."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from sgcp.datasets.classes import IGNORE, camvid_classes
from sgcp.datasets.images import UInt8, read_image, read_label, read_size, write_png
from sgcp.datasets.index import Dataset, Item, check_counts
from sgcp.errors import SgcpError
from sgcp.progress import map_parallel

SEGNET_VOID = 11  # the SegNet edition's twelfth index
UNLISTED = 254  # marks a colour or id that no table names

# Which of the 32 source classes become which of the 11 (DESIGN, section 4, with the measured
# shares); every class not named is ignored.
STRICT = {
    "Sky": "Sky",
    "Building": "Building",
    "Column_Pole": "Pole",
    "Road": "Road",
    "Sidewalk": "Pavement",
    "Tree": "Tree",
    "SignSymbol": "SignSymbol",
    "Fence": "Fence",
    "Car": "Car",
    "Pedestrian": "Pedestrian",
    "Bicyclist": "Bicyclist",
}
GROUPED = STRICT | {
    "Bridge": "Building",
    "Tunnel": "Building",
    "Wall": "Building",
    "LaneMkgsDriv": "Road",
    "LaneMkgsNonDriv": "Road",
    "ParkingBlock": "Pavement",
    "RoadShoulder": "Pavement",
    "VegetationMisc": "Tree",
    "Misc_Text": "SignSymbol",
    "TrafficLight": "SignSymbol",
    "SUVPickupTruck": "Car",
    "Truck_Bus": "Car",
}
PROTOCOLS: Mapping[str, Mapping[str, str]] = {"strict": STRICT, "grouped": GROUPED}


@dataclass(frozen=True)
class Frame:
    """One frame of either edition; paths lie below the raw folder."""

    split: str
    stem: str
    image: Path
    label: Path | None


def raw_path(name: str) -> Path | None:
    """Return where a member of a CamVid archive or folder belongs below ``data/raw/camvid``.

    None if the project has no use for it.
    """
    if match := re.search(r"(?:^|/)(train|val|test)(annot)?/(\w+\.png)$", name):
        return Path("CamVid", match[1] + (match[2] or ""), match[3])
    if match := re.search(r"(?:^|/)(\w+_L\.png)$", name):
        return Path("LabeledApproved_full", match[1])
    if match := re.search(r"(?:^|/)(\w+\.png)$", name):
        return Path("701_StillsRaw_full", match[1])
    if re.search(r"(?:^|/)label_colors\.txt$", name):
        return Path("label_colors.txt")
    return None


def detect_edition(raw: Path) -> str:
    """Tell ``segnet`` from ``cambridge`` by what the raw folder holds.

    Raises:
        SgcpError: neither, both, or the Cambridge edition without one of its three parts.
    """
    segnet = (raw / "CamVid").is_dir()
    parts = ("701_StillsRaw_full", "LabeledApproved_full", "label_colors.txt")
    missing = [part for part in parts if not (raw / part).exists()]
    if segnet and len(missing) < len(parts):
        raise SgcpError(f"{raw}: holds both editions of CamVid; keep one")
    if segnet:
        return "segnet"
    if missing == list(parts):
        raise SgcpError(f"{raw}: holds no CamVid; run `sgcp download camvid` first")
    if missing:
        raise SgcpError(
            f"{raw}: the cambridge edition lacks {', '.join(missing)}; give all three to "
            "`sgcp download camvid --archive ...`"
        )
    return "cambridge"


def read_colors(path: Path) -> dict[str, tuple[int, int, int]]:
    """Read ``label_colors.txt``: a line a class, ``R G B<tabs>Name``.

    Raises:
        SgcpError: a line that is not of this form, or a colour or name given twice.
    """
    colors: dict[str, tuple[int, int, int]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        match = re.fullmatch(r"\s*(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(\w+)\s*", line)
        if match is None or max(int(match[i]) for i in (1, 2, 3)) > 255:
            raise SgcpError(f"{path}, line {number}: expected 'R G B Name', got {line!r}")
        color = (int(match[1]), int(match[2]), int(match[3]))
        if match[4] in colors or color in colors.values():
            raise SgcpError(f"{path}, line {number}: {match[4]} {color} is listed twice")
        colors[match[4]] = color
    return colors


@cache
def color_table(colors_file: Path, protocol: str) -> UInt8:
    """Return a table from 24-bit colour (R * 65536 + G * 256 + B) to train id, (2**24,) uint8.

    Raises:
        SgcpError: the colours lack a class that the protocol names.
    """
    colors = read_colors(colors_file)
    mapping = PROTOCOLS[protocol]
    absent = sorted(mapping.keys() - colors.keys())
    if absent:
        raise SgcpError(f"{colors_file}: lacks {', '.join(absent)}, which the protocol needs")
    train_ids = {item.name: item.train_id for item in camvid_classes()}
    table = np.full(2**24, UNLISTED, dtype=np.uint8)
    for name, (red, green, blue) in colors.items():
        target = mapping.get(name)
        table[red << 16 | green << 8 | blue] = IGNORE if target is None else train_ids[target]
    return table


def convert_colors(rgb: UInt8, table: UInt8, source: Path) -> UInt8:
    """Map colours (H, W, 3) to train ids (H, W).

    Raises:
        SgcpError: a colour that ``label_colors.txt`` does not list.
    """
    codes = rgb[..., 0].astype(np.uint32) << 16 | rgb[..., 1].astype(np.uint32) << 8 | rgb[..., 2]
    label = table[codes]
    return _refuse_unlisted(label, rgb, source, "colour")


def convert_indices(indices: UInt8, source: Path) -> UInt8:
    """Map the SegNet edition's indices (H, W) to train ids (H, W): void, 11, becomes 255.

    Raises:
        SgcpError: an index beyond 11 other than 255.
    """
    table = np.full(256, UNLISTED, dtype=np.uint8)
    table[:SEGNET_VOID] = np.arange(SEGNET_VOID)
    table[[SEGNET_VOID, IGNORE]] = IGNORE
    return _refuse_unlisted(table[indices], indices, source, "id")


def _refuse_unlisted(label: UInt8, values: UInt8, source: Path, what: str) -> UInt8:
    unlisted = label == UNLISTED
    if unlisted.any():
        y, x = np.argwhere(unlisted)[0].tolist()
        value = values[y, x].tolist()
        raise SgcpError(
            f"{source}: unlisted {what} {value} at row {y}, column {x} "
            f"({int(unlisted.sum())} such pixels); the label map is damaged or of another dataset"
        )
    return label


def find_frames(raw: Path, edition: str, splits: Mapping[str, Sequence[str]]) -> list[Frame]:
    """List the frames of the published splits that are there, with their labels.

    Raises:
        SgcpError: a frame without its label, where others of its split have one.
    """
    frames = []
    for split, stems in splits.items():
        if edition == "segnet":
            images, labels, suffix = f"CamVid/{split}", f"CamVid/{split}annot", ""
        else:
            images, labels, suffix = "701_StillsRaw_full", "LabeledApproved_full", "_L"
        # A test split may come without its labels; training and validation may not.
        unlabelled = split == "test" and not (raw / labels).is_dir()
        for stem in stems:
            image, label = Path(images, f"{stem}.png"), Path(labels, f"{stem}{suffix}.png")
            if not (raw / image).is_file():
                continue
            if not unlabelled and not (raw / label).is_file():
                raise SgcpError(f"{raw / image}: has no label; expected {raw / label}")
            frames.append(Frame(split, stem, image, None if unlabelled else label))
    return frames


def convert_frame(frame: Frame, raw: Path, out: Path, protocol: str, edition: str) -> Item:
    """Write one frame's label map and return its row of the index.

    Raises:
        SgcpError: image and label differ in size, or the label has an unlisted value.
    """
    height, width = read_size(raw / frame.image)
    target = None
    if frame.label is not None:
        source = raw / frame.label
        target = Path("labels", frame.split, f"{frame.stem}.png")
        if read_size(source) != (height, width):
            raise SgcpError(
                f"{source}: {read_size(source)} differs from its image {(height, width)} "
                "(height, width); the archives do not belong together"
            )
        if edition == "segnet":
            label = convert_indices(read_label(source), source)
        else:
            table = color_table(raw / "label_colors.txt", protocol)
            label = convert_colors(read_image(source), table, source)
        if not (out / target).is_file():
            write_png(out / target, label)
    sequence = frame.stem.split("_")[0]
    return Item(frame.split, frame.image, target, sequence, height, width)


def prepare_camvid(
    raw: Path,
    out: Path,
    splits: Mapping[str, Sequence[str]],
    protocol: str,
    allow_missing: bool,
    workers: int | str,
) -> Dataset:
    """Convert every frame of the published splits into ``out/labels``.

    Raises:
        SgcpError: the edition, a frame or a label is not as published; frames are missing and
            ``allow_missing`` is off; a split is empty.
    """
    edition = detect_edition(raw)
    if edition == "segnet" and protocol != "grouped":
        raise SgcpError(
            f"camvid.prepare.protocol: '{protocol}' needs the cambridge edition; the segnet "
            "edition's labels are grouped already: set 'grouped'"
        )
    frames = find_frames(raw, edition, splits)
    found = {split: sum(frame.split == split for frame in frames) for split in splits}
    check_counts("camvid", found, {s: len(stems) for s, stems in splits.items()}, allow_missing)
    convert = partial(convert_frame, raw=raw, out=out, protocol=protocol, edition=edition)
    items = map_parallel(convert, frames, workers, "labels")
    return Dataset("camvid", edition, protocol, camvid_classes(), tuple(items))
