"""Several seeds: their mean and deviation, beside the stages' own outputs."""

import json
import statistics

import pytest
from conftest import Project
from kills import tree

from sgcp.tools.seeds import render_seeds, summarize

pytestmark = pytest.mark.integration


@pytest.fixture
def prepared(project):
    project.ok("download", "sample")
    project.ok("prepare", "sample")
    return project


def test_seeds_report_mean_and_deviation_and_touch_nothing_else(prepared):
    before = tree(prepared.root)
    text = prepared.ok("train", "sample", "--seeds", "3")
    assert "seeds 42, 43, 44" in text
    after = tree(prepared.root)
    assert {name for name in after if name not in before} == {
        name for name in after if "/seeds/" in name
    }
    folder = prepared.root / "metrics/sample/seeds"
    summary = json.loads((folder / "summary.json").read_text())
    values = [json.loads((folder / f"{s}/validate.json").read_text())["miou"] for s in (42, 43, 44)]
    assert len(set(values)) > 1
    assert summary["miou"]["values"] == values
    assert summary["miou"]["mean"] == pytest.approx(statistics.fmean(values))
    assert summary["miou"]["std"] == pytest.approx(statistics.stdev(values))
    assert summary["protocol"] == "cityscapes-19"
    assert summary["iou"]["road"]["values"]


def test_seed_of_a_run_by_hand_is_the_same_run(prepared):
    prepared.ok("train", "sample", "--seeds", "2")
    prepared.set(sample__train__seed=43)
    prepared.ok("train", "sample")
    prepared.ok("validate", "sample")
    by_hand = (prepared.root / "metrics/sample/validate.json").read_bytes()
    assert (prepared.root / "metrics/sample/seeds/43/validate.json").read_bytes() == by_hand


def test_finished_seeds_are_not_run_again_unless_something_changed(prepared):
    prepared.ok("train", "sample", "--seeds", "2")
    text = prepared.ok("train", "sample", "--seeds", "3")
    assert text.count("finished already") == 2
    assert text.count("training\n") == 1
    prepared.set(sample__train__lr=0.02)
    assert "finished already" not in prepared.ok("train", "sample", "--seeds", "2")


def test_one_seed_and_torchrun_are_refused(prepared, monkeypatch):
    assert "--seeds: two or more" in prepared.fails("train", "sample", "--seeds", "1")
    prepared.set(machine__devices=2)
    assert "runs on one device" in prepared.fails("train", "sample", "--seeds", "2")
    prepared.set(machine__devices="auto")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "not under torchrun" in prepared.fails("train", "sample", "--seeds", "2")


def test_split_that_cannot_be_scored_is_refused_before_training(prepared):
    prepared.set(sample__validate__split="train")
    result = prepared.run("train", "sample", "--seeds", "2")
    assert "`--split val`" not in result.stderr  # which `train` does not take
    assert "images to score were trained on" in result.stderr
    assert "training" not in result.stdout
    assert not (prepared.root / "data/seeds").exists()


def test_a_model_of_the_stages_can_be_started_from(trained):
    """Seeds are written elsewhere, so that it stays."""
    trained.set(sample__train__init="data/models/sample")
    assert "own output folder" in trained.fails("train", "sample")
    assert "seeds 42, 43" in trained.ok("train", "sample", "--seeds", "2")


def test_number_that_a_run_lacks_is_null_and_shown_as_a_dash():
    runs = [{"dataset": "x", "split": "val", "protocol": "p", "miou": 0.5, "miiou": None,
             "pixel_accuracy": 0.9, "iou": {"road": 0.5, "sky": value}, "model": {"epoch": 1}}
            for value in (0.25, None)]  # fmt: skip
    summary = summarize(dict(zip((1, 2), runs, strict=True)))
    assert summary["miou"] == {"mean": 0.5, "std": 0.0, "values": [0.5, 0.5]}
    assert summary["miiou"]["mean"] is summary["iou"]["sky"]["std"] is None
    assert "model" not in summary
    assert render_seeds(summary).row_count == 5


def test_run_from_a_folder_below_is_the_same_run(prepared, monkeypatch):
    """Not told apart by how its paths are written."""
    prepared.ok("train", "sample", "--seeds", "2")
    below = Project(prepared.root / "pipeline")
    assert below.ok("train", "sample", "--seeds", "2").count("finished already") == 2
