"""Shards of a prediction: any number of processes, in any order, killed or not, make one whole."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import kills
import pytest
from conftest import ROOT, Project

from sgcp.core.errors import SgcpError
from sgcp.stages.shards import Shard, choose_shard, join_shards, link_or_copy, take_own_gpu

pytestmark = pytest.mark.integration

PREDICTIONS = "data/predictions/sample"


@pytest.fixture
def unpredicted(trained: Project) -> Project:
    """A project with a model whose predictions are still to be made; ``expected`` has them."""
    trained.set(sample__predict__split="train")  # four images
    trained.ok("predict", "sample")
    trained.expected = kills.tree(trained.root)
    shutil.rmtree(trained.root / PREDICTIONS)
    return trained


def left(project: Project) -> set[str]:
    folder = project.root / "data/predictions"
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_in_any_order_make_the_whole(unpredicted, order):
    *others, last = order
    for number in others:
        assert f"shard {number}/3 is done" in unpredicted.ok(
            "predict", "sample", "--shard", f"{number}/3"
        )
        assert not (unpredicted.root / PREDICTIONS).exists()
    assert "4 label-id images" in unpredicted.ok("predict", "sample", "--shard", f"{last}/3")
    assert kills.tree(unpredicted.root) == unpredicted.expected
    assert left(unpredicted) == {"sample"}


def test_half_is_not_taken_for_the_whole(unpredicted):
    unpredicted.ok("predict", "sample", "--shard", "1/2")
    assert "not found; run `sgcp predict sample`" in unpredicted.fails(
        "package-submission", "sample"
    )
    unpredicted.ok("predict", "sample")  # without shards it goes as ever
    assert {n: b for n, b in kills.tree(unpredicted.root).items() if "shards" not in n} == (
        unpredicted.expected
    )


def test_finished_shard_is_not_done_again_unless_the_model_is_another(unpredicted):
    unpredicted.ok("predict", "sample", "--shard", "1/2")
    shard = unpredicted.root / "data/predictions/sample.shards-2/1"
    before = shard.stat().st_ino
    unpredicted.ok("predict", "sample", "--shard", "1/2")
    assert shard.stat().st_ino == before
    unpredicted.set(sample__predict__input_size=[32, 64])
    unpredicted.ok("predict", "sample", "--shard", "2/2")
    assert not (unpredicted.root / PREDICTIONS).exists()  # halves of two runs are no whole
    unpredicted.ok("predict", "sample", "--shard", "1/2")
    assert shard.parent.exists() is False
    assert left(unpredicted) == {"sample"}


def test_error_in_one_shard_leaves_the_others(unpredicted):
    unpredicted.ok("predict", "sample", "--shard", "1/2")
    image = sorted((unpredicted.root / "data/raw/sample/leftImg8bit/train").rglob("*.png"))[1]
    whole = image.read_bytes()
    image.write_bytes(whole[:-300])
    assert image.name in unpredicted.fails("predict", "sample", "--shard", "2/2")
    assert left(unpredicted) == {"sample.shards-2"}
    image.write_bytes(whole)
    unpredicted.ok("predict", "sample", "--shard", "2/2")
    assert kills.tree(unpredicted.root) == unpredicted.expected


def test_file_taken_out_of_a_finished_shard_is_missed(unpredicted):
    unpredicted.ok("predict", "sample", "--shard", "1/2")
    next((unpredicted.root / "data/predictions/sample.shards-2/1").glob("*.png")).unlink()
    assert "taken out of a finished shard" in unpredicted.fails(
        "predict", "sample", "--shard", "2/2"
    )
    assert not (unpredicted.root / PREDICTIONS).exists()


@pytest.mark.parametrize(
    "text", ["", "0/2", "3/2", "1/0", "1", "1/2/3", "a/b", "-1/2", "1/10001", "1 / 2", "²/3"]
)
def test_nonsense_is_one_message(prepared, text):
    assert "--shard: I/N, I from 1 to N" in prepared.fails("predict", "sample", "--shard", text)


def test_launcher_gives_the_shards(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert choose_shard(None) is None
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert choose_shard(None) is None
    assert choose_shard("2/3") == Shard(2, 3)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert choose_shard(None) == Shard(1, 4)
    with pytest.raises(SgcpError, match="shares the work out already"):
        choose_shard("1/4")
    monkeypatch.setenv("RANK", "4")
    with pytest.raises(SgcpError, match="'4' of '4' is no process"):
        choose_shard(None)


def test_each_process_takes_its_own_gpu(monkeypatch):
    taken = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    monkeypatch.setattr("torch.cuda.set_device", taken.append)
    take_own_gpu()
    monkeypatch.setenv("LOCAL_RANK", "3")
    take_own_gpu()
    assert taken == [3]


def test_shards_share_everything_once():
    shards = [Shard(number, 7).take(range(100)) for number in range(1, 8)]
    assert sorted(task for shard in shards for task in shard) == list(range(100))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert Shard(5, 7).take([1, 2]) == []


def test_processes_of_a_launcher_share_the_work(unpredicted):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "-m", "sgcp", "predict", "sample",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=unpredicted.root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert kills.tree(unpredicted.root) == unpredicted.expected
    assert left(unpredicted) == {"sample"}


@pytest.mark.parametrize("_round", range(3))
def test_shards_that_finish_at_once_are_joined_once(unpredicted, _round):
    """As many as can be: one of them joins, none fails, none leaves it to nobody."""
    processes = [
        kills.context.Process(
            target=kills.run, args=(unpredicted.root, f"predict --shard {i}/6", None)
        )
        for i in range(1, 7)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0, (unpredicted.root / "log.txt").read_text()[-2000:]
    assert kills.tree(unpredicted.root) == unpredicted.expected
    assert left(unpredicted) == {"sample"}


def kill_last_shard(project: Project, folder: Path, moments: list[int] | None) -> None:
    """Kill the shard that joins before some changes of the disk (None: each); then finish it."""
    project.ok("predict", "sample", "--shard", "2/2")
    whole = folder / "whole"
    shutil.copytree(project.root, whole, symlinks=True)
    changes, _ = kills.finish(whole, "predict --shard 1/2")
    assert kills.tree(whole) == project.expected
    for moment in moments or range(1, changes + 1):
        number = 1 + moment % changes
        root = folder / f"kill-{number}"
        shutil.copytree(project.root, root, symlinks=True)
        assert kills.kill_at_change(root, "predict --shard 1/2", number)
        predictions = root / PREDICTIONS
        if predictions.exists():  # then it is the whole
            assert len(list(predictions.iterdir())) == 4, number
        kills.finish(root, "predict --shard 1/2")
        if left(Project(root)) != {"sample"}:  # it was whole already, and is made once more
            kills.finish(root, "predict --shard 2/2")
        assert kills.tree(root) == project.expected, number
        shutil.rmtree(root)


def test_killed_shard_goes_on_to_the_same_whole(unpredicted, tmp_path):
    kill_last_shard(unpredicted, tmp_path, random.Random(0).sample(range(60), 5))


@pytest.mark.slow
def test_shard_killed_at_each_change_of_the_disk(unpredicted, tmp_path):
    kill_last_shard(unpredicted, tmp_path, None)


def test_file_systems_without_links_get_copies(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"1")

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"1"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_no_shard_at_all_joins_nothing(tmp_path):
    assert not join_shards(tmp_path / "final", 2, "key", [])
    assert not (tmp_path / "final").exists()
