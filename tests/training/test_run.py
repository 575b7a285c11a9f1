"""The parts of a run: optimizer, schedule, state, clock, loader processes, progress bar."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import ROOT
from lightning_fabric import Fabric

from sgcp.core import terminal
from sgcp.models import SGCPNet
from sgcp.models.network import Normalize
from sgcp.settings.load import load_params
from sgcp.stages.train import loader_processes
from sgcp.training import loop
from sgcp.training.checkpoints import Progress
from sgcp.training.log import Reporter
from sgcp.training.loop import Clock, mean_loss, read_losses
from sgcp.training.run import make_optimizer, rate_factor, start


@pytest.fixture(scope="module")
def params():
    return load_params(ROOT / "params.yaml")


@pytest.fixture(scope="module")
def settings(params):
    return params.cityscapes.recipes["paper"]


def test_cityscapes_recipe_is_the_authors(settings):
    recipe = (settings.optimizer, settings.lr, settings.momentum, settings.weight_decay)
    assert recipe == ("sgd", 0.3, 0.9, 1e-5)
    assert (settings.schedule, settings.poly_power, settings.warmup) == ("poly", 0.9, 0.0)
    assert (settings.batch_size, settings.epochs, settings.seed) == (36, 350, 42)
    assert (settings.scale, settings.min_short_side, settings.crop) == ((0.5, 2), 350, (1024, 1024))


def test_poly_schedule_decays_every_step(settings):
    factors = [rate_factor(step, 10, settings) for step in range(10)]
    assert factors == pytest.approx([(1 - step / 10) ** 0.9 for step in range(10)])


def test_one_cycle_rises_to_the_peak_then_falls(settings):
    one_cycle = settings.model_copy(update={"schedule": "one-cycle", "warmup": 0.3})
    factors = [rate_factor(step, 100, one_cycle) for step in range(100)]
    assert max(factors) == factors[30] == 1
    assert factors[:31] == sorted(factors[:31])
    assert factors[30:] == sorted(factors[30:], reverse=True)
    assert factors[-1] < 0.01


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_encoder_and_decoder_have_their_own_rates_and_nothing_is_left_out(settings, name):
    network = SGCPNet(3)
    changed = settings.model_copy(update={"optimizer": name, "encoder_lr_factor": 0.5})
    groups = make_optimizer(network, network.encoder, changed).param_groups
    assert [group["lr"] for group in groups] == pytest.approx([0.15, 0.3])
    for group in groups:
        assert group["weight_decay"] == settings.weight_decay
        assert (group["momentum"] if name == "sgd" else group["betas"][0]) == settings.momentum
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())


def test_every_part_with_a_state_is_in_the_checkpoint(params):
    settings = params.sample.train.model_copy(update={"average": 0.9, "auxiliary": 0.4})
    fabric = Fabric(accelerator="cpu", devices=1)
    run = start(fabric, SGCPNet(19), Normalize(), settings, steps=1, compiling=False)
    names = ("network", "optimizer", "schedule", "average", "heads")
    expected = {name: getattr(run, name) for name in names}
    assert None not in expected.values()
    assert run.parts() == expected | {"precision": fabric.strategy.precision}


def test_time_spent_waiting_is_counted_over_all_sessions(monkeypatch):
    now = 0.0

    def pass_time(seconds):
        nonlocal now
        now += seconds

    def slow():
        for number in range(3):
            pass_time(2)
            yield number

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now))
    progress = Progress("run", waited=5.0, seconds=50.0, images=100)
    clock = Clock(progress)
    assert clock.read() == {"images_per_second": 0, "waiting": 0}
    for _ in clock.waiting_for(slow()):
        pass_time(1)
        clock.tick(4)
    assert (progress.waited, progress.seconds, progress.images) == (11, 59, 112)
    assert clock.read() == {"images_per_second": 12 / 9, "waiting": 6 / 9}


@pytest.mark.parametrize(
    ("device", "images", "expected"),
    [("cpu", 300, 0), ("cpu", 3000, 1), ("cuda", 3000, 3), ("cuda", 16, 2), ("cuda", 4, 1)],
)
def test_loader_processes_suit_the_machine_and_the_batches(
    params, monkeypatch, device, images, expected
):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    fabric = SimpleNamespace(device=SimpleNamespace(type=device), world_size=2)
    items = [SimpleNamespace(height=360, width=480)] * images
    assert loader_processes(params.machine, fabric, items, 8) == expected
    fixed = params.machine.model_copy(update={"loader_workers": 5})
    assert loader_processes(fixed, fabric, items, 8) == 5


def test_while_validating_the_epoch_is_the_one_in_progress_and_no_number_is_made_up(
    prepared, monkeypatch
):
    monkeypatch.setattr(terminal.SparseLines, "pause", 0.0)  # every line is printed
    monkeypatch.setattr(terminal, "LONGEST_SILENCE", 0.0)
    score = loop.evaluate

    def evaluate(*arguments):
        terminal.say("scoring")
        return score(*arguments)

    monkeypatch.setattr(loop, "evaluate", evaluate)
    lines = prepared.ok("train", "sample").splitlines()
    assert not [line for line in lines if "nan" in line or " 0.0 images/s" in line]
    first = lines.index("scoring")
    assert lines[first - 1].startswith("epoch 1/2, validating")
    assert "mIoU -" in lines[first - 1]
    after = [line for line in lines[first + 1 :] if line.startswith("epoch")]
    assert after[0].startswith("epoch 1/2  loss")
    assert not [line for line in lines if line.startswith("epoch 3")]


def test_bar_stands_where_the_run_does(tmp_path):
    row = {"loss": 1.0, "miou": 0.25, "lr": 0.1, "images_per_second": 1.0, "waiting": 0.0}
    progress = Progress("run", epoch=2, history=[row, row])
    with Reporter(tmp_path / "log", epochs=4, images=6, about={}) as reporter:
        (bar,) = reporter.bar.tasks
        reporter.resume(progress, steps=3)
        assert (bar.description, bar.completed, bar.total) == ("epoch 3/4", 12, 24)
        reporter.step(4, 0.5, 2.0)
        assert bar.completed == 16
        assert bar.fields == {"loss": "0.500", "miou": "0.250", "speed": "2.0"}
        reporter.step(5, 0.5, 2.0, spent=0.875)
        assert bar.completed == 21  # of the time, which is ahead of the images
        reporter.validating(progress)
        assert (bar.description, bar.completed) == ("epoch 3/4, validating", 18)


class Two:
    """A fabric of two processes, of which the other had these losses."""

    device = torch.device("cpu")

    def __init__(self, *others: float | None) -> None:
        known = [float(one is not None) for one in others]
        self.others = torch.tensor([[one or 0.0 for one in others], known], dtype=torch.float64)

    def all_reduce(self, sums: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "sum"
        return sums + self.others


def test_the_losses_of_a_checkpoint_are_those_of_all_processes():
    """It is one process's file, and the others resume with its losses."""
    mine = [torch.tensor(loss) for loss in (1.0, 2.0, 3.0, float("nan"))]
    losses = read_losses(Two(2.0, None, 5.0, None), mine, [True, True, False, False])
    assert losses == [1.5, 2.0, 5.0, None]
    assert mean_loss(Any, Progress("run", losses=losses)) == {"loss": 8.5 / 3}
