"""Layouts that a user's own images and labels may have instead of docs/custom-dataset.md's."""

from sgcp.datasets.foreign_layouts import (
    ANY_SPLIT,
    IMAGE,
    OTHER_IMAGES,
    OTHER_LABELS,
    OTHER_SPLITS,
    SPLIT,
    ForeignLayout,
)  # fmt: skip

MASKS = "Export one PNG label map for each image ('semantic segmentation masks')"
IMPORT = "Run `sgcp import-labels FOLDER --out DIR`, and name DIR instead"

LAYOUTS = (
    ForeignLayout(
        "Cityscapes", rf"leftImg8bit/.+/{IMAGE}",
        "Use `sgcp download cityscapes --root DIR`; with classes of your own, put the images into "
        "images/SPLIT and label maps into labels/SPLIT"),
    ForeignLayout(
        "CamVid", rf"(?:701_StillsRaw_full|{SPLIT}annot)/{IMAGE}",
        "Use `sgcp download camvid --archive FILE...`"),
    ForeignLayout(
        "BDD100K", rf"images/10k/{SPLIT}/{IMAGE}", IMPORT),
    ForeignLayout(
        "Mapillary Vistas",
        rf"(?:training|validation)/(?:v\d\.\d/)?(?:images|labels|instances|panoptic)/{IMAGE}",
        IMPORT),
    ForeignLayout(
        "KITTI", rf"training/image_2/{IMAGE}", IMPORT),
    ForeignLayout(
        "ADE20K", rf"images/training/{IMAGE}",
        "Rename annotations to labels, and in both folders training to train, validation to val",
        rf"annotations/training/{IMAGE}"),
    ForeignLayout(
        "MMSegmentation", rf"(?:img_dir|ann_dir)/(?:.+/)?{IMAGE}",
        "Rename img_dir to images and ann_dir to labels"),
    ForeignLayout(
        "CVAT's 'Segmentation mask 1.1'", r"SegmentationClass/.+\.png",
        IMPORT, r"labelmap\.txt"),
    ForeignLayout(
        "Pascal VOC", r"SegmentationClass(?:PNG|Raw)?/.+\.png", IMPORT),
    ForeignLayout(
        "Roboflow's 'Semantic Segmentation Masks'", r"(?:train|valid|test)/.+_mask\.png", IMPORT),
    ForeignLayout(
        "Label Studio's brush labels", r"task-\d+-annotation-.+\.png",
        f"Its PNGs contain one class each: export JSON. {IMPORT}"),
    ForeignLayout(
        "a split above its images and labels", rf"{ANY_SPLIT}/{OTHER_LABELS}/{IMAGE}",
        "Swap the two levels: train/images becomes images/train, and its label maps labels/train; "
        "the splits are train, val and test"),
    ForeignLayout(
        "a folder for each split and kind", rf"{ANY_SPLIT}_?{OTHER_LABELS}/{IMAGE}",
        "Move the images of train to images/train and their label maps to labels/train, and so on"),
    ForeignLayout(
        "label maps in a folder of another name", rf"(?!labels/){OTHER_LABELS}/{IMAGE}",
        "Label maps belong into labels/SPLIT, as PNGs of the same names as the images"),
    ForeignLayout(
        "COCO",
        r"(?:_annotations\.coco|(?:.+_)?(?:instances|panoptic|stuff)_.+|coco.*|result)\.json",
        IMPORT),
    ForeignLayout(
        "YOLO",
        rf"(?:(?:labels(?:/{ANY_SPLIT})?|{ANY_SPLIT}/labels|obj_\w+_data)/.+\.txt"
        r"|(?:data|dataset)\.ya?ml|obj\.data)", IMPORT),
    ForeignLayout(
        "Supervisely", r"ann/.+\.json",
        f"It contains objects in JSON, not label maps. {MASKS}", r"meta\.json"),
    ForeignLayout(
        "other names of the splits",
        rf"(?:images|labels)/(?:{'|'.join(OTHER_SPLITS)}|{SPLIT}\d+)/{IMAGE}",
        "Rename the folders below images and labels to train, val and test"),
    ForeignLayout(
        "images without a split", r"(?:images|labels)/[^/]+\.(?:png|jpe?g)",
        "Divide them into images/train and images/val, and the label maps into labels/train and "
        "labels/val"),
    ForeignLayout(
        "annotations in JSON or XML, as labelme and CVAT write them", r".+\.(?:json|xml)", IMPORT),
    ForeignLayout(
        "images in a folder of another name", rf"(?!images/){OTHER_IMAGES}/{IMAGE}",
        "Images belong into images/SPLIT"),
)  # fmt: skip
