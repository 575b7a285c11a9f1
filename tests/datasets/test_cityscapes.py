import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.datasets import cityscapes
from sgcp.datasets.foreign_layouts import explain_layout
from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.sample import generate_sample

COUNTS = {"train": 3, "val": 2, "test": 1}


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    generate_sample(raw, 7, (64, 128), COUNTS, 1)
    return raw


@pytest.fixture
def raw(generated, tmp_path):
    return Path(shutil.copytree(generated, tmp_path / "raw"))


def prepare(raw: Path, expected=COUNTS, allow_missing=False, workers=1):
    return cityscapes.prepare_cityscapes(
        raw, raw / "out", "sample", "procedural", expected, allow_missing, workers
    )


def first(raw: Path, pattern: str) -> Path:
    return sorted(raw.glob(pattern))[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_label_maps_equal_those_of_the_official_converter(raw, workers):
    prepare(raw, workers=workers)
    script = Path(sys.executable).with_name("csCreateTrainIdLabelImgs")
    subprocess.run(
        [script], env=os.environ | {"CITYSCAPES_DATASET": str(raw)}, check=True, capture_output=True
    )
    ours = sorted((raw / "out/labels").rglob("*.png"))
    assert len(ours) == COUNTS["train"] + COUNTS["val"]
    for path in ours:
        official = raw / "gtFine" / path.relative_to(raw / "out/labels")
        with Image.open(path) as mine, Image.open(official) as theirs:
            assert (mine.mode, mine.size) == (theirs.mode, theirs.size)
            assert mine.tobytes() == theirs.tobytes(), path.name


def test_index_tells_city_size_and_missing_test_labels(raw):
    items = prepare(raw).items
    assert {item.sequence for item in items if item.split == "train"} == {"arcburg", "bridgeton"}
    assert {(item.height, item.width) for item in items} == {(64, 128)}
    assert [item.label for item in items if item.split == "test"] == [None]


def change(path: Path, **content) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | content))


SQUARE = [[0, 0], [9, 0], [9, 9]]


DELETED = [
    {"label": "car", "polygon": [[0, 0], [90, 0], [90, 60]], "deleted": 1},
    {"label": "unicorn", "polygon": SQUARE, "deleted": True},
    {"label": "car", "polygon": [], "deleted": 1},
    {"label": "person", "polygon": [[1, 1]], "deleted": 1},
]
DRAWN = [
    {"label": "road", "polygon": [[0, 0], [127, 0], [127, 63], [0, 63]], "deleted": 0},
    {"label": "car", "polygon": SQUARE, "deleted": None},
    {"label": "license plate", "polygon": []},
    {"label": "license plate", "polygon": [[3, 3]]},
    {"label": "person", "polygon": [[20, 20], [50, 50]]},
    {"label": "car", "polygon": [[60, 10], [90, 10], [90, 40]]},
]


