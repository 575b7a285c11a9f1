"""A network and a loss of one's own go through the whole pipeline by their names."""

import json

import pytest
import torch
from conftest import Project

import sgcp
from sgcp import models
from sgcp.core.errors import SgcpError
from sgcp.models.artifact import load_model
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


@pytest.fixture
def own(prepared: Project, monkeypatch) -> Project:
    """A project with a module of the user's own in its folder."""
    (prepared.root / "my_parts.py").write_text(PARTS)
    monkeypatch.setattr("sys.path", [*sys_path()])
    monkeypatch.setattr(models, "_TRUSTED", set())
    return prepared


def sys_path() -> list[str]:
    import sys

    sys.modules.pop("my_parts", None)
    return sys.path


@pytest.mark.integration
def test_lraspp_goes_through_every_stage_and_is_timed(prepared: Project):
    prepared.set(sample__train__network="lraspp")
    for command in CHAIN:
        prepared.ok(command, "sample")
    prepared.ok("benchmark", "sample")
    assert read_card(prepared.root / "data/models/sample/model.safetensors").network == "lraspp"
    speed = json.loads((prepared.root / "metrics/sample/speed.json").read_text())
    assert speed["rows"][0]["parameters"] > 3_000_000  # of LR-ASPP, not of SGCPNet
    # Another program runs it too, and gives the labels that PyTorch gives.
    assert "equal" in prepared.ok("export", "data/models/sample", "out.onnx", "--labels")


@pytest.mark.integration
def test_own_network_and_loss_go_through_every_stage(own: Project):
    own.set(
        sample__train__network="my_parts:network",
        sample__train__extra_loss="my_parts:brier",
        sample__train__extra_loss_weight=0.5,
    )
    for command in CHAIN:
        own.ok(command, "sample")
    card = read_card(own.root / "data/models/sample/model.safetensors")
    assert card.network == "my_parts:network"
    assert card.provenance["recipe"] == "quick"


def test_changed_code_of_an_own_loss_starts_training_anew(own: Project):
    own.set(sample__train__extra_loss="my_parts:brier", sample__train__extra_loss_weight=0.5)
    own.set(machine__checkpoint_seconds=0)
    own.stopped_after(1, "sample")
    assert "resuming" in own.stopped_after(0, "sample").output
    (own.root / "my_parts.py").write_text(PARTS + "\n# changed\n")
    assert "resuming" not in own.stopped_after(0, "sample").output


def test_a_model_file_alone_runs_no_code(own: Project, monkeypatch):
    """The card of a model names a function; only the project's own settings make it run."""
    monkeypatch.chdir(own.root)
    own.ok("train", "sample", "--set", "network=my_parts:network", "--set", "epochs=1")
    path = own.root / "data/models/sample"
    assert isinstance(load_model(path)[0], torch.nn.Sequential)
    models._TRUSTED.clear()
    with pytest.raises(SgcpError, match="not run because a model file names it"):
        sgcp.load(path, engine="torch")
    models.trust("my_parts:network")
    assert sgcp.load(path, engine="torch").card.network == "my_parts:network"


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("network=resnet", "network: unknown 'resnet'"),
        ("network=no_module:f", "cannot be imported"),
        ("network=my_parts:missing", "cannot be imported"),
        ("extra_loss=focal", "train.extra_loss: unknown 'focal'"),
    ],
)
def test_unknown_part_is_one_message(own: Project, setting, problem):
    weight = ["--set", "extra_loss_weight=1"] if "loss" in setting else []
    assert problem in own.fails("train", "sample", "--set", setting, *weight)


def test_parts_of_sgcpnet_are_refused_for_other_networks(prepared: Project):
    text = prepared.fails("train", "sample", "--set", "network=lraspp", "--set", "auxiliary=0.4")
    assert "sample.train.quick.auxiliary: is for the network sgcpnet" in text
