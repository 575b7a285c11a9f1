"""Street datasets in the folders in which they are published, a few pixels each."""

import json

import numpy as np
import pytest
from conftest import Project
from PIL import Image

from sgcp.core.layout import shipped
from sgcp.datasets.class_maps import read_class_map
from sgcp.datasets.classes import cityscapes_classes
from sgcp.datasets.custom_classes import read_classes
from sgcp.labelling.street import IDD_IDS
from sgcp.media.images import read_label, write_png

HEIGHT, WIDTH = 8, 12
MAPILLARY = list(read_class_map("mapillary-cityscapes"))
A2D2 = {"#ff00ff": "RD normal street", "#ff0000": "Car 1", "#c80000": "Car 2", "#87ceff": "Sky"}


def write(root, image, label, road, car, void):
    """Write an image, and its label map: road, a car in it, and nothing above."""
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([*image.encode()]).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(root / image)
    painted = np.array([void, road, car], np.uint8)[scene()]
    write_png(root / label, painted)


def scene():
    """0: nothing, 1: road, 2: car."""
    shape = np.zeros((HEIGHT, WIDTH), np.uint8)
    shape[4:] = 1
    shape[3:6, 2:5] = 2
    return shape


def cityscapes_form(root, folder, truth, ending, image, road, car, void, splits):
    for split in splits:
        stem = f"{split}/ulm/ulm_1"
        write(root, f"{folder}/{stem}_{image}.png", f"{truth}/{stem}_{ending}", road, car, void)


