import json

import pytest
import torch
from networks import save_random

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import camvid_classes, classes_to_json
from sgcp.models import SGCPNet
from sgcp.models.artifact import load_model, save_model
from sgcp.models.card import ModelCard


@pytest.fixture
def saved(tmp_path):
    network = SGCPNet(11)
    card = ModelCard(classes_to_json(camvid_classes()), "camvid", "segnet", "grouped")
    save_model(network, network.state_dict(), card, tmp_path / "model.safetensors")
    return tmp_path, network


def test_saved_model_loads_the_same(saved):
    folder, network = saved
    loaded, card = load_model(folder)
    assert card.protocol == "grouped"
    assert [row["name"] for row in card.classes][:2] == ["Sky", "Building"]
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    assert not loaded.training


def test_damaged_weights_are_refused(saved):
    folder, _ = saved
    path = folder / "model.safetensors"
    content = path.read_bytes()
    for size in (0, 4, 100, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(SgcpError, match="damaged"):
            load_model(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"architecture": "ResNet"},
        {"mean": [1, 2]},
        {"mean": "grey"},
        {"mean": ["1", "2", "3"]},
        {"classes": []},
        {"classes": 5},
        {"classes": [None] * 11},
        {"classes": [{"train_id": 0, "label_id": 999, "name": "Sky", "color": [0, 0, 0]}] * 11},
        {"trained_on": [1]},
        {"provenance": None},
        {"encoder": "resnet"},
    ],
)
def test_damaged_description_is_refused(saved, change):
    folder, _ = saved
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(SgcpError, match=r"model\.json"):
        load_model(folder)


def test_description_of_other_classes_is_refused(saved):
    folder, _ = saved
    path = folder / "model.json"
    content = json.loads(path.read_text())
    content["classes"] = content["classes"][:-1]
    path.write_text(json.dumps(content))
    with pytest.raises(SgcpError, match=r"classifier.bias: shape \(11,\), expected \(10,\)"):
        load_model(folder)


def test_weights_without_description_name_the_missing_file(saved):
    folder, _ = saved
    (folder / "model.json").unlink()
    with pytest.raises(SgcpError, match=r"model\.json: not found"):
        load_model(folder)


def test_a_pickle_is_never_opened(tmp_path):
    (tmp_path / "model.pth.tar").write_bytes(b"x")
    with pytest.raises(SgcpError, match="import-checkpoint"):
        load_model(tmp_path / "model.pth.tar")


def test_description_from_before_a_field_is_read(tmp_path):
    path = save_random(tmp_path)
    described = json.loads(path.with_suffix(".json").read_text())
    del described["input_side"]
    path.with_suffix(".json").write_text(json.dumps(described))
    _, card = load_model(path)
    assert card.input_side is None
    assert card.input_size(360, 480) == (360, 480)


def test_weights_of_another_description_are_refused(saved, tmp_path):
    folder, _ = saved
    other = save_random(tmp_path / "other")
    (folder / "model.safetensors").write_bytes(other.read_bytes())
    for load in (load_model, sgcp.load):
        with pytest.raises(SgcpError, match=r"not the weights that model\.json describes"):
            load(folder)


def test_description_without_the_digest_of_its_weights_is_read(saved):
    folder, _ = saved
    described = json.loads((folder / "model.json").read_text())
    del described["weights_sha256"]
    (folder / "model.json").write_text(json.dumps(described))
    load_model(folder)
