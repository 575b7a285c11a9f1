"""The two resume files: rotation, checksums, whose they are, and that they hold everything."""

import random

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from sgcp.training import checkpoints
from sgcp.training.checkpoints import NAMES, Checkpoints, Progress, pack, unpack


@pytest.fixture
def keeper(tmp_path):
    """Return checkpoints of a network, in one folder."""
    fabric = Fabric(accelerator="cpu", devices=1)

    def make(network, fingerprint="run", seconds=0.0, **parts) -> Checkpoints:
        return Checkpoints(fabric, tmp_path, {"network": network, **parts}, fingerprint, seconds)

    return make


@pytest.fixture
def network():
    return torch.nn.Linear(2, 2)


def test_newest_of_two_files_is_restored(keeper, network, tmp_path):
    first = keeper(network)
    for step in range(1, 6):
        torch.nn.init.constant_(network.weight, step)
        first.save(Progress("run", epoch=1, step=step))
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)
    other = torch.nn.Linear(2, 2)
    assert keeper(other).restore().step == 5
    assert (other.weight == 5).all()


def test_the_beginning_of_an_epoch_is_newer_than_the_end_of_the_one_before(keeper, network):
    first = keeper(network)
    first.save(Progress("run", epoch=1, step=5))
    first.save(Progress("run", epoch=2))
    assert keeper(network).restore().epoch == 2


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_corrupt_file_is_reported_and_the_other_is_used(keeper, network, tmp_path, capsys, damage):
    first = keeper(network)
    first.save(Progress("run", step=1))
    first.save(Progress("run", step=2))
    path = tmp_path / NAMES[1]
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: {"cut": -1, "flip": None, "empty": 0}[damage]])
    second = keeper(network)
    assert second.restore().step == 1
    assert "b.ckpt: corrupt" in capsys.readouterr().out
    second.save(Progress("run", step=3))  # over the corrupt file, not over the good one
    assert unpack((tmp_path / NAMES[0]).read_bytes())["progress"]["step"] == 1
    assert unpack(path.read_bytes())["progress"]["step"] == 3


def test_checkpoint_of_another_run_is_not_restored(keeper, network):
    keeper(network).save(Progress("run", epoch=3))
    other = torch.nn.Linear(2, 2)
    before = other.weight.clone()
    assert keeper(other, "another").restore().epoch == 0
    assert torch.equal(other.weight, before)


def test_random_generators_resume(keeper, network):
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    keeper(network).save(Progress("run", step=1))
    expected = draw()
    draw()
    keeper(network).restore()
    assert draw() == expected


def test_optimizer_and_schedule_resume(keeper):
    def make():
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 1)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
        return {"network": network, "optimizer": optimizer, "schedule": schedule}

    def take_steps(parts, *numbers):
        for number in numbers:
            parts["network"](torch.full((2, 3), float(number))).pow(2).sum().backward()
            parts["optimizer"].step()
            parts["optimizer"].zero_grad()
            parts["schedule"].step()

    whole, begun, resumed = make(), make(), make()
    take_steps(whole, 0, 1, 2, 3)
    take_steps(begun, 0, 1)
    keeper(**begun).save(Progress("run", step=2))
    assert keeper(**resumed).restore().step == 2
    take_steps(resumed, 2, 3)
    assert torch.equal(resumed["network"].weight, whole["network"].weight)
    assert resumed["schedule"].get_last_lr() == whole["schedule"].get_last_lr()


def test_state_is_written_only_when_due(keeper, network, tmp_path):
    checkpoints = keeper(network, seconds=3600)
    checkpoints.save_if_due(Progress("run", step=1))
    assert not list(tmp_path.iterdir())
    checkpoints.seconds = 0
    checkpoints.save_if_due(Progress("run", step=1))
    assert len(list(tmp_path.iterdir())) == 1


def test_the_time_to_the_next_state_counts_from_the_last(keeper, network, tmp_path, monkeypatch):
    now = [0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    kept = keeper(network, seconds=10)
    for now[0] in (9, 10, 19, 20):
        kept.save_if_due(Progress("run", step=now[0]))
    steps = {unpack(path.read_bytes())["progress"]["step"] for path in tmp_path.iterdir()}
    assert steps == {10, 20}


def test_pickled_code_does_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    assert unpack(pack({"network": Trap(), "progress": {}})) is None
    assert not (tmp_path / "ran").exists()
