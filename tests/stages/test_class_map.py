"""`sgcp validate --map`: a model of one dataset's classes, scored on another dataset."""

import json

import numpy as np
import pytest

import sgcp
from sgcp.datasets.class_maps import read_class_map, share_classes
from sgcp.datasets.classes import camvid_classes, cityscapes_classes
from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.index import Dataset, read_dataset
from sgcp.media.images import read_image

MAP = "cityscapes-camvid"


def test_camvid_classes_are_scored_on_a_dataset_in_cityscapes_form(prepared):
    """The bundled weights on the sample, against a count by names."""
    assert "the model scores 11 classes" in prepared.fails("validate", "--model", "camvid")
    text = prepared.ok("validate", "sample", "--model", "camvid", "--map", MAP)
    assert "SignSymbol" in text
    path = prepared.root / f"metrics/sample/models/map-{MAP}/camvid/validate.json"
    scores = json.loads(path.read_text())
    assert scores["class_order"] == [*dict.fromkeys(read_class_map(MAP).values())]
    assert scores["protocol"].startswith("cityscapes-19 mapped ")
    dataset = read_dataset(prepared.root / "data/prepared/sample")
    model, names = sgcp.load("camvid", precision=scores["precision"]), read_class_map(MAP)
    right, union = dict.fromkeys(scores["iou"], 0), dict.fromkeys(scores["iou"], 0)
    for item in dataset.split("val"):
        truth = read_ground_truth(prepared.root / "data/prepared/sample", item)
        label = truth.train_ids[truth.segments]
        found = model.segment(read_image(prepared.root / "data/raw/sample" / item.image))
        true = np.full(label.shape, "", dtype="<U12")
        for one in cityscapes_classes():
            true[label == one.train_id] = names[one.name]
        predicted = np.array([one.name for one in model.classes])[found]
        for name in right:
            both = (true == name) & (predicted == name)
            either = (true == name) | ((predicted == name) & (true != ""))
            right[name] += both.sum()
            union[name] += either.sum()
    for name, iou in scores["iou"].items():
        assert iou == pytest.approx(right[name] / union[name]), name
    panels = prepared.root / f"data/panels/sample-models-map-{MAP}-camvid"
    assert len(list(panels.glob("*.png"))) >= 4


def test_a_finer_model_is_scored_in_the_classes_of_a_coarser_dataset():
    dataset = Dataset("camvid", "segnet", "grouped", camvid_classes(), ())
    changed, truth, model = share_classes(dataset, cityscapes_classes(), read_class_map(MAP))
    assert [item.name for item in changed.classes] == [item.name for item in camvid_classes()]
    assert truth[:11].tolist() == [*range(11)]
    names = {item.train_id: item.name for item in changed.classes}
    for item in cityscapes_classes():
        assert names[model[item.train_id]] == read_class_map(MAP)[item.name]
    assert changed.protocol != dataset.protocol


def test_classes_of_one_side_alone_are_ignored_in_the_truth_and_wrong_in_a_prediction():
    classes = camvid_classes()
    dataset = Dataset("camvid", "segnet", "grouped", classes[:3], ())
    changed, truth, model = share_classes(dataset, classes[1:], {})
    assert [item.name for item in changed.classes] == [classes[1].name, classes[2].name]
    assert truth[:3].tolist() == [255, 0, 1]
    assert model[:3].tolist() == [0, 1, 255]
    assert changed.void_ids == {2}


def test_what_both_sides_ignore_is_no_class():
    dataset = Dataset("camvid", "segnet", "grouped", camvid_classes(), ())
    names = {"Sky": "ignore", "sky": "ignore", "Road": "road", "Car": "car"}
    changed, truth, model = share_classes(dataset, cityscapes_classes(), names)
    assert [item.name for item in changed.classes] == ["road", "car"]
    skies = [one.train_id for one in (camvid_classes()[0], cityscapes_classes()[10])]
    assert (truth[skies[0]], model[skies[1]]) == (255, 255)


def test_a_map_of_other_classes_is_refused(prepared):
    text = prepared.fails("validate", "--model", "camvid", "--map", "a2d2-cityscapes")
    assert "do not meet. Choose another map" in text
    text = prepared.fails("validate", "--predictions", ".", "--map", MAP)
    assert "apply to a model, not to" in text
