"""The two resume files: rotation, checksums, whose they are, and that they hold everything."""

import random

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from sgcp.training.checkpoints import NAMES, Checkpoints, Progress, pack, unpack


@pytest.fixture
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def checkpoints(fabric, folder, network, fingerprint="run", seconds=0.0) -> Checkpoints:
    return Checkpoints(fabric, folder, {"network": network}, fingerprint, seconds)


def test_newest_of_two_files_is_restored(fabric, tmp_path):
    network = torch.nn.Linear(2, 2)
    first = checkpoints(fabric, tmp_path, network)
    for step in range(1, 6):
        torch.nn.init.constant_(network.weight, step)
        first.save(Progress("run", epoch=1, step=step))
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)
    other = torch.nn.Linear(2, 2)
    assert checkpoints(fabric, tmp_path, other).restore().step == 5
    assert (other.weight == 5).all()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_corrupt_file_is_reported_and_the_other_is_used(fabric, tmp_path, capsys, damage):
    network = torch.nn.Linear(2, 2)
    first = checkpoints(fabric, tmp_path, network)
    first.save(Progress("run", step=1))
    first.save(Progress("run", step=2))
    path = tmp_path / NAMES[1]
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: {"cut": -1, "flip": None, "empty": 0}[damage]])
    second = checkpoints(fabric, tmp_path, network)
    assert second.restore().step == 1
    assert "b.ckpt: corrupt" in capsys.readouterr().out
    second.save(Progress("run", step=3))  # over the torn file, not over the good one
    assert unpack((tmp_path / NAMES[0]).read_bytes())["progress"]["step"] == 1
    assert unpack(path.read_bytes())["progress"]["step"] == 3


def test_two_corrupt_files_start_anew(fabric, tmp_path):
    for name in NAMES:
        (tmp_path / name).write_bytes(b"PK\x03\x04 torn")
    progress = checkpoints(fabric, tmp_path, torch.nn.Linear(2, 2)).restore()
    assert (progress.epoch, progress.step) == (0, 0)


def test_checkpoint_of_another_run_is_left_alone(fabric, tmp_path):
    checkpoints(fabric, tmp_path, torch.nn.Linear(2, 2)).save(Progress("run", epoch=3))
    network = torch.nn.Linear(2, 2)
    before = network.weight.clone()
    assert checkpoints(fabric, tmp_path, network, "another").restore().epoch == 0
    assert torch.equal(network.weight, before)


def test_random_generators_go_on_where_they_were(fabric, tmp_path):
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    network = torch.nn.Linear(2, 2)
    checkpoints(fabric, tmp_path, network).save(Progress("run", step=1))
    expected = draw()
    draw()
    checkpoints(fabric, tmp_path, network).restore()
    assert draw() == expected


def test_optimizer_and_schedule_go_on_where_they_were(fabric, tmp_path):
    def make():
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 1)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
        return {"network": network, "optimizer": optimizer, "schedule": schedule}

    def step(parts, number):
        x = torch.full((2, 3), float(number))
        parts["network"](x).pow(2).sum().backward()
        parts["optimizer"].step()
        parts["optimizer"].zero_grad()
        parts["schedule"].step()

    whole = make()
    for number in range(4):
        step(whole, number)
    begun = make()
    step(begun, 0)
    step(begun, 1)
    Checkpoints(fabric, tmp_path, begun, "run", 0).save(Progress("run", step=2))
    resumed = make()
    assert Checkpoints(fabric, tmp_path, resumed, "run", 0).restore().step == 2
    step(resumed, 2)
    step(resumed, 3)
    assert torch.equal(resumed["network"].weight, whole["network"].weight)
    assert resumed["schedule"].get_last_lr() == whole["schedule"].get_last_lr()


def test_state_is_written_when_due_alone(fabric, tmp_path):
    keeper = checkpoints(fabric, tmp_path, torch.nn.Linear(2, 2), seconds=3600)
    keeper.save_if_due(Progress("run", step=1))
    assert not list(tmp_path.iterdir())
    keeper.seconds = 0
    keeper.save_if_due(Progress("run", step=1))
    assert len(list(tmp_path.iterdir())) == 1


def test_pickled_code_does_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    assert unpack(pack({"network": Trap(), "progress": {}})) is None
    assert not (tmp_path / "ran").exists()
