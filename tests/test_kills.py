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
from conftest import Project, make_project
from test_pipeline import PROGRAMS, new_clone

pytestmark = pytest.mark.integration

KILLS = {"fast": 2, "slow": 12}


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


def interrupt(stations, stage: str, tmp_path: Path, seed: int, must_land: bool = False) -> None:
    """Kill a stage once to three times, over nothing or over an older result, then finish it."""
    rng = random.Random(seed)
    before, after, whole = stations[stage]
    root = tmp_path / "project"
    # A whole download is left as it is, so there is nothing to kill.
    start = before if stage == "download" else rng.choice([before, after])
    shutil.copytree(start, root, symlinks=True)
    moments = [kills.kill_somewhere(root, stage, rng, whole) for _ in range(rng.randint(1, 3))]
    while must_land and all("too late" in moment for moment in moments):
        moments.append(kills.kill_somewhere(root, stage, rng, whole))
    kills.finish(root, stage)
    left, expected = kills.tree(root), kills.tree(after)
    assert left.keys() == expected.keys(), (seed, moments)
    wrong = [name for name in expected if left[name] != expected[name]]
    assert not wrong, (seed, moments, wrong)


@pytest.mark.parametrize("seed", range(KILLS["fast"]))
@pytest.mark.parametrize("stage", kills.STAGES)
def test_killed_stage_ends_as_an_uninterrupted_one(stations, stage, tmp_path, seed):
    interrupt(stations, stage, tmp_path, seed, must_land=True)


@pytest.mark.slow
@pytest.mark.parametrize("_round", range(KILLS["slow"]))
@pytest.mark.parametrize("stage", kills.STAGES)
def test_killed_stage_ends_as_an_uninterrupted_one_at_random_moments(
    stations, stage, tmp_path, _round
):
    interrupt(stations, stage, tmp_path, int.from_bytes(os.urandom(4)))


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


def test_kills_come_where_they_are_asked_for(stations, tmp_path):
    """The harness itself: a stage killed before its first change has changed nothing."""
    before, _, (changes, _) = stations["package-submission"]
    assert changes > 5
    shutil.copytree(before, tmp_path / "project", symlinks=True)
    assert kills.kill_at_change(tmp_path / "project", "package-submission", 1)
    assert kills.tree(tmp_path / "project") == kills.tree(before)
    project = Project(tmp_path / "project")
    assert kills.kill_at_change(project.root, "package-submission", changes // 2)
    assert kills.tree(project.root) != kills.tree(before)
