"""Stages ``predict`` and ``package``: label ids, the zip, and what keeps it from being written."""

import json
import os
import shutil
import zipfile
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from networks import change_weights
from PIL import Image

from sgcp.core.files import building_folder
from sgcp.datasets.classes import cityscapes_classes
from sgcp.datasets.label_files import ids_of, read_meaning, write_labels
from sgcp.media.images import read_label, read_png_text

LABEL_IDS = {item.label_id for item in cityscapes_classes()}


def test_predictions_are_label_ids_at_original_size(trained):
    paths = sorted((trained.root / "data/predictions/sample").iterdir())
    assert [path.name for path in paths] == [
        "dunham_000000_000019.png", "dunham_000001_000019.png",
    ]  # fmt: skip
    for path in paths:
        image = Image.open(path)
        assert (image.mode, image.size) == ("L", (128, 64))
        assert set(np.unique(np.array(image)).tolist()) <= LABEL_IDS


def test_predictions_say_that_they_are_label_ids(trained):
    for path in (trained.root / "data/predictions/sample").iterdir():
        said = read_meaning(read_png_text(path))
        assert replace(said, model="", image="") == ids_of(cityscapes_classes(), "sample")
        assert (said.encoding, said.classes["road"]) == ("ids", 7)


def test_zip_holds_the_predictions_and_nothing_else(trained):
    folder = trained.root / "data/submissions/sample"
    with zipfile.ZipFile(folder / "test_result.zip") as archive:
        assert archive.testzip() is None
        packed = {name: archive.read(name) for name in archive.namelist()}
    predictions = trained.root / "data/predictions/sample"
    assert packed == {path.name: path.read_bytes() for path in predictions.iterdir()}
    report = json.loads((folder / "check.json").read_text())
    assert report["images"] == 2
    assert report["problems"] == []


@pytest.mark.parametrize("compression", [0, 1, 9])
def test_members_are_plain_files_of_one_date_packed_as_asked(trained, compression):
    trained.set(sample__package__compression=compression)
    trained.ok("package-submission", "sample")
    with zipfile.ZipFile(trained.root / "data/submissions/sample/test_result.zip") as archive:
        members = archive.infolist()
    assert [m.filename for m in members] == sorted(m.filename for m in members)
    for member in members:
        assert "/" not in member.filename
        assert member.date_time == (1980, 1, 1, 0, 0, 0)
        assert member.external_attr >> 16 == 0o644
        packed = zipfile.ZIP_DEFLATED if compression else zipfile.ZIP_STORED
        assert member.compress_type == packed
    report = json.loads((trained.root / "data/submissions/sample/check.json").read_text())
    assert report["allowed_ids"]["26"] == "car"
    assert (report["images"], report["protocol"], report["passed"]) == (2, "cityscapes-19", True)


def test_level_of_compression_is_used(trained):
    path, sizes = trained.root / "data/submissions/sample/test_result.zip", []
    for prediction in (trained.root / "data/predictions/sample").iterdir():
        image = Image.open(prediction)  # a PNG of no compression, so that the zip's own shows
        image.save(prediction, compress_level=0)
    for level in (1, 9):
        trained.set(sample__package__compression=level)
        trained.ok("package-submission", "sample")
        sizes.append(path.stat().st_size)
    assert sizes[1] < sizes[0]


def test_missing_predictions_name_the_command_that_makes_them(trained):
    shutil.rmtree(trained.root / "data/predictions")
    text = trained.fails("package-submission", "sample")
    assert "not found; run `sgcp predict sample` first" in text


def test_same_predictions_give_the_same_zip(trained):
    path = trained.root / "data/submissions/sample/test_result.zip"
    before = path.read_bytes()
    os.utime(trained.root / "data/predictions/sample/dunham_000000_000019.png", (0, 0))
    trained.ok("package-submission", "sample")
    assert path.read_bytes() == before


def test_wrong_predictions_are_all_listed_and_no_zip_is_written(trained):
    shutil.rmtree(trained.root / "data/submissions")
    folder = trained.root / "data/predictions/sample"
    (folder / "dunham_000000_000019.png").unlink()
    Image.fromarray(np.full((64, 128), 3, np.uint8)).save(folder / "dunham_000001_000019.png")
    (folder / "thumbs.db").write_bytes(b"x")
    text = trained.fails("package-submission", "sample")
    for problem in ("3 problem(s)", "no prediction (1)", "ids [3]", "thumbs.db"):
        assert problem in text
    assert not list((trained.root / "data").rglob("*.zip"))