def test_deleted_objects_are_skipped_as_by_the_official_converters_and_counted(raw, capsys):
    from cityscapesscripts.preparation.json2instanceImg import json2instanceImg
    from cityscapesscripts.preparation.json2labelImg import json2labelImg

    path = first(raw, "gtFine/train/*/*_polygons.json")
    change(path, objects=[DRAWN[0], *DELETED, *DRAWN[1:]])
    official = [raw / "official_labels.png", raw / "official_instances.png"]
    json2labelImg(str(path), str(official[0]), "trainIds")
    json2instanceImg(str(path), str(official[1]), "ids")
    item = prepare(raw).items[0]
    labels, instances = (np.array(Image.open(each)) for each in official)
    assert np.array_equal(np.array(Image.open(raw / "out" / item.label)), labels)
    assert set(np.unique(labels)) == {0, 11, 13}
    truth = read_ground_truth(raw / "out", item)
    assert np.array_equal(truth.train_ids[truth.segments], labels)
    assert np.array_equal(truth.objects[truth.segments] == 13, instances // 1000 == 26)
    assert "4 objects marked as deleted, in 1 annotations, are not drawn" in capsys.readouterr().out


@pytest.mark.parametrize(
    "broken",
    [
        {"label": "unicorn", "polygon": SQUARE},
        {"label": "group", "polygon": SQUARE},
        {"label": None, "polygon": SQUARE},
        {"label": "car", "polygon": []},
        {"label": "unlabeled", "polygon": [[1, 1]]},
        {"label": "car", "polygon": [["1", "2"], [3, 4]]},
    ],
)
def test_an_object_that_the_official_converter_cannot_draw_is_refused(raw, broken, capsys):
    from cityscapesscripts.preparation.json2labelImg import json2labelImg

    path = first(raw, "gtFine/train/*/*_polygons.json")
    change(path, objects=[broken])
    with pytest.raises((SystemExit, TypeError, ValueError)):
        json2labelImg(str(path), str(raw / "official.png"), "trainIds")
    with pytest.raises(SgcpError, match=path.name):
        prepare(raw)


def break_pairs(raw: Path) -> None:
    """Leave an image without polygons and polygons without an image."""
    first(raw, "gtFine/val/*/*_polygons.json").unlink()
    first(raw, "leftImg8bit/train/*/*.png").unlink()


def test_files_without_counterpart_are_refused_with_both_counts_and_both_ways_out(raw):
    break_pairs(raw)
    with pytest.raises(SgcpError) as caught:
        prepare(raw)
    text = str(caught.value)
    assert "images without a label map: 1 (leftImg8bit/val/" in text
    assert "; expected gtFine/val/" in text
    assert "label maps without an image: 1 (gtFine/train/" in text
    assert "Complete the dataset, or leave these files out: `sgcp prepare sample --allow" in text


def test_files_without_counterpart_are_left_out_where_allowed_and_reported(raw, capsys):
    break_pairs(raw)
    items = prepare(raw, allow_missing=True).items
    assert [item.split for item in items] == ["train", "train", "val", "test"]
    assert all((raw / item.image).is_file() for item in items)
    said = capsys.readouterr().out
    assert "left out images without a label map: 1 (leftImg8bit/val/" in said
    assert "label maps without an image: 1 (gtFine/train/" in said
    assert "1 of 3 train images, 1 of 2 val images are missing" in said


def test_equal_names_in_two_cities_are_not_taken_for_a_pair(raw):
    label = first(raw, "gtFine/val/*/*_polygons.json")
    (raw / "gtFine/val/elsewhere").mkdir()
    label.rename(raw / "gtFine/val/elsewhere" / label.name)
    with pytest.raises(SgcpError, match=r"images without a label map: 1 .*map.* image: 1 \(gtFine"):
        prepare(raw)


def test_a_link_whose_file_is_gone_is_a_missing_file(raw):
    image = first(raw, "leftImg8bit/val/*/*.png")
    image.unlink()
    image.symlink_to(raw / "gone.png")
    assert len(prepare(raw, allow_missing=True).items) == sum(COUNTS.values()) - 1


@pytest.mark.parametrize("allow_missing", [False, True])
@pytest.mark.parametrize("gone", ["leftImg8bit/train leftImg8bit/val", "gtFine/train gtFine/val"])
def test_nothing_with_a_label_is_never_a_success(raw, gone, allow_missing):
    for folder in gone.split():
        shutil.rmtree(raw / folder)
    with pytest.raises(SgcpError) as caught:
        prepare(raw, allow_missing=allow_missing)
    text = str(caught.value)
    assert "no image has a label map. Looked for leftImg8bit/train|val/CITY/NAME_left" in text
    missing = "images" if gone.startswith("gtFine") else "label maps"
    assert f"found {missing} without a" in text
    assert ": 5 (" in text
    assert "--allow-missing" not in text


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (
            "leftImg8bit/train/aachen/a_leftImg8bit.png",
            "leftImg8bit/train/aachen/a_leftImg8bit.png",
        ),
        ("cs/gtFine/val/ulm/a_gtFine_polygons.json", "gtFine/val/ulm/a_gtFine_polygons.json"),
        ("gtFine/val/ulm/a_gtFine_labelTrainIds.png", None),
        ("gtFine/val/ulm/a_gtFine_color.png", None),
        ("leftImg8bit/val/ulm/a_leftImg8bit_foggy_beta_0.02.png", None),
        ("leftImg8bit/val/ulm/._a_leftImg8bit.png", None),
        ("README", None),
        ("leftImg8bit/demoVideo/stuttgart_00/a.png", None),
    ],
)
def test_members_find_their_place(name, place):
    assert cityscapes.raw_path(name) == (Path(place) if place else None)