def make(root, form):
    """Write a dataset: two images or more, with a road and a car."""
    root.mkdir()
    if form == "bdd100k":
        for split in ("train", "val"):
            write(root, f"bdd100k/images/10k/{split}/a-1.jpg",
                  f"bdd100k/labels/sem_seg/masks/{split}/a-1.png", 0, 13, 255)  # fmt: skip
    elif form in ("mapillary", "mapillary-1.1"):
        config = {"labels": [{"name": name, "readable": name} for name in MAPILLARY]}
        (root / "config_v1.2.json").write_text(json.dumps(config))
        inner = "v1.2/labels" if form == "mapillary" else "labels"
        road, car, void = map(
            MAPILLARY.index,
            ("construction--flat--road", "object--vehicle--car", "void--unlabeled"),
        )
        for split in ("training", "validation"):
            write(root, f"{split}/images/x_1.jpg", f"{split}/{inner}/x_1.png", road, car, void)
            panoptic = root / split / "v1.2/panoptic/panoptic_2018.json"  # of COCO's form
            panoptic.parent.mkdir(parents=True, exist_ok=True)
            panoptic.write_text('{"images": [], "annotations": [], "categories": []}')
    elif form == "kitti":
        for name in ("000000_10", "000001_10"):
            write(root, f"training/image_2/{name}.png", f"training/semantic/{name}.png", 7, 26, 0)
        write_png(root / "testing/image_2/000000_10.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    elif form == "idd":
        cityscapes_form(root, "leftImg8bit", "gtFine", "gtFine_labellevel3Ids.png", "leftImg8bit",
                        LEVEL_3["road"], LEVEL_3["car"], 255, ("train", "val"))  # fmt: skip
    elif form == "a2d2":
        colors = [tuple(bytes.fromhex(color[1:])) for color in ("#ff00ff", "#c80000", "#00ffff")]
        (root / "class_list.json").write_text(json.dumps(A2D2))
        for number in range(5):
            drive, end = f"2018{number}", f"frontcenter_{number}"
            image = f"{drive}/camera/cam_front_center/2018_camera_{end}.png"
            write(root, image, f"{drive}/label/cam_front_center/2018_label_{end}.png", *colors)
            (root / image).with_suffix(".json").write_text("{}")
    elif form == "acdc":
        for split, kind in (("train", "fog"), ("val", "night")):
            write(root, f"rgb_anon/{kind}/{split}/GOPR1/GOPR1_frame_1_rgb_anon.png",
                  f"gt/{kind}/{split}/GOPR1/GOPR1_frame_1_gt_labelTrainIds.png",
                  0, 13, 255)  # fmt: skip
    elif form == "cityscapes":
        for beta in ("0.01", "0.02"):
            cityscapes_form(root, "leftImg8bit_foggy", "gtFine", "gtFine_labelIds.png",
                            f"leftImg8bit_foggy_beta_{beta}", 7, 26, 1,
                            ("train", "val"))  # fmt: skip
    elif form == "cityscapes-coarse":
        cityscapes_form(root, "leftImg8bit", "gtCoarse", "gtCoarse_labelIds.png", "leftImg8bit",
                        7, 26, 0, ("train_extra", "val"))  # fmt: skip


# What it is called, how many images become train and val.
FORMS = {
    "bdd100k": ("BDD100K", 1, 1),
    "mapillary": ("Mapillary Vistas 1.2", 1, 1),
    "mapillary-1.1": ("as first published", 1, 1),
    "kitti": ("KITTI", 2, 0),
    "idd": ("IDD", 1, 1),
    "a2d2": ("A2D2", 4, 1),
    "acdc": ("ACDC", 1, 1),
    "cityscapes": ("foggy", 2, 2),
    "cityscapes-coarse": ("Cityscapes coarse", 1, 1),
}
MAPS = {
    "mapillary": "mapillary-cityscapes",
    "mapillary-1.1": "mapillary-cityscapes",
    "idd": "idd-cityscapes",
    "a2d2": "a2d2-cityscapes",
}


# level3Id of the labels of AutoNUE's public code.
LEVEL_3 = {
    "road": 0, "sidewalk": 2, "person": 4, "rider": 5, "motorcycle": 6, "bicycle": 7,
    "autorickshaw": 8, "car": 9, "truck": 10, "bus": 11, "curb": 13, "wall": 14, "fence": 15,
    "guard rail": 16, "billboard": 17, "traffic sign": 18, "traffic light": 19, "pole": 20,
    "building": 22, "bridge": 23, "vegetation": 24, "sky": 25,
}  # fmt: skip


def test_classes_of_idd_have_the_numbers_of_its_label_maps():
    assert {name: value for value, name in IDD_IDS.items() if name in LEVEL_3} == LEVEL_3
    assert [*IDD_IDS] == [*range(26)]


@pytest.fixture
def desk(tmp_path):
    return Project(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_a_dataset_is_recognised_and_becomes_the_19_classes(desk, form):
    make(desk.root / "there", form)
    called, train, val = FORMS[form]
    options = ["--map", MAPS[form]] if form in MAPS else []
    text = desk.ok("import-labels", "there", "--out", "mine", *options)
    assert called in text
    names = [item.name for item in read_classes(desk.root / "mine/classes.csv").classes]
    assert {"road", "car"} <= {*names} <= {item.name for item in cityscapes_classes()}
    wanted = np.array([255, names.index("road"), names.index("car")])[scene()]
    for split, count in (("train", train), ("val", val)):
        labels = sorted((desk.root / f"mine/labels/{split}").rglob("*.png"))
        images = sorted((desk.root / f"mine/images/{split}").rglob("*.*"))
        assert len(labels) == len(images) == count
        for path in labels:
            np.testing.assert_array_equal(read_label(path), wanted)


def test_a_map_from_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "map.csv"
    path.write_text("\ufefffrom,to\r\nroad , Road\r\n,\r\nsky,Sky\r\n\r\n", encoding="utf-8")
    assert read_class_map(str(path)) == {"road": "Road", "sky": "Sky"}


def test_folders_of_drives_remain(desk):
    make(desk.root / "there", "acdc")
    desk.ok("import-labels", "there", "--out", "mine")
    (path,) = (desk.root / "mine/images/train").rglob("*.png")
    assert path.parent == desk.root / "mine/images/train/fog/GOPR1"


def test_without_a_map_classes_keep_their_names(desk):
    make(desk.root / "there", "a2d2")
    desk.ok("import-labels", "there", "--out", "mine")
    names = [item.name for item in read_classes(desk.root / "mine/classes.csv").classes]
    assert names == [*A2D2.values()]


def test_two_truths_of_one_image_are_a_question(desk):
    make(desk.root / "there", "cityscapes-coarse")
    cityscapes_form(desk.root / "there", "leftImg8bit", "gtFine", "gtFine_labelIds.png",
                    "leftImg8bit", 7, 26, 0, ("val",))  # fmt: skip
    assert "Say which with --format" in desk.fails("import-labels", "there", "--out", "mine")
    desk.ok("import-labels", "there", "--out", "mine", "--format", "cityscapes", "--val", "0")


@pytest.mark.parametrize(
    ("form", "missing", "message"),
    [("mapillary", "config_v1.2.json", "which names the classes"),
     ("a2d2", "class_list.json", "class_list.json in it or above")],
)  # fmt: skip
def test_a_missing_list_of_classes_is_named(desk, form, missing, message):
    make(desk.root / "there", form)
    (desk.root / "there" / missing).unlink()
    assert message in desk.fails("import-labels", "there", "--out", "mine")


@pytest.mark.parametrize("path", sorted((shipped() / "pipeline/classes").glob("*.csv")),
                         ids=lambda path: path.stem)  # fmt: skip
def test_every_map_leads_to_classes_that_exist(path):
    names = read_class_map(path.stem)
    target = path.stem.partition("-")[2]
    known = {item.name for item in cityscapes_classes()}
    if target == "camvid":
        assert names.keys() == known
    else:
        assert {*names.values()} - {"ignore"} <= known
    assert read_class_map(str(path)) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\n", "expected the columns `from,to`"), ("from,to\nroad\n", "line 2: expected two names"),
     ("from,to\nroad,a\nroad,b\n", "line 3: road has two targets"),
     ("from,to\nRD normal street,road\n", "mine.csv for there: does not list Car 1, Car 2, Sky")],
)  # fmt: skip
def test_a_wrong_map_is_refused(desk, text, message):
    make(desk.root / "there", "a2d2")
    (desk.root / "mine.csv").write_text(text)
    options = ("--out", "mine", "--map", "mine.csv")
    assert message in desk.fails("import-labels", "there", *options)
    unknown = desk.fails("import-labels", "there", "--out", "mine", "--map", "idd-camvid")
    assert "Known by name: a2d2-cityscapes, cityscapes-camvid" in unknown


