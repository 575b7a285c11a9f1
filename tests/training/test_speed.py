"""What is done for speed changes no result, and what is said of it is right."""

import re
from types import SimpleNamespace

import pytest
from conftest import ROOT

from sgcp.settings.load import load_params
from sgcp.stages.train import loader_processes
from sgcp.training import loop
from sgcp.training.checkpoints import Progress
from sgcp.training.loop import Clock


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
    for number in clock.waiting_for(slow()):
        assert number in (0, 1, 2)
        pass_time(1)
        clock.tick(4)
    assert (clock.waited, clock.seconds) == (6, 9)
    assert (progress.waited, progress.seconds, progress.images) == (11, 59, 112)
    assert clock.read() == {"images_per_second": 12 / 9, "waiting": 6 / 9}
    assert Clock(progress).read() == {"images_per_second": 0, "waiting": 0}


def test_share_of_waiting_is_told_but_not_logged(prepared):
    output = prepared.ok("train", "sample")
    assert re.search(r"epoch 2/2 .* images/s, \d+\.\d% waiting for data", output)
    assert re.search(r"kept epoch .*, \d+ s, \d+\.\d images/s, \d+\.\d% of it waiting", output)
    for path in (prepared.root / "metrics/sample/train").rglob("*"):
        assert "waiting" not in path.name
        assert path.is_dir() or "waiting" not in path.read_text()


def results(project) -> dict[str, bytes]:
    """Train; return weights, descriptions and curves."""
    project.ok("train", "sample")
    files = [*(project.root / "metrics").rglob("*.*"), *project.root.glob("data/models/*/*")]
    return {path.name: path.read_bytes() for path in files if path.is_file()}


def test_losses_read_late_are_the_same(prepared, monkeypatch):
    """As on a GPU, which is let run ahead."""
    prepared.set(machine__checkpoint_seconds=0)
    first = results(prepared)
    monkeypatch.setattr(loop, "LOSSES_READ_EVERY", {"cpu": 16})
    assert results(prepared) == first


@pytest.mark.slow
def test_compiled_run_ends_alike_twice_and_resumed(prepared):
    prepared.set(machine__compile=True, machine__checkpoint_seconds=0)
    first = results(prepared)
    assert prepared.stopped_after(3, "sample").exit_code == 130
    # Uncompiled, it begins anew: the two round otherwise.
    prepared.set(machine__compile=False)
    assert "resuming" not in prepared.stopped_after(0, "sample").output
    prepared.set(machine__compile=True)
    assert results(prepared) == first


@pytest.mark.parametrize(
    ("device", "images", "expected"),
    [("cpu", 300, 0), ("cpu", 3000, 1), ("cuda", 300, 3)],
)
def test_loader_processes_suit_the_machine(monkeypatch, device, images, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    machine = load_params(ROOT / "params.yaml").machine
    fabric = SimpleNamespace(device=SimpleNamespace(type=device), world_size=2)
    items = [SimpleNamespace(height=360, width=480)] * images
    assert loader_processes(machine, fabric, items) == expected
    fixed = machine.model_copy(update={"loader_workers": 5})
    assert loader_processes(fixed, fabric, items) == 5