IMAGE, POLYGONS = "leftImg8bit/train/ulm/ulm_1_leftImg8bit.png", "gtFine/train/ulm/ulm_1"
FINE = f"{POLYGONS}_gtFine_polygons.json"
FOGGY = "leftImg8bit_foggy/train/ulm/ulm_1_leftImg8bit_foggy_beta_0.02.png"
RAIN = "leftImg8bit_rain/train/ulm/ulm_1_leftImg8bit_rain_alpha_0.01_pattern_1.png"
FOREIGN = [
    (["leftImg8bit/train/ulm/ulm_1_leftImg8bit.jpg", FINE], "images in another format"),
    (["leftImg8bit/train/ulm/ulm_1.png", FINE], "images with other names"),
    ([FOGGY, FINE], "Foggy Cityscapes"),
    ([FOGGY.replace("leftImg8bit_foggy/", "leftImg8bit/"), FINE], "Foggy Cityscapes"),
    ([RAIN, FINE], "RainCityscapes"),
    (["rightImg8bit/train/ulm/ulm_1_rightImg8bit.png", FINE], "images of another camera or depth"),
    (["leftImg8bit/train/ulm_1_leftImg8bit.png", FINE], "images or polygons without a folder"),
    (["leftImg8bit_trainvaltest.zip", FINE], "archives that are not unpacked"),
    (["gtCoarse/train/ulm/ulm_1_gtCoarse_polygons.json"], "Cityscapes' coarse annotations"),
    ([f"{POLYGONS}_gtFine_labelIds.png"], "Cityscapes' label maps without their polygons"),
    ([f"{POLYGONS}_gtFine_labelTrainIds.png"], "Cityscapes' label maps without their polygons"),
    (["rgb_anon/train/night/G1/G1_frame_1_rgb_anon.png"], "ACDC or Dark Zurich"),
    (["train/ulm/ulm_1_leftImg8bit.png"], "a folder within leftImg8bit or gtFine"),
    (["ulm_1_gtFine_polygons.json"], "a folder within leftImg8bit or gtFine"),
]


@pytest.mark.parametrize("above", ["", "data/cityscapes/"])
@pytest.mark.parametrize(("names", "layout"), FOREIGN)
def test_layout_of_another_dataset_is_named(names, layout, above):
    # What has a place is not among the names to explain.
    others = [name for name in names if cityscapes.raw_path(name) is None] or names
    text = explain_layout(cityscapes.LAYOUTS, [above + name for name in others])
    assert text.startswith(f"it looks like {layout}")
    assert f"(found {above}{others[0]}). " in text


@pytest.mark.parametrize(
    ("names", "lacks"),
    [(FOREIGN[0][0], "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png: it looks like images in anoth"),
     ([IMAGE, "notes/a.txt"], "gtFine/SPLIT/CITY/NAME_gtFine_polygons.json: found 1 .txt files"),
     (["a.txt"], "NAME_leftImg8bit.png and gtFine/SPLIT/CITY/NAME_gtFine_polygons.json: found")],
)  # fmt: skip
def test_what_a_source_lacks_is_named_with_what_it_has(project, tmp_path, names, lacks):
    for name in names:
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(b"x")
    text = project.fails("download", "cityscapes", "--root", tmp_path / "source")
    assert "the source lacks " in text
    assert lacks in text


def test_folders_above_and_archives_unpacked_one_level_deeper_are_read(raw, project):
    deeper = raw.parent / "source"
    for part in ("leftImg8bit", "gtFine"):
        (deeper / f"{part}_trainvaltest").mkdir(parents=True)
        (raw / part).rename(deeper / f"{part}_trainvaltest" / part)
    project.ok("download", "cityscapes", "--root", deeper)
    assert "3 train, 2 val, 1 test" in project.ok("prepare", "cityscapes", "--allow-missing")


def test_images_that_are_not_read_are_reported_beside_those_that_are(raw, project):
    shutil.copy(first(raw, "leftImg8bit/val/*/*"), raw / "leftImg8bit/val/extra_leftImg8bit.jpg")
    said = project.ok("download", "cityscapes", "--root", raw)
    assert "left out 1 images (leftImg8bit/val/extra_leftImg8bit.jpg): only leftImg8bit/" in said


def test_a_test_split_alone_is_refused_and_counted(raw):
    for part in ("leftImg8bit", "gtFine"):
        for split in ("train", "val"):
            shutil.rmtree(raw / part / split)
    with pytest.raises(SgcpError, match="found test images, which need none: 1"):
        prepare(raw, allow_missing=True)