def test_several_datasets_become_one_with_a_folder_each(desk):
    make(desk.root / "idd", "idd")
    make(desk.root / "acdc", "acdc")
    text = desk.ok("import-labels", "idd", "acdc", "--out", "both",
                   "--map", "idd-cityscapes", "--map", "-")  # fmt: skip
    assert "both: 2 train, 2 val" in text
    names = [item.name for item in read_classes(desk.root / "both/classes.csv").classes]
    assert len(names) == len(set(names)) == 19
    wanted = np.array([255, names.index("road"), names.index("car")])[scene()]
    for place in ("train/idd/ulm", "val/idd/ulm", "train/acdc/fog/GOPR1", "val/acdc/night/GOPR1"):
        (path,) = (desk.root / "both/labels" / place).iterdir()
        np.testing.assert_array_equal(read_label(path), wanted)
    text = desk.fails("import-labels", "idd", "acdc", "--out", "x", "--map", "idd-cityscapes")
    assert "--map: expected one for each of 2 folders" in text
    desk.ok("import-labels", "idd", "acdc", "--out", "same", "--map", "idd-cityscapes", "--map",
            "-", "--format", "idd", "--format", "acdc")  # fmt: skip
    text = desk.fails("import-labels", "idd", "acdc", "idd", "--out", "x", "--format", "idd",
                      "--format", "acdc")  # fmt: skip
    assert "--format: expected one for all or each of 3 folders" in text
    assert "Leave it out" in desk.fails("import-labels", "idd", "--out", "x", "--unlabelled", "b")
    text = desk.fails("import-labels", "idd", "idd", "--out", "x")
    assert "several images, or labels of one, become" in text


def test_a_mixed_dataset_is_trained_with_weights(desk):
    for form in ("idd", "acdc"):
        make(desk.root / form, form)
    desk.ok(
        "import-labels", "idd", "acdc", "--out", "both", "--map", "idd-cityscapes", "--map", "-"
    )
    desk.ok("init", "streets", "--custom", "both")
    streets = Project(desk.root / "streets")
    for command in ("download", "prepare"):
        streets.ok(command, "custom")
    brief = (
        "--set",
        "epochs=1",
        "--set",
        "crop=[8, 8]",
        "--set",
        "batch_size=2",
        "--set",
        "validate_every=1",
    )
    text = streets.fails("train", "custom", *brief, "--set", "weights={bdd: 2}")
    assert "train.weights: no images of bdd. Choose of acdc, idd" in text
    streets.ok("train", "custom", *brief, "--holdout", "acdc", "--set", "weights={acdc: 5, idd: 2}")
    text = streets.ok("train", "custom", *brief, "--set", "weights={acdc: 5}")
    assert "on 2 images of custom, 1 epochs, 3 steps each" in text  # 1 + 5 images
