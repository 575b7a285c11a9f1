"""What other programs and datasets call their folders is named, with what to do."""

from pathlib import Path

import pytest
from conftest import Project
from customs import pack

from sgcp.datasets.foreign_layouts import LAYOUTS, explain_layout, find_split

FOREIGN = {
    "Cityscapes": ["leftImg8bit/train/ulm/a_leftImg8bit.png", "gtFine/train/ulm/a_gtFine_x.json"],
    "CamVid": ["CamVid/train/a.png", "CamVid/trainannot/a.png"],
    "BDD100K": ["images/10k/train/a.jpg", "labels/sem_seg/masks/train/a.png"],
    "Mapillary Vistas": ["training/images/a.jpg", "training/v1.2/labels/a.png", "config.json"],
    "KITTI": ["training/image_2/a.png", "training/semantic/a.png"],
    "ADE20K": ["images/training/a.jpg", "annotations/training/a.png"],
    "MMSegmentation": ["img_dir/train/a.jpg", "ann_dir/train/a.png"],
    "CVAT's": ["JPEGImages/a.jpg", "SegmentationClass/a.png", "labelmap.txt"],
    "Pascal VOC": ["JPEGImages/a.jpg", "SegmentationClass/a.png", "Annotations/a.xml"],
    "Roboflow's": ["train/a.jpg", "train/a_mask.png", "valid/b.jpg", "train/_classes.csv"],
    "Label Studio's": ["images/a.jpg", "task-1-annotation-2-by-1-tag-Car-0.png"],
    "a split above": ["train/images/a.jpg", "train/masks/a.png", "valid/images/b.jpg"],
    "a folder for each split and kind": ["train/a.png", "train_labels/a.png"],
    "label maps in a folder of another name": ["images/train/a.png", "masks/train/a.png"],
    "COCO": ["train/a.jpg", "train/_annotations.coco.json"],
    "COCO (": ["images/default/a.jpg", "annotations/instances_default.json"],
    "YOLO": ["images/train/a.jpg", "labels/train/a.txt", "data.yaml"],
    "YOLO (": ["train/images/a.jpg", "train/labels/a.txt", "valid/images/b.jpg"],
    "Supervisely": ["ds0/img/a.jpg", "ds0/ann/a.jpg.json", "meta.json"],
    "other names of the splits": ["images/training/a.png", "labels/training/a.png"],
    "images without a split": ["images/a.png", "labels/a.png"],
    "annotations in JSON": ["a.jpg", "a.json"],
    "images in a folder of another name": ["pictures/a.png"],
}
MINE = [f"{kind}/train/a.png" for kind in ("images", "labels")] + ["classes.csv"]


@pytest.mark.parametrize("above", ["", "export 3/data/"])
@pytest.mark.parametrize("name", FOREIGN)
def test_layout_of_another_program_is_named_with_a_file_and_advice(name, above):
    text = explain_layout(LAYOUTS, [above + file for file in FOREIGN[name]])
    assert text.startswith(f"it looks like {name}")
    example = text.split("(found ")[1].split(")")[0].split(", ")[0]
    assert example.removeprefix(above) in FOREIGN[name]
    assert text.split("). ")[1]
    loud = explain_layout(LAYOUTS, [above + file.upper() for file in FOREIGN[name]])
    assert loud.startswith(f"it looks like {name}")


def test_layout_that_nobody_knows_is_described_by_its_files():
    names = [f"x/{number}.tif" for number in range(12)] + ["y/a.tif", ".git/config", ".DS_Store"]
    assert explain_layout(LAYOUTS, names) == "found 12 .tif files in x, 1 .tif files in y"
    many = [f"{folder}/a.bin" for folder in range(100)]
    assert explain_layout(LAYOUTS, many).endswith(" and 96 more")
    assert explain_layout(LAYOUTS, []) == "it has no other files"


@pytest.mark.parametrize(
    ("folder", "split"),
    [("valid", "val"), ("Validation", "val"), ("TRAIN", "train"), ("training", "train"),
     ("train2017", "train"), ("tests", "test"), ("train", "train"), ("val", "val"), ("extra", None),
     ("trainees", None)],
)  # fmt: skip
def test_every_name_of_a_split_is_known(folder, split):
    assert find_split(folder) == split


def write(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def refused_both_ways(project: Project, folder: Path) -> list[str]:
    """Return the messages for a folder and for a zip of it; neither leaves anything."""
    texts = [
        project.fails("download", "custom", "--root", folder),
        project.fails("download", "custom", "--archive", pack(folder, "top")),
    ]
    assert not list((project.root / "data").glob("raw/custom*"))
    return texts


@pytest.mark.parametrize(("kind", "folder"), [("images", "Validation"), ("labels", "training")])
def test_split_of_another_name_is_never_dropped(project: Project, tmp_path, kind, folder):
    source = write(tmp_path / "mine", [*MINE, f"{kind}/{folder}/b.png", f"{kind}/{folder}/c.png"])
    right = "train" if folder == "training" else "val"
    for text in refused_both_ways(project, source):
        assert f"{kind}/{folder} (2 files) would be left out" in text
        assert f"Rename {kind}/{folder} to {kind}/{right}" in text


def test_images_in_no_split_are_mentioned_when_they_are_left_out(project: Project, tmp_path):
    more = ["images/extra/b.png", "images/c.png", "labels/notes.txt", "images/.thumbs/d.png"]
    source = write(tmp_path / "mine", MINE + more)
    for option, path in (("--root", source), ("--archive", pack(source, "top"))):
        text = project.ok("download", "custom", option, path)
        assert "left out, as only train, val, test are read" in text
        assert "images (1 files), images/extra (1 files)" in text
        assert "labels" not in text
        assert "thumbs" not in text


@pytest.mark.parametrize("near", ["Classes.CSV", "labelmap.txt"])
def test_list_of_classes_of_another_name_is_the_nearest_thing(project: Project, tmp_path, near):
    source = write(tmp_path / "mine", [*MINE[:2], near])
    for text in refused_both_ways(project, source):
        assert "the source lacks classes.csv" in text
        assert f"{near}. Write one" in text


def test_all_that_a_source_lacks_is_named_at_once_with_the_layout_it_has(project, tmp_path):
    source = write(tmp_path / "mine", ["images/train/a.png", "masks/train/a.png"])
    for text in refused_both_ways(project, source):
        assert "the source lacks labels/SPLIT and classes.csv (SPLIT: train, val, test)" in text
        assert "it looks like label maps in a folder of another name" in text


def test_real_exports_are_named(project: Project, shared: Path):
    for case, name in {"layout-bdd100k": "BDD100K", "layout-cvat": "CVAT's"}.items():
        text = project.fails("download", "custom", "--root", shared / "cases" / case)
        assert f"it looks like {name}" in text
