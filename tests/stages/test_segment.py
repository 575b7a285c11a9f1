"""``sgcp segment``: anybody's pictures, in any folder."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Project
from networks import picture, save_random
from PIL import Image

import sgcp
from sgcp.stages.segment import name_outputs


@pytest.fixture
def desk(tmp_path):
    """A folder without a project: a model, two pictures by name, two in a folder."""
    save_random(tmp_path)
    (tmp_path / "trip/day").mkdir(parents=True)
    for number, name in enumerate(["street.jpg", "grey.png", "trip/a.png", "trip/day/street.JPG"]):
        image = Image.fromarray(picture(40, 56, number))
        (image.convert("L") if name == "grey.png" else image).save(tmp_path / name)
    return Project(tmp_path)


def segment(desk, *arguments):
    return desk.ok("segment", *arguments, "--model", "model.safetensors")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_picture_gets_a_label_map_and_an_overlay(desk):
    text = segment(desk, "street.jpg", "grey.png", "trip")
    assert "segmented: 4 of 4 pictures" in text
    stems = ["a", "day_street.JPG", "grey", "street"]
    assert names(desk.root / "segmented") == sorted(
        f"{stem}_{kind}.png" for stem in stems for kind in ("labels", "overlay")
    )
    model = sgcp.load(desk.root / "model.safetensors")
    image = np.array(Image.open(desk.root / "street.jpg"))
    labels = Image.open(desk.root / "segmented/street_labels.png")
    assert (np.array(labels) == model.segment(image)).all()
    colors = np.array([item.color for item in model.classes])[np.array(labels)]
    overlay = np.array(Image.open(desk.root / "segmented/street_overlay.png"))
    assert np.abs(overlay - (image / 2 + colors / 2)).max() <= 0.5


def test_what_is_not_wanted_is_not_written(desk):
    segment(desk, "street.jpg", "--no-labels", "--no-overlay", "--colors", "--out", "x")
    assert names(desk.root / "x") == ["street_colors.png"]
    text = desk.fails("segment", "street.jpg", "--no-labels", "--no-overlay", "--model", ".")
    assert "nothing to write" in text


def test_files_are_not_written_over_unasked(desk):
    segment(desk, "street.jpg")
    text = desk.fails("segment", "street.jpg", "--model", "model.safetensors")
    assert "segmented/street_labels.png and 1 more: is there already; --force" in text
    segment(desk, "street.jpg", "--force", "--flip")


def test_results_of_another_time_are_no_pictures(desk):
    for options in ([], ["--force"]):
        assert "4 of 4 pictures" in segment(desk, ".", *options)
    assert len(names(desk.root / "segmented")) == 8


def test_a_picture_is_not_written_over_while_it_is_read(desk):
    (desk.root / "street_overlay.png").write_bytes((desk.root / "grey.png").read_bytes())
    text = desk.fails("segment", "street.jpg", "street_overlay.png", "--out", ".", "--force",
                      "--model", ".")  # fmt: skip
    assert "street_overlay.png: would be written over" in text


def test_a_picture_given_twice_is_labelled_once(desk):
    text = segment(desk, "street.jpg", desk.root / "street.jpg", "./street.jpg")
    assert "1 of 1 pictures" in text


def test_names_stay_below_the_output_folder(tmp_path):
    pictures = map(Path, ["a/1.png", "/1.png", "b/1.png", "c/b/1.png", "A/1.PNG"])
    named = name_outputs(list(pictures), tmp_path).values()
    stems = [path.relative_to(tmp_path).as_posix() for path in named]
    assert stems == ["1", "1.png", "b_1.png", "b_1.png_2", "A_1.PNG"]


def test_options_are_those_of_the_segmenter(desk):
    from sgcp.inference.views import Views

    segment(desk, "street.jpg", "--flip", "--scale", "1", "--scale", "1.5", "--window", "24", "32",
            "--input-size", "80", "112")  # fmt: skip
    model = sgcp.load(desk.root / "model.safetensors")
    image = np.array(Image.open(desk.root / "street.jpg"))
    labels = np.array(Image.open(desk.root / "segmented/street_labels.png"))
    views = Views(flip=True, scales=(1.0, 1.5), window=(24, 32))
    assert (labels == model.segment(image, (80, 112), views)).all()
    assert (labels != model.segment(image)).any()


def test_a_damaged_picture_is_named_and_the_others_are_labelled(desk):
    path = desk.root / "trip/a.png"
    path.write_bytes(path.read_bytes()[:200])
    result = desk.run("segment", "trip", "street.jpg", "--model", ".")
    assert result.exit_code == 1
    assert "left out: trip/a.png" in result.output
    assert "segmented: 2 of 3 pictures" in result.output
    assert not list((desk.root / "segmented").glob("a_*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg"], "no such file or folder"),
        (["empty"], "no picture below it"),
        (["street.jpg", "--scale", "0"], "--scale: 0.01 .. 16.0"),
        (["street.jpg", "--window", "0", "8"], "--window: height and width"),
        (["street.jpg", "--model", "nobody"], "no model 'nobody'"),
        (["street.jpg", "--device", "gpu"], "'auto', 'cpu' or 'cuda', got 'gpu'"),
    ],
)
def test_wrong_arguments_are_refused(desk, arguments, message):
    (desk.root / "empty").mkdir()
    options = [] if "--model" in arguments else ["--model", "."]
    assert message in desk.fails("segment", *arguments, *options)