def test_an_incomplete_test_split_is_not_blamed_on_the_predictions(trained):
    for part in ("raw", "prepared", "models", "predictions"):
        shutil.copytree(
            trained.root / f"data/{part}/sample", trained.root / f"data/{part}/cityscapes"
        )
    description = trained.root / "data/prepared/cityscapes/dataset.json"
    content = json.loads(description.read_text()) | {"dataset": "cityscapes", "edition": "fine"}
    description.write_text(json.dumps(content))
    text = trained.fails("package-submission", "cityscapes")
    assert "data/prepared/cityscapes: the test split has 2 of the benchmark's 1525 images" in text
    assert "The predictions of these have no fault; no zip was written." in text
    assert "`sgcp prepare cityscapes` and `sgcp predict cityscapes`" in text
    assert "anew" not in text
    (trained.root / "data/predictions/cityscapes/dunham_000000_000019.png").unlink()
    assert "1 problem(s), no zip was written" in trained.fails("package-submission", "cityscapes")


def test_predictions_of_another_model_are_not_packed(trained):
    change_weights(trained.root / "data/models/sample")
    text = trained.fails("package-submission", "sample")
    assert "2 of 2 predictions (dunham_000000_000019.png and 1 more) were made by anoth" in text
    assert "No zip was written; run `sgcp predict sample` again" in text
    trained.ok("predict", "sample")
    trained.ok("package-submission", "sample")


def test_predictions_with_other_label_ids_are_not_packed(trained):
    """As after a change of classes.csv that leaves the label maps as they were."""
    (path, *_) = sorted((trained.root / "data/predictions/sample").iterdir())
    said = read_meaning(read_png_text(path))
    other = replace(said, classes=said.classes | {"road": 8, "sidewalk": 7})
    write_labels(path, read_label(path), other)
    text = trained.fails("package-submission", "sample")
    assert "1 of 2 predictions" in text
    assert "have other label ids than the prepared dataset" in text


def test_predictions_begun_with_other_label_ids_are_made_anew(trained, monkeypatch):
    keys = []

    @contextmanager
    def noted(final, key):
        keys.append(key)
        with building_folder(final, key) as folder:
            yield folder

    monkeypatch.setattr("sgcp.stages.predict.building_folder", noted)
    trained.ok("predict", "sample")
    monkeypatch.setattr(
        "sgcp.stages.predict.ids_of", lambda *given: replace(ids_of(*given), classes={"road": 8})
    )
    trained.ok("predict", "sample")
    assert keys[0] != keys[1]


def test_predictions_of_images_replaced_since_are_not_packed(trained):
    image = next((trained.root / "data/raw/sample").rglob("dunham_000001*_leftImg8bit.png"))
    Image.open(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image)
    assert "Run `sgcp prepare sample` again" in trained.fails("package-submission", "sample")
    trained.ok("prepare", "sample")
    text = trained.fails("package-submission", "sample")
    assert "1 of 2 predictions (dunham_000001_000019.png) were made of other images" in text


def test_prediction_overwritten_by_that_of_another_image_is_not_packed(trained):
    folder = trained.root / "data/predictions/sample"
    shutil.copy(folder / "dunham_000000_000019.png", folder / "dunham_000001_000019.png")
    text = trained.fails("package-submission", "sample")
    assert "1 of 2 predictions (dunham_000001_000019.png) were made of other images" in text


def test_foreign_predictions_are_packed_but_not_among_those_of_predict(trained):
    paths = sorted((trained.root / "data/predictions/sample").iterdir())
    Image.open(paths[0]).save(paths[0])  # without the text
    text = trained.fails("package-submission", "sample")
    assert "(dunham_000000_000019.png) were not written by `sgcp predict`" in text
    Image.open(paths[1]).save(paths[1])
    shutil.rmtree(trained.root / "data/models")
    shutil.rmtree(trained.root / "data/raw")
    trained.ok("package-submission", "sample")
