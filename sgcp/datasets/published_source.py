"""Check a source of Cityscapes or CamVid, and name what it looks like where files are missing."""

import re
from pathlib import Path

from sgcp.core.errors import SgcpError, printable, shorten
from sgcp.core.terminal import warn
from sgcp.datasets.camvid import EDITIONS, detect_edition
from sgcp.datasets.cityscapes import IMAGE_ENDING, IMAGES, LABELS, POLYGON_ENDING
from sgcp.datasets.foreign_layouts import OTHER_IMAGES, OTHER_LABELS, SPLIT, Layout, explain_layout
from sgcp.datasets.keys import CAMVID_FRAME
from sgcp.datasets.links import OnlyOnce

STRAY = rf"(?:^|/){IMAGES}/(?:train|val|test)/.+\.(?:png|jpe?g)\Z"  # of those that are not read

CITYSCAPES = (
    Layout(
        "Foggy Cityscapes",
        (r"leftImg8bit[^/]*/.+_foggy(?:DBF)?_.+\.png",),
        "Its images are named after those of Cityscapes: link those of one beta to "
        "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png",
    ),
    Layout(
        "RainCityscapes",
        (r"leftImg8bit[^/]*/.+_rain_.+\.png",),
        "Its images are named after those of Cityscapes: link one of each to "
        "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png",
    ),
    Layout(
        "ACDC or Dark Zurich",
        (r"rgb_anon/.+_rgb_anon\.png",),
        "It has label maps, not polygons: prepare it as a dataset of your own, with rgb_anon as "
        "images and the PNGs that end in _gt_labelIds as labels (docs/custom-dataset.md)",
    ),
    Layout(
        "Cityscapes' coarse annotations",
        (r"gtCoarse/.+_gtCoarse_polygons\.json",),
        "Get the fine ones too: gtFine_trainvaltest.zip",
    ),
    Layout(
        "Cityscapes' label maps without their polygons",
        (r"gtFine/.+_gtFine_(?:labelTrainIds|labelIds|instanceIds|color)\.png",),
        "Label maps are drawn from the polygons, which gtFine_trainvaltest.zip has too",
    ),
    Layout(
        "images in another format",
        (r"leftImg8bit/.+\.(?:jpe?g|webp|bmp|tiff?)",),
        "Images are PNG files: convert them, and keep their names "
        "(`mogrify -format png leftImg8bit/*/*/*.jpg`)",
    ),
    Layout(
        "images or polygons without a folder for their city",
        (rf"(?:leftImg8bit|gtFine)/{SPLIT}/[^/]+\.(?:png|json)",),
        "Put those of each city into a folder: leftImg8bit/train/aachen/...",
    ),
    Layout(
        "images of another camera or depth",
        (r"(?:rightImg8bit|leftImg16bit|rightImg16bit|leftImg8bit_sequence|disparity)/.+\.png",),
        "The images of leftImg8bit_trainvaltest.zip are needed",
    ),
    Layout(
        "a folder within leftImg8bit or gtFine",
        (r".+_(?:leftImg8bit\.png|gtFine_polygons\.json)",),
        "Name the folder that contains both leftImg8bit and gtFine",
    ),
    Layout(
        "images with other names",
        (r"leftImg8bit/.+\.png",),
        "Name them NAME_leftImg8bit.png, and their polygons NAME_gtFine_polygons.json",
    ),
    Layout(
        "archives that are not unpacked",
        (r"[^/]*(?:leftImg8bit|gtFine)[^/]*\.zip",),
        "Give them by `--archive FILE...`, or unpack them",
    ),
)

CAMVID = (
    Layout(
        "CamVid as fast.ai publishes it",
        (rf"labels/{CAMVID_FRAME}_P\.png",),
        "Its label maps hold the 32 classes by number: use the colours of "
        "LabeledApproved_full.zip, with label_colors.txt",
    ),
    Layout(
        "frames in another format",
        (rf"{CAMVID_FRAME}(?:_L)?\.(?:jpe?g|webp|bmp|tiff?|gif)",),
        "Frames and label maps are PNG files: get them again, since JPEG changes the colours of "
        "label maps",
    ),
    Layout(
        "label maps with other names",
        (rf"[^/]*{OTHER_LABELS}[^/]*/[^/]*{CAMVID_FRAME}[^/]*\.png",),
        "The cambridge and kaggle editions call them FRAME_L.png; the segnet edition has FRAME.png "
        "in trainannot, valannot and testannot",
    ),
    Layout(
        "archives that are not unpacked",
        (r"[^/]*(?:701_StillsRaw|LabeledApproved|SegNet|camvid)[^/]*\.zip",),
        "Give them by `--archive FILE...`, or unpack them",
    ),
    Layout(
        "images that are not CamVid's frames",
        (rf"(?:{SPLIT}/.+|{OTHER_IMAGES}/.+)\.(?:png|jpe?g)",),
        "Its frames have names such as 0016E5_07959.png; other images make a dataset of your own "
        "(docs/custom-dataset.md)",
    ),
)


def check_cityscapes(place: OnlyOnce) -> None:
    """Refuse a source that lacks images or polygons; report images that are not read.

    Raises:
        SgcpError: naming what was looked for and what the source has instead.
    """
    parts = {path.parts[0] for path in place.taken}
    wanted = {IMAGES: f"NAME{IMAGE_ENDING}", LABELS: f"NAME{POLYGON_ENDING}"}
    if lacks := [f"{part}/SPLIT/CITY/{name}" for part, name in wanted.items() if part not in parts]:
        found = explain_layout(CITYSCAPES, place.skipped)
        raise SgcpError(
            f"cityscapes: the source lacks {' and '.join(lacks)}: {found}. Give both archives, or "
            f"the folder that contains {IMAGES} and {LABELS} (docs/datasets.md)"
        )
    strays = [name for name in place.skipped if re.search(STRAY, name, re.IGNORECASE)]
    if strays:
        warn(
            f"note: left out {len(strays)} images ({shorten(map(printable, strays))}): only "
            f"{IMAGES}/SPLIT/CITY/NAME{IMAGE_ENDING} are read"
        )


def check_camvid(raw: Path, place: OnlyOnce) -> str:
    """Return the edition of a source.

    Args:
        raw: the raw folder that was filled from it.

    Raises:
        SgcpError: as ``detect_edition``, with what else the source has.
    """
    problem = f"{raw}: its frames have no label maps"
    try:
        edition = detect_edition(raw)
        if not place.skipped or any(any(raw.glob(part)) for part in EDITIONS[edition].parts):
            return edition
    except SgcpError as error:
        if not place.skipped:
            raise
        problem = str(error)
    raise SgcpError(f"{problem}. Besides, {explain_layout(CAMVID, place.skipped)}")
