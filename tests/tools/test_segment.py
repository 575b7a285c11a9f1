"""``sgcp segment``: anybody's images, in any folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Project
from networks import random_image, save_random
from PIL import Image

import sgcp
from sgcp.datasets.label_files import read_meaning, train_ids_of
from sgcp.media.images import read_png_text
from sgcp.tools.segment import render
from sgcp.tools.segment_inputs import name_outputs


@pytest.fixture
def desk(tmp_path):
    """A folder without a project: a model, two images by name, two in a folder."""
    save_random(tmp_path)
    (tmp_path / "trip/day").mkdir(parents=True)
    for number, name in enumerate(["street.jpg", "grey.png", "trip/a.png", "trip/day/street.JPG"]):
        image = Image.fromarray(random_image(40, 56, number))
        (image.convert("L") if name == "grey.png" else image).save(tmp_path / name)
    return Project(tmp_path)


def segment(desk, *arguments):
    return desk.ok("segment", *arguments, "--model", "model.safetensors")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_each_image_gets_a_label_map_and_an_overlay(desk):
    text = segment(desk, "street.jpg", "grey.png", "trip")
    assert "segmented: 4 of 4 images" in text
    stems = ["a", "day/street", "grey", "street"]
    assert files(desk.root / "segmented") == sorted(
        f"{stem}_{kind}.png" for stem in stems for kind in ("labels", "overlay")
    )
    model = sgcp.load(desk.root / "model.safetensors")
    image = np.array(Image.open(desk.root / "street.jpg"))
    labels = Image.open(desk.root / "segmented/street_labels.png")
    assert (np.array(labels) == model.segment(image)).all()
    colors = np.array([item.color for item in model.classes])[np.array(labels)]
    overlay = np.array(Image.open(desk.root / "segmented/street_overlay.png"))
    assert np.abs(overlay - (image / 2 + colors / 2)).max() <= 0.5


def test_label_maps_say_which_class_each_index_is(desk):
    segment(desk, "street.jpg")
    said = read_meaning(read_png_text(desk.root / "segmented/street_labels.png"))
    model = sgcp.load(desk.root / "model.safetensors")
    assert said == train_ids_of(model.classes, model.card.dataset)
    assert said.encoding == "train-ids"
    assert list(said.classes) == [item.name for item in model.classes]


def test_what_is_not_wanted_is_not_written(desk):
    segment(desk, "street.jpg", "--no-labels", "--no-overlay", "--colors", "--out", "x")
    assert names(desk.root / "x") == ["street_colors.png"]
    text = desk.fails("segment", "street.jpg", "--no-labels", "--no-overlay", "--model", ".")
    assert "no output selected" in text


def test_sub_folders_are_kept(desk, monkeypatch):
    """Frames of equal names in several folders keep apart, below the folders they came from."""
    for folder in ("drive/one/left", "drive/two/left"):
        (desk.root / folder).mkdir(parents=True)
        Image.fromarray(random_image(40, 56)).save(desk.root / folder / "0001.png")
    expected = ["one/left/0001_labels.png", "two/left/0001_labels.png"]
    for out, paths in {
        "below one": ["drive"],
        "several": ["drive/one", "drive/two"],
        "pattern": ["drive/*/left/*.png"],
        "absolute": [desk.root / "drive/one/left", desk.root / "drive/two/left"],
    }.items():
        segment(desk, *paths, "--no-overlay", "--out", out)
        assert files(desk.root / out) == expected, out
    segment(desk, "drive/one/left", "street.jpg", "--no-overlay", "--out", "mixed")
    assert files(desk.root / "mixed") == ["0001_labels.png", "street_labels.png"]


def test_a_second_run_skips_what_is_finished(desk):
    text = segment(desk, "street.jpg", "grey.png")
    assert "skipped" not in text
    made = {path: path.stat().st_mtime_ns for path in (desk.root / "segmented").iterdir()}
    (desk.root / "segmented/grey_overlay.png").unlink()  # as a kill would leave it
    text = segment(desk, "street.jpg", "grey.png", "trip", "--json", "result.json")
    assert "segmented: 4 of 4 images, 1 of them skipped as finished" in text
    result = json.loads((desk.root / "result.json").read_text())
    assert (result["labelled"], result["skipped"]) == (3, 1)
    for name in ("street_labels.png", "street_overlay.png"):
        path = desk.root / "segmented" / name
        assert path.stat().st_mtime_ns == made[path]
    text = segment(desk, "street.jpg", "grey.png", "trip", "--force")
    assert "skipped" not in text


@pytest.mark.parametrize("changed", ["options", "model", "image", "labels"])
def test_outputs_made_otherwise_are_neither_skipped_nor_overwritten(desk, changed):
    segment(desk, "street.jpg")
    before = {p: p.read_bytes() for p in (desk.root / "segmented").iterdir()}
    options = ["--flip"] if changed == "options" else []
    if changed == "model":
        save_random(desk.root, input_side=48)
    elif changed == "image":
        Image.fromarray(random_image(40, 56, 7)).save(desk.root / "street.jpg")
    elif changed == "labels":  # edited by hand
        path = desk.root / "segmented/street_labels.png"
        Image.open(path).save(path)
        before[path] = path.read_bytes()
    text = desk.fails("segment", "street.jpg", *options, "--model", "model.safetensors")
    assert "street_labels.png" in text
    assert "Pass --force" in text
    assert {p: p.read_bytes() for p in (desk.root / "segmented").iterdir()} == before
    segment(desk, "street.jpg", "--force", *options)


def test_interrupted_says_to_run_again_and_running_again_resumes(desk, monkeypatch):
    written = []

    def stop(*given):
        if written:
            raise KeyboardInterrupt
        written.append(given)
        return render(*given)

    with monkeypatch.context() as patch:
        patch.setattr("sgcp.tools.segment.render", stop)
        result = desk.run("segment", "street.jpg", "grey.png", "trip", "--model", ".")
    assert result.exit_code == 130
    assert "Run the command again to continue" in result.stderr
    assert "4 of 4 images, 1 of them skipped" in desk.ok(
        "segment", "street.jpg", "grey.png", "trip", "--model", "."
    )


def test_results_of_another_time_are_no_images(desk):
    for options in ([], ["--force"]):
        assert "4 of 4 images" in segment(desk, ".", *options)
    assert len(files(desk.root / "segmented")) == 8


def test_a_image_is_not_written_over_while_it_is_read(desk):
    (desk.root / "street_overlay.png").write_bytes((desk.root / "grey.png").read_bytes())
    text = desk.fails("segment", "street.jpg", "street_overlay.png", "--out", ".", "--force",
                      "--model", ".")  # fmt: skip
    assert "street_overlay.png: is both an input and an output" in text


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_a_folder_in_the_place_of_an_output_is_one_message(desk, options):
    (desk.root / "segmented/street_labels.png").mkdir(parents=True)
    text = desk.fails("segment", "street.jpg", "--model", ".", *options)
    assert "segmented/street_labels.png: is a folder" in text
    assert "--force" not in text


def test_a_image_given_twice_is_labelled_once(desk):
    text = segment(desk, "street.jpg", desk.root / "street.jpg", "./street.jpg")
    assert "1 of 1 images" in text


def test_names_stay_below_the_output_folder(tmp_path):
    images = map(Path, ["a/1.png", "/1.png", "b/1.png", "c/b/1.png", "A/1.PNG"])
    named = name_outputs(dict.fromkeys(images, Path()), tmp_path).values()
    stems = [path.relative_to(tmp_path).as_posix() for path in named]
    assert stems == ["1", "1.png", "b_1.png", "b_1.png_2", "A_1.PNG"]


def test_options_are_those_of_the_segmenter(desk):
    from sgcp.inference.tta import InferenceOptions

    segment(desk, "street.jpg", "--flip", "--scale", "1", "--scale", "1.5", "--window", "24", "32",
            "--input-size", "80", "112")  # fmt: skip
    model = sgcp.load(desk.root / "model.safetensors")
    image = np.array(Image.open(desk.root / "street.jpg"))
    labels = np.array(Image.open(desk.root / "segmented/street_labels.png"))
    views = InferenceOptions(flip=True, scales=(1.0, 1.5), window=(24, 32))
    assert (labels == model.segment(image, (80, 112), views)).all()
    assert (labels != model.segment(image)).any()


def test_a_damaged_image_is_named_and_the_others_are_labelled(desk):
    path = desk.root / "trip/a.png"
    path.write_bytes(path.read_bytes()[:200])
    result = desk.run("segment", "trip", "street.jpg", "--model", ".")
    assert result.exit_code == 1
    assert "left out: trip/a.png" in result.output
    assert "segmented: 2 of 3 images" in result.output
    assert not list((desk.root / "segmented").glob("a_*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg"], "no such file or folder"),
        (["empty"], "empty: no image or video"),
        (["street.jpg", "--scale", "0"], "--scale: "),
        (["street.jpg", "--window", "0", "8"], "--window: "),
        (["street.jpg", "--model", "nobody"], "no model 'nobody'"),
        (["street.jpg", "--alpha", "1.5"], "--alpha: "),
        (["street.jpg", "--alpha", "nan"], "--alpha: "),
    ],
)
def test_wrong_arguments_are_refused(desk, arguments, message):
    (desk.root / "empty").mkdir()
    options = [] if "--model" in arguments else ["--model", "."]
    assert message in desk.fails("segment", *arguments, *options)
