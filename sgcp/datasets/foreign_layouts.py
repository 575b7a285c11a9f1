"""Layouts of other programs and datasets, to explain what a source has where it lacks files.

Nothing is read from them. A layout has a sign, or two: regular expressions for a file's path, each
of which must match some file, in any letter case.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from sgcp.core.errors import printable, shorten
from sgcp.datasets.index import SPLITS

IMAGE = r".+\.(?:png|jpe?g)"
SPLIT = r"(?:train|val|test)"
OTHER_SPLITS = {
    "training": "train", "valid": "val", "validate": "val", "validation": "val", "dev": "val",
    "eval": "val", "testing": "test", "tests": "test",
}  # fmt: skip
ANY_SPLIT = rf"(?:{SPLIT}|{'|'.join(OTHER_SPLITS)})\d*"
OTHER_IMAGES = r"(?:images?|imgs?|pictures?|photos?|frames?|rgb|jpegimages)"
OTHER_LABELS = (
    r"(?:labels?|masks?|annotations?|annots?|gts?|ground_?truths?|segmentations?|segs?|targets?"
    r"|label_?maps?|segmentation_?masks?|segmentationclass)"
)
MOST = 4  # kinds of files that a message lists

ForeignLayout = tuple[str, str, str] | tuple[str, str, str, str]
"""Name, sign, how to convert it, and a second sign if it has two."""

# Those that a user's own images and labels may have instead of docs/custom-dataset.md's.
MASKS = "Export one PNG label map for each image ('semantic segmentation masks')"
IMPORT = "Run `sgcp import-labels FOLDER --out DIR`, and name DIR instead"

LAYOUTS = (
    ("Cityscapes", rf"leftImg8bit/.+/{IMAGE}",
     "Use `sgcp download cityscapes --root DIR`; with classes of your own, put the images into "
     "images/SPLIT and label maps into labels/SPLIT"),
    ("CamVid", rf"(?:701_StillsRaw_full|{SPLIT}annot)/{IMAGE}",
     "Use `sgcp download camvid --archive FILE...`"),
    ("BDD100K", rf"images/10k/{SPLIT}/{IMAGE}", IMPORT),
    ("Mapillary Vistas",
     rf"(?:training|validation)/(?:v\d\.\d/)?(?:images|labels|instances|panoptic)/{IMAGE}",
     IMPORT),
    ("KITTI", rf"training/image_2/{IMAGE}", IMPORT),
    ("ADE20K", rf"images/training/{IMAGE}",
     "Rename annotations to labels, and in both folders training to train, validation to val",
     rf"annotations/training/{IMAGE}"),
    ("MMSegmentation", rf"(?:img_dir|ann_dir)/(?:.+/)?{IMAGE}",
     "Rename img_dir to images and ann_dir to labels"),
    ("CVAT's 'Segmentation mask 1.1'", r"SegmentationClass/.+\.png",
     IMPORT, r"labelmap\.txt"),
    ("Pascal VOC", r"SegmentationClass(?:PNG|Raw)?/.+\.png", IMPORT),
    ("Roboflow's 'Semantic Segmentation Masks'", r"(?:train|valid|test)/.+_mask\.png", IMPORT),
    ("Label Studio's brush labels", r"task-\d+-annotation-.+\.png",
     f"Its PNGs contain one class each: export JSON. {IMPORT}"),
    ("a split above its images and labels", rf"{ANY_SPLIT}/{OTHER_LABELS}/{IMAGE}",
     "Swap the two levels: train/images becomes images/train, and its label maps labels/train; "
     "the splits are train, val and test"),
    ("a folder for each split and kind", rf"{ANY_SPLIT}_?{OTHER_LABELS}/{IMAGE}",
     "Move the images of train to images/train and their label maps to labels/train, and so on"),
    ("label maps in a folder of another name", rf"(?!labels/){OTHER_LABELS}/{IMAGE}",
     "Label maps belong into labels/SPLIT, as PNGs of the same names as the images"),
    ("COCO",
     r"(?:_annotations\.coco|(?:.+_)?(?:instances|panoptic|stuff)_.+|coco.*|result)\.json",
     IMPORT),
    ("YOLO",
     rf"(?:(?:labels(?:/{ANY_SPLIT})?|{ANY_SPLIT}/labels|obj_\w+_data)/.+\.txt"
     r"|(?:data|dataset)\.ya?ml|obj\.data)", IMPORT),
    ("Supervisely", r"ann/.+\.json",
     f"It contains objects in JSON, not label maps. {MASKS}", r"meta\.json"),
    ("other names of the splits",
     rf"(?:images|labels)/(?:{'|'.join(OTHER_SPLITS)}|{SPLIT}\d+)/{IMAGE}",
     "Rename the folders below images and labels to train, val and test"),
    ("images without a split", r"(?:images|labels)/[^/]+\.(?:png|jpe?g)",
     "Divide them into images/train and images/val, and the label maps into labels/train and "
     "labels/val"),
    ("annotations in JSON or XML, as labelme and CVAT write them", r".+\.(?:json|xml)", IMPORT),
    ("images in a folder of another name", rf"(?!images/){OTHER_IMAGES}/{IMAGE}",
     "Images belong into images/SPLIT"),
)  # fmt: skip


def explain_layout(layouts: Sequence[ForeignLayout], names: Iterable[str]) -> str:
    """Return which of some layouts files have and what to do; else what files they are."""
    shown = [name for name in names if not is_hidden(name)]
    for layout, sign, advice, *more in layouts:
        forms = [re.compile(rf"(?:^|/){one}\Z", re.IGNORECASE | re.DOTALL) for one in (sign, *more)]
        found = [next(filter(form.search, shown), "") for form in forms]
        if all(found):
            examples = ", ".join(map(printable, dict.fromkeys(found)))
            return f"it looks like {layout} (found {examples}). {advice}"
    paths = map(PurePosixPath, shown)
    kinds = Counter((str(path.parent), path.suffix.lower()) for path in paths)
    lines = [
        f"{count:,} {ending or 'other'} files in {printable(folder)}"
        for (folder, ending), count in kinds.most_common()
    ]
    return f"found {shorten(lines, MOST)}" if lines else "it has no other files"


def is_hidden(name: str) -> bool:
    """Return whether a file or one of its folders is hidden, as file managers' are."""
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def find_split(word: str) -> str | None:
    """Return the split that a word means, such as ``Validation`` or ``train2017``, if any."""
    name = re.sub(r"\d+$", "", word.lower())
    split = OTHER_SPLITS.get(name, name)
    return split if split in SPLITS else None
