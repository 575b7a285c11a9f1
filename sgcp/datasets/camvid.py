"""CamVid's frames, of either edition, to 11-class label maps."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sgcp.datasets.camvid_labels import color_table, convert_colors, convert_indices
from sgcp.datasets.classes import camvid_classes
from sgcp.datasets.images import read_image, read_label, write_png
from sgcp.datasets.index import Dataset, Item, digest_pixels
from sgcp.datasets.keys import CAMVID_FRAME as STEM
from sgcp.datasets.missing import check_counts, pair_files
from sgcp.errors import SgcpError
from sgcp.progress import map_parallel

LAYOUTS = {
    "segnet": "CamVid/SPLIT/FRAME.png and CamVid/SPLITannot/FRAME.png",
    "cambridge": "701_StillsRaw_full/FRAME.png and LabeledApproved_full/FRAME_L.png",
}


@dataclass(frozen=True)
class Frame:
    """One frame of either edition; paths lie below the raw folder."""

    split: str
    stem: str
    image: Path
    label: Path | None


def raw_path(name: str) -> Path | None:
    """Return where a member of a CamVid archive or folder belongs below ``data/raw/camvid``.

    None if the project has no use for it, such as the SegNet repository's other images.
    """
    if match := re.search(rf"(?:^|/)(train|val|test)(annot)?/({STEM}\.png)\Z", name):
        return Path("CamVid", match[1] + (match[2] or ""), match[3])
    if match := re.search(rf"(?:^|/)({STEM}_L\.png)\Z", name):
        return Path("LabeledApproved_full", match[1])
    if match := re.search(rf"(?:^|/)({STEM}\.png)\Z", name):
        return Path("701_StillsRaw_full", match[1])
    if re.search(r"(?:^|/)label_colors\.txt\Z", name):
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


def find_frames(
    raw: Path, edition: str, splits: Mapping[str, Sequence[str]], allow_missing: bool
) -> list[Frame]:
    """List the frames of the published splits that are there, with their labels.

    The test split may come without its labels; training and validation may not.

    Raises:
        SgcpError: as ``pair_files``.
    """
    frames: list[Frame] = []
    wanted: dict[Path, Path] = {}
    labels: list[Path] = []
    for split, stems in splits.items():
        if edition == "segnet":
            images, annotations, suffix = f"CamVid/{split}", f"CamVid/{split}annot", ""
        else:
            images, annotations, suffix = "701_StillsRaw_full", "LabeledApproved_full", "_L"
        places = {stem: Path(annotations, f"{stem}{suffix}.png") for stem in stems}
        found = [label for label in places.values() if (raw / label).is_file()]
        here = [
            Frame(split, stem, image, label if found or split != "test" else None)
            for stem, label in places.items()
            if (raw / (image := Path(images, f"{stem}.png"))).is_file()
        ]
        frames += here
        wanted |= {frame.image: frame.label for frame in here if frame.label}
        labels += found
    pairs = pair_files("camvid", raw, wanted, labels, allow_missing, LAYOUTS[edition])
    return [frame for frame in frames if frame.label is None or frame.image in pairs]


def convert_frame(frame: Frame, raw: Path, out: Path, protocol: str, edition: str) -> Item:
    """Write one frame's label map and return its row of the index.

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
    if edition == "segnet":
        label = convert_indices(read_label(source), source)
    else:
        table = color_table(raw / "label_colors.txt", protocol)
        label = convert_colors(read_image(source), table, source)
    if label.shape != (height, width):
        raise SgcpError(
            f"{source}: {label.shape} differs from its image {(height, width)} "
            "(height, width); the archives do not belong together"
        )
    target = Path("labels", frame.split, f"{frame.stem}.png")
    if not (out / target).is_file():
        write_png(out / target, label)
    return replace(item, label=target, label_digest=digest_pixels(label))


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
    frames = find_frames(raw, edition, splits, allow_missing)
    found = {split: sum(frame.split == split for frame in frames) for split in splits}
    check_counts("camvid", found, {s: len(stems) for s, stems in splits.items()}, allow_missing)
    convert = partial(convert_frame, raw=raw, out=out, protocol=protocol, edition=edition)
    items = map_parallel(convert, frames, workers, "labels")
    return Dataset("camvid", edition, protocol, camvid_classes(), tuple(items))
