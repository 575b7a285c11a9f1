"""A network and a loss of one's own go through the whole pipeline by their names."""

import json
import sys

import pytest
from conftest import Project

import sgcp
from sgcp import models
from sgcp.core.errors import SgcpError
from sgcp.models.card import read_card

PARTS = """
import torch
from torch import nn


def network(num_classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, num_classes, 1))


def brier(probabilities, truth):
    wanted = nn.functional.one_hot(truth, probabilities.shape[1])
    return (probabilities - wanted).square().sum(1).mean()
"""
CHAIN = ("train", "validate", "predict", "package-submission", "report")
MODEL = "data/models/sample"


@pytest.fixture
def custom(prepared: Project, monkeypatch) -> Project:
    """A project with a module of the user's own in its folder."""
    (prepared.root / "my_parts.py").write_text(PARTS)
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    models.TRUSTED.clear()
    return prepared


@pytest.mark.integration
def test_lraspp_goes_through_every_stage_and_is_timed(prepared: Project):
    prepared.set(sample__train__network="lraspp")
    for command in (*CHAIN, "benchmark"):
        prepared.ok(command, "sample")
    assert read_card(prepared.root / MODEL / "model.safetensors").network == "lraspp"
    speed = json.loads((prepared.root / "metrics/sample/speed.json").read_text())
    assert speed["rows"][0]["parameters"] > 3_000_000  # of LR-ASPP, not of SGCPNet
    # Another program runs it too, and gives the labels that PyTorch gives.
    assert "equal" in prepared.ok("export", MODEL, "out.onnx", "--labels")


@pytest.mark.integration
def test_custom_network_and_loss_go_through_every_stage(custom: Project):
    custom.set(
        sample__train__network="my_parts:network",
        sample__train__extra_loss="my_parts:brier",
        sample__train__extra_loss_weight=0.5,
    )
    custom.set(sample__benchmark__candidates=["torch"])
    for command in (*CHAIN, "benchmark"):
        custom.ok(command, "sample")
    card = read_card(custom.root / MODEL / "model.safetensors")
    assert card.network == "my_parts:network"
    assert card.provenance["recipe"] == "quick"


def test_changed_code_of_a_custom_loss_starts_training_anew(custom: Project):
    custom.set(sample__train__extra_loss="my_parts:brier", sample__train__extra_loss_weight=0.5)
    custom.set(machine__checkpoint_seconds=0)
    custom.stopped_after(1, "sample")
    assert "resuming" in custom.stopped_after(0, "sample").output
    (custom.root / "my_parts.py").write_text(PARTS + "\n# changed\n")
    assert "resuming" not in custom.stopped_after(0, "sample").output


def test_model_file_runs_no_code_that_params_yaml_does_not_name(custom: Project, monkeypatch):
    """`--set` allows a network for its command alone, and announces that before training."""
    monkeypatch.chdir(custom.root)
    changes = ("--set", "network=my_parts:network", "--set", "epochs=1")
    output = custom.ok("train", "sample", *changes)
    assert output.index("Write it into a recipe") < output.index("epoch 1/1")
    models.TRUSTED.clear()
    assert "a model file alone cannot run" in custom.fails("validate", "sample")
    with pytest.raises(SgcpError, match="a model file alone"):
        sgcp.load(MODEL, engine="torch")
    models.trust("my_parts:network")
    assert sgcp.load(MODEL, engine="torch").card.network == "my_parts:network"
    models.TRUSTED.clear()
    custom.set(sample__train__network="my_parts:network")
    custom.ok("validate", "sample")


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("network=resnet", "network: unknown 'resnet'"),
        ("network=no_module:f", "cannot be imported"),
        ("network=my_parts:missing", "cannot be imported"),
        ("network=my_parts:torch", "is no function"),
        ("extra_loss=focal", "train.extra_loss: unknown 'focal'"),
    ],
)
def test_unknown_part_is_one_message(custom: Project, setting, problem):
    weight = ["--set", "extra_loss_weight=1"] if "loss" in setting else []
    assert problem in custom.fails("train", "sample", "--set", setting, *weight)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def network(:", "SyntaxError: invalid syntax (my_parts.py, line 1)"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise LookupError('two\\nlines')", "LookupError: two lines"),
    ],
)
def test_module_that_fails_on_import_is_one_message(custom: Project, code, reason):
    (custom.root / "my_parts.py").write_text(code)
    text = custom.fails("train", "sample", "--set", "network=my_parts:network")
    assert f"'my_parts:network' fails on import: {reason}" in text
    assert len(text.splitlines()) == 1


def test_parts_of_sgcpnet_are_refused_for_other_networks(prepared: Project):
    text = prepared.fails("train", "sample", "--set", "network=lraspp", "--set", "auxiliary=0.4")
    assert "sample.train.quick.auxiliary: is for the network sgcpnet" in text
