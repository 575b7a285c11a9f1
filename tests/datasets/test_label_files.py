"""Label maps say in the file what their values mean."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sgcp.datasets.classes import SemanticClass, cityscapes_classes
from sgcp.datasets.label_files import KEYWORD, Meaning, ids_of, read_meaning, write_labels
from sgcp.media.images import read_label, read_png_text


def read(path) -> Meaning | None:
    return read_meaning(read_png_text(path))


def test_meaning_comes_back_and_the_pixels_are_a_plain_label_map(tmp_path):
    labels = np.random.default_rng(0).integers(0, 34, (6, 8), dtype=np.uint8)
    meaning = ids_of(cityscapes_classes(), "cityscapes")
    write_labels(tmp_path / "a.png", labels, meaning)
    assert read(tmp_path / "a.png") == meaning
    assert [*meaning.classes.items()][:2] == [("road", 7), ("sidewalk", 8)]
    assert (read_label(tmp_path / "a.png") == labels).all()
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
    content = (tmp_path / "a.png").read_bytes()
    assert content.index(b"tEXt") < content.index(b"IDAT")  # known before a pixel is decoded


@given(st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=20, unique=True))
def test_classes_of_any_name_come_back(tmp_path_factory, names):
    path = tmp_path_factory.getbasetemp() / "named.png"
    meaning = Meaning("train-ids", {name: index for index, name in enumerate(names)}, "custom")
    write_labels(path, np.zeros((1, 1), np.uint8), meaning)
    assert read(path) == meaning


GOOD = {"encoding": "ids", "dataset": "custom", "classes": {"a": 1}}


@pytest.mark.parametrize(
    "text",
    [
        "", "[", "[]", "1", '"ids"', "{}", "[" * 10**5, json.dumps(GOOD | {"encoding": "colors"}),
        json.dumps(GOOD | {"classes": {}}), json.dumps(GOOD | {"classes": {"a": 256}}),
        json.dumps(GOOD | {"classes": {"a": -1}}), json.dumps(GOOD | {"classes": {"a": "1"}}),
        json.dumps(GOOD | {"classes": ["a"]}), json.dumps(GOOD | {"classes": {"a": 1, "b": 1}}),
        json.dumps(GOOD | {"encoding": ["ids"]}), json.dumps(GOOD | {"classes": {"a": True}}),
    ],
)  # fmt: skip
def test_text_of_another_form_says_nothing(text):
    assert read_meaning({KEYWORD: json.dumps(GOOD)}) == Meaning("ids", {"a": 1}, "custom")
    assert read_meaning({KEYWORD: text}) is None
    assert read_meaning({}) is None


def test_labels_of_a_dataset_carry_no_text(tmp_path):
    from sgcp.media.images import write_png

    write_png(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    assert read(tmp_path / "a.png") is None
    assert b"tEXt" not in (tmp_path / "a.png").read_bytes()


def test_model_of_no_dataset_says_its_classes_alone(tmp_path):
    from sgcp.datasets.label_files import train_ids_of

    classes = (SemanticClass(0, 7, "a", (0, 0, 0)), SemanticClass(1, 9, "b", (1, 1, 1)))
    write_labels(tmp_path / "a.png", np.zeros((1, 1), np.uint8), train_ids_of(classes))
    assert read(tmp_path / "a.png") == Meaning("train-ids", {"a": 0, "b": 1})
