"""Stages ``predict`` and ``package``: label ids, the zip, and what keeps it from being written."""

import json
import os
import shutil
import zipfile

import numpy as np
from PIL import Image

from sgcp.datasets.classes import cityscapes_classes

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


def test_cityscapes_submission_needs_its_1525_images(trained):
    for part in ("raw", "prepared", "models", "predictions"):
        shutil.copytree(
            trained.root / f"data/{part}/sample", trained.root / f"data/{part}/cityscapes"
        )
    description = trained.root / "data/prepared/cityscapes/dataset.json"
    content = json.loads(description.read_text()) | {"dataset": "cityscapes", "edition": "fine"}
    description.write_text(json.dumps(content))
    text = trained.fails("package-submission", "cityscapes")
    assert "2 test images are known, the benchmark has 1525" in text
