"""Layouts of other programs and datasets: named, with what to do, where a source lacks files.

Nothing is read from them. A layout is known by signs: expressions for a file's path from a folder
on, each of which must match some file, whatever its letter case.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from sgcp.core.errors import printable, shorten

IMAGE = r".+\.(?:png|jpe?g)"
SPLIT = r"(?:train|val|test)"
OTHER_SPLITS = {
    "training": "train",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "testing": "test",
    "tests": "test",
}
ANY_SPLIT = rf"(?:{SPLIT}|{'|'.join(OTHER_SPLITS)})\d*"
OTHER_IMAGES = r"(?:images?|imgs?|images?|photos?|frames?|rgb|jpegimages)"
OTHER_LABELS = (
    r"(?:labels?|masks?|annotations?|annots?|gts?|ground_?truths?|segmentations?|segs?|targets?"
    r"|label_?maps?|segmentation_?masks?|segmentationclass)"
)
MOST = 4  # kinds of files that a message lists


@dataclass(frozen=True)
class Layout:
    """A layout, its signs, and how its files become those that are looked for."""

    name: str
    signs: tuple[str, ...]
    advice: str

    def find(self, names: Sequence[str]) -> list[str]:
        """Return a file for each sign; none at all where a sign has no file."""
        found = []
        for sign in self.signs:
            wanted = re.compile(rf"(?:^|/){sign}\Z", re.IGNORECASE | re.DOTALL)
            if (name := next(filter(wanted.search, names), None)) is None:
                return []
            found.append(name)
        return found


MASKS = "Export one PNG label map for each image ('semantic segmentation masks')"

OWN = (
    Layout(
        "Cityscapes",
        (rf"leftImg8bit/.+/{IMAGE}",),
        "Use `sgcp download cityscapes --root DIR`; with classes of your own, put the images into "
        "images/SPLIT and label maps into labels/SPLIT",
    ),
    Layout(
        "CamVid",
        (rf"(?:701_StillsRaw_full|{SPLIT}annot)/{IMAGE}",),
        "Use `sgcp download camvid --archive FILE...`",
    ),
    Layout(
        "BDD100K",
        (rf"images/10k/{SPLIT}/{IMAGE}",),
        "Copy or link images/10k/SPLIT to images/SPLIT and labels/sem_seg/masks/SPLIT to "
        "labels/SPLIT",
    ),
    Layout(
        "Mapillary Vistas",
        (rf"(?:training|validation)/(?:v\d\.\d/)?(?:images|labels|instances|panoptic)/{IMAGE}",),
        "Copy or link training/images to images/train and training/v1.2/labels (or v2.0) to "
        "labels/train; validation likewise to val",
    ),
    Layout(
        "KITTI",
        (rf"training/image_2/{IMAGE}",),
        "Copy training/image_2 to images/train and training/semantic to labels/train, and move "
        "some of both to images/val and labels/val",
    ),
    Layout(
        "ADE20K",
        (rf"images/training/{IMAGE}", rf"annotations/training/{IMAGE}"),
        "Rename annotations to labels, and in both folders training to train, validation to val",
    ),
    Layout(
        "MMSegmentation",
        (rf"(?:img_dir|ann_dir)/(?:.+/)?{IMAGE}",),
        "Rename img_dir to images and ann_dir to labels",
    ),
    Layout(
        "CVAT's 'Segmentation mask 1.1'",
        (r"SegmentationClass/.+\.png", r"labelmap\.txt"),
        "Copy the images to images/SPLIT and the PNGs of SegmentationClass to labels/SPLIT, by the "
        "lists in ImageSets/Segmentation, and write the colours of labelmap.txt into classes.csv",
    ),
    Layout(
        "Pascal VOC",
        (r"SegmentationClass(?:PNG|Raw)?/.+\.png",),
        "Copy JPEGImages to images/SPLIT and SegmentationClass to labels/SPLIT, by the lists in "
        "ImageSets/Segmentation",
    ),
    Layout(
        "Roboflow's 'Semantic Segmentation Masks'",
        (r"(?:train|valid|test)/.+_mask\.png",),
        "Copy train/NAME.jpg to images/train and train/NAME_mask.png to labels/train/NAME.png; "
        "valid likewise to val; write the values of _classes.csv into classes.csv",
    ),
    Layout(
        "Label Studio's brush labels",
        (r"task-\d+-annotation-.+\.png",),
        "Its PNGs hold one class each: paint those of a task into one PNG of the image's name, a "
        "value for each class",
    ),
    Layout(
        "a split above its images and labels",
        (rf"{ANY_SPLIT}/{OTHER_LABELS}/{IMAGE}",),
        "Swap the two levels: train/images becomes images/train, and its label maps labels/train; "
        "the splits are train, val and test",
    ),
    Layout(
        "a folder for each split and kind",
        (rf"{ANY_SPLIT}_?{OTHER_LABELS}/{IMAGE}",),
        "Move the images of train to images/train and their label maps to labels/train, and so on",
    ),
    Layout(
        "label maps in a folder of another name",
        (rf"(?!labels/){OTHER_LABELS}/{IMAGE}",),
        "Label maps belong into labels/SPLIT, as PNGs of the same names as the images",
    ),
    Layout(
        "COCO",
        (r"(?:_annotations\.coco|(?:.+_)?(?:instances|panoptic|stuff)_.+|coco.*|result)\.json",),
        f"It holds polygons, not label maps. {MASKS}",
    ),
    Layout(
        "YOLO",
        (
            rf"(?:(?:labels(?:/{ANY_SPLIT})?|{ANY_SPLIT}/labels|obj_\w+_data)/.+\.txt"
            r"|(?:data|dataset)\.ya?ml|obj\.data)",
        ),
        f"It holds boxes or polygons, not label maps. {MASKS}",
    ),
    Layout(
        "Supervisely",
        (r"ann/.+\.json", r"meta\.json"),
        f"It holds objects in JSON, not label maps. {MASKS}",
    ),
    Layout(
        "other names of the splits",
        (rf"(?:images|labels)/(?:{'|'.join(OTHER_SPLITS)}|{SPLIT}\d+)/{IMAGE}",),
        "Rename the folders below images and labels to train, val and test",
    ),
    Layout(
        "images without a split",
        (r"(?:images|labels)/[^/]+\.(?:png|jpe?g)",),
        "Divide them into images/train and images/val, and the label maps into labels/train and "
        "labels/val",
    ),
    Layout(
        "annotations in JSON or XML, as labelme writes them",
        (r".+\.(?:json|xml)",),
        f"They hold polygons or boxes, not label maps. {MASKS}; labelme: `labelme2voc`",
    ),
    Layout(
        "images in a folder of another name",
        (rf"(?!images/){OTHER_IMAGES}/{IMAGE}",),
        "Images belong into images/SPLIT",
    ),
)


def explain_layout(layouts: Sequence[Layout], names: Iterable[str]) -> str:
    """Say which known layout files have and what to do; of an unknown one, what files there are.

    Args:
        layouts: the layouts that the files may have.
        names: paths of files that are not of its form, with slashes.
    """
    shown = [name for name in names if not is_hidden(name)]
    for layout in layouts:
        if found := layout.find(shown):
            examples = ", ".join(map(printable, dict.fromkeys(found)))
            return f"it looks like {layout.name} (found {examples}). {layout.advice}"
    return describe_files(shown)


def describe_files(names: Iterable[str]) -> str:
    """Count files by folder and ending, the most frequent first."""
    paths = map(PurePosixPath, names)
    kinds = Counter((str(path.parent), path.suffix.lower()) for path in paths)
    lines = [
        f"{count:,} {ending or 'other'} files in {printable(folder)}"
        for (folder, ending), count in kinds.most_common()
    ]
    return f"found {shorten(lines, MOST)}" if lines else "it holds no other files"


def is_hidden(name: str) -> bool:
    """Tell what file managers and versions leave from a user's files."""
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def other_split(folder: str) -> str | None:
    """Return which split a folder's name means, where it is not called so."""
    match = re.fullmatch(rf"({ANY_SPLIT}?)", folder, re.IGNORECASE)
    if match is None or folder in ("train", "val", "test"):
        return None
    name = re.sub(r"\d+$", "", folder.lower())
    return OTHER_SPLITS.get(name, name)
