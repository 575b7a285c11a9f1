"""SIGKILL at any moment of any stage, then the command again: the same bytes as without."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import kills
import pytest
from conftest import make_project
from test_pipeline import PROGRAMS, new_clone

pytestmark = pytest.mark.integration

SEEDS = [0, 1, *(pytest.param(None, marks=pytest.mark.slow, id=f"random{n}") for n in range(12))]


@pytest.fixture(scope="module")
def stations(tmp_path_factory) -> dict[str, tuple[Path, Path, tuple[int, float]]]:
    """A project before and after each stage, and the stage's changes and seconds."""
    folder = tmp_path_factory.mktemp("stations")
    project = make_project(folder / "start")
    project.set(machine__checkpoint_seconds=0, sample__train__epochs=3)
    project.set(machine__prepare_workers=2)
    before, found = project.root, {}
    for stage in kills.STAGES:
        after = folder / stage
        shutil.copytree(before, after, symlinks=True)
        found[stage] = (before, after, kills.finish(after, stage))
        before = after
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stage", kills.STAGES)
def test_killed_stage_ends_as_an_uninterrupted_one(stations, stage, tmp_path, seed):
    """Killed once to three times, over nothing or over an older result; then finished."""
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    rng = random.Random(seed)
    before, after, whole = stations[stage]
    root = tmp_path / "project"
    # A whole download is left as it is, so there is nothing to kill.
    start = before if stage == "download" else rng.choice([before, after])
    shutil.copytree(start, root, symlinks=True)
    moments = [kills.kill_somewhere(root, stage, rng, whole) for _ in range(rng.randint(1, 3))]
    while all("too late" in moment for moment in moments):
        moments.append(kills.kill_somewhere(root, stage, rng, whole))
    kills.finish(root, stage)
    left, expected = kills.tree(root), kills.tree(after)
    assert left.keys() == expected.keys(), (seed, moments)
    wrong = [name for name in expected if left[name] != expected[name]]
    assert not wrong, (seed, moments, wrong)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["download", "package-submission", "prepare"])
def test_killed_at_each_change_of_the_disk(stations, stage, tmp_path):
    """Where a stage changes the disk a few dozen times, every one of them is tried."""
    before, after, (changes, _) = stations[stage]
    for number in range(1, changes + 1):
        root = tmp_path / str(number)
        shutil.copytree(before, root, symlinks=True)
        assert kills.kill_at_change(root, stage, number)
        kills.finish(root, stage)
        assert kills.tree(root) == kills.tree(after), number
        shutil.rmtree(root)


@pytest.mark.slow
def test_killed_dvc_repro_goes_on_to_the_same_end(tmp_path):
    """DVC and the stage below it killed together, six times, at random moments."""
    whole, broken = (new_clone(tmp_path / name) for name in ("whole", "broken"))
    for clone in (whole, broken):
        clone.set(machine__checkpoint_seconds=0)
        clone.commit("start")
    started = time.monotonic()
    whole.call("dvc", "repro")
    seconds = time.monotonic() - started
    seed = int.from_bytes(os.urandom(4))
    for share in random.Random(seed).choices(range(1, 100), k=6):
        process = subprocess.Popen(
            [PROGRAMS / "dvc", "repro"], cwd=broken.root, env=broken.environment(),
            start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(seconds * share / 100)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    broken.call("dvc", "repro")
    assert kills.tree(broken.root) == kills.tree(whole.root), seed
    for clone in (whole, broken):
        assert "up to date" in clone.call("dvc", "repro")
