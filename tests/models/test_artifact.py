"""Our model files; tests/hostile/test_hostile_checkpoints.py spoils them."""

import json

import pytest
import torch
from networks import random_network, save_random

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.models.artifact import load_model


@pytest.fixture
def model(tmp_path):
    return save_random(tmp_path, mean=(0.5, 0.5, 0.5))


def describe(model, **changes) -> None:
    """Change keys of a model's description; ``...`` removes one."""
    path = model.with_suffix(".json")
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def test_saved_model_loads_the_same(model):
    loaded, card = load_model(model.parent)
    assert (card.protocol, card.mean) == ("grouped", (0.5, 0.5, 0.5))
    assert [row["name"] for row in card.classes][:2] == ["Sky", "Building"]
    for key, value in random_network().state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    assert not loaded.training


def test_description_from_before_a_field_is_read(model):
    describe(model, input_side=..., weights_sha256=...)
    _, card = load_model(model)
    assert card.input_side is None
    assert card.input_size(360, 480) == (360, 480)


def test_files_that_do_not_belong_together_are_refused(model, tmp_path):
    other = save_random(tmp_path / "other", "mobilenet_v3_small")
    model.write_bytes(other.read_bytes())
    for load in (load_model, sgcp.load):
        with pytest.raises(SgcpError, match=r"not the weights that model\.json describes"):
            load(model.parent)
    model.with_suffix(".json").unlink()
    with pytest.raises(SgcpError, match=r"model\.json: not found"):
        load_model(model)


def test_description_of_other_classes_is_refused(model):
    describe(model, classes=load_model(model)[1].classes[:-1])
    with pytest.raises(SgcpError, match=r"classifier.bias: shape \(11,\), expected \(10,\)"):
        load_model(model)


def test_a_pickle_is_never_opened(tmp_path):
    (tmp_path / "model.pth.tar").write_bytes(b"x")
    with pytest.raises(SgcpError, match="import-checkpoint"):
        load_model(tmp_path / "model.pth.tar")
