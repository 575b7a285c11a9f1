"""Interrupted training ends as an uninterrupted run; what cannot succeed is one message."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import HANGING, ROOT, Project
from PIL import Image
from safetensors.torch import load_file

from sgcp.datasets.index import read_dataset
from sgcp.settings.load import load_params
from sgcp.stages.train import run_fingerprint
from sgcp.training import loop
from sgcp.training.initialization import Initialization

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
COMMAND = [sys.executable, "-m", "sgcp", "train", "sample"]
EVERYTHING = {
    "auxiliary": 0.4, "extra_loss": "lovasz", "extra_loss_weight": 0.5, "mix": 0.5,
    "class_balance": 0.5, "average": 0.5,
}  # fmt: skip


@pytest.fixture
def prepared(prepared: Project) -> Project:
    prepared.set(sample__train__epochs=4, machine__checkpoint_seconds=0)
    return prepared


def recipe(project: Project, **changes) -> None:
    project.set(**{f"sample__train__{key}": value for key, value in changes.items()})


def results(project: Project) -> dict[str, bytes]:
    """Return weights, descriptions and curves."""
    paths = [*project.root.glob("data/models/sample/*"), *(project.root / "metrics").rglob("*.*")]
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def train(project: Project) -> dict[str, bytes]:
    project.ok("train", "sample")
    return results(project)


def start(project: Project, epoch: int, command=COMMAND, **options) -> subprocess.Popen:
    """Start training in a process of its own; return when an epoch is done."""
    process = subprocess.Popen(
        command, cwd=project.root, env=ENVIRONMENT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip
    next(line for line in process.stdout if line.startswith(f"epoch {epoch}/"))
    return process


def label_sparsely(project: Project, pixels: int, maps: int = 4, split: str = "train") -> None:
    """Leave so many pixels of so many label maps, in a patch; ignore all others."""
    paths = sorted((project.root / "data/prepared/sample/labels" / split).rglob("*.png"))
    for index, path in enumerate(paths):
        label = np.full((64, 128), 255, np.uint8)
        if index < maps:
            label[40 : 40 + pixels, 90 : 90 + pixels] = index
        Image.fromarray(label).save(path)
    project.index_labels()


@pytest.mark.integration
def test_interrupted_run_ends_as_an_uninterrupted_one(prepared):
    """From the command line, in the middle of epochs; tests/test_kills.py kills everywhere."""
    for epoch, how, code in ((1, signal.SIGKILL, -9), (2, signal.SIGINT, 130)):
        process = start(prepared, epoch)
        process.send_signal(how)
        process.communicate()
        assert process.returncode == code
    assert not (prepared.root / "data/models/sample").exists()
    output = prepared.ok("train", "sample")
    assert re.search(r"resuming (after epoch [23]|at step 1 of 2 of epoch [34])", output)
    assert not (prepared.root / "data/resume/sample").exists()
    interrupted = results(prepared)
    assert train(prepared) == interrupted


@pytest.mark.parametrize(
    ("changes", "stops"),
    [
        ({}, [1, 1, 1]),
        pytest.param(EVERYTHING, [3], marks=pytest.mark.integration),
        pytest.param({"precision": "bf16-mixed"}, [3], marks=pytest.mark.integration),
        # Crops of 16x16 of 64x128 rarely meet the labelled pixels by chance.
        pytest.param(EVERYTHING | {"crop": [16, 16], "scale": [0.8, 1.5]}, [3],
                     marks=pytest.mark.integration),
    ],
    ids=["plain", "everything", "bf16", "sparse"],
)  # fmt: skip
def test_run_stopped_in_the_middle_of_an_epoch_ends_as_one_run(prepared, changes, stops, request):
    recipe(prepared, epochs=2, **changes)
    if "sparse" in request.node.name:
        label_sparsely(prepared, 2)
    prepared.set(machine__accelerator="cpu")
    whole = train(prepared)
    weights = load_file(prepared.root / "data/models/sample/model.safetensors")
    assert all(w.dtype in (torch.float32, torch.int64) for w in weights.values())
    for taken, steps in enumerate(stops):
        output = prepared.stopped_after(steps, "sample").output
        assert ("resuming" in output) == (taken > 0)
    assert "resuming" in prepared.ok("train", "sample")
    assert results(prepared) == whole


def test_losses_read_late_are_the_same(prepared, monkeypatch):
    """A GPU may run ahead of them."""
    recipe(prepared, epochs=2)
    first = train(prepared)
    monkeypatch.setattr(loop, "LOSSES_READ_EVERY", {"cpu": 16})
    assert train(prepared) == first


@pytest.mark.slow
def test_compiled_run_ends_alike_twice_and_resumed(prepared):
    recipe(prepared, epochs=2)
    prepared.set(machine__compile=True)
    first = train(prepared)
    assert prepared.stopped_after(3, "sample").exit_code == 130
    # Uncompiled it starts again, since the two round differently.
    prepared.set(machine__compile=False)
    assert "resuming" not in prepared.stopped_after(0, "sample").output
    prepared.set(machine__compile=True)
    assert train(prepared) == first


@pytest.mark.integration
def test_killed_between_model_and_curves_is_noticed_and_ends_whole(prepared, monkeypatch):
    """The new model never has the curves of the old one."""

    def stop(*_):
        raise KeyboardInterrupt

    def page() -> str:
        prepared.ok("report", "sample")
        return (prepared.root / "data/reports/sample/report.html").read_text()

    recipe(prepared, epochs=2)
    prepared.ok("train", "sample")
    recipe(prepared, epochs=3)
    with monkeypatch.context() as patch:
        patch.setattr("sgcp.stages.train.place_curves", stop)
        assert prepared.run("train", "sample").exit_code == 130
    prepared.ok("validate", "sample")
    assert "There are no curves of this model" in page()
    assert "resuming after epoch 3" in prepared.ok("train", "sample")
    assert not re.search("There are no curves|Unfinished run", page())
    assert not list((prepared.root / "metrics/sample").glob("train?*"))


def test_run_stopped_while_it_validates_resumes_there(prepared, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    prepared.set(machine__checkpoint_seconds=3600)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", stop)
        assert prepared.run("train", "sample").exit_code == 130
    assert "resuming at step 2 of 2 of epoch 1" in prepared.ok("train", "sample")


def test_run_begun_by_other_code_is_not_resumed(prepared, monkeypatch):
    prepared.stopped_after(1, "sample")
    monkeypatch.setattr("sgcp.stages.train.code_digest", lambda *_: "other")
    assert "resuming" not in prepared.stopped_after(0, "sample").output


def test_an_unfinished_run_outlives_another_one(prepared):
    """Such as the one that a forgotten `--recipe` begins."""
    prepared.stopped_after(5, "sample")
    changes = ("--set", "epochs=1")
    assert "an unfinished run with other settings" in prepared.ok("train", "sample", *changes)
    assert "an unfinished run" not in prepared.ok("train", "sample", *changes)
    assert "resuming at step 1 of 2 of epoch 3" in prepared.ok("train", "sample")
    assert not (prepared.root / "data/resume/sample").exists()


@pytest.mark.parametrize("changed", ["split", "order"])
def test_run_on_images_in_another_split_or_order_is_another_run(prepared, changed):
    """Or weights that learnt from an image would be scored on it, or a teacher's be mixed up."""
    dataset = read_dataset(prepared.root / "data/prepared/sample")
    settings = load_params(prepared.root / "params.yaml").sample.train
    first, *rest = dataset.items
    moved = replace(first, split="val", image=Path(str(first.image).replace("train", "val", 1)))
    items = [moved, *rest] if changed == "split" else [*rest, first]
    before, after = (
        run_fingerprint(one, settings, Initialization())
        for one in (dataset, replace(dataset, items=tuple(items)))
    )
    assert before != after


def test_run_resumed_with_another_number_of_threads_says_so_and_records_both(prepared):
    before = torch.get_num_threads()
    try:
        prepared.set(machine__accelerator="cpu", machine__threads=1)
        assert "threads" not in prepared.stopped_after(1, "sample").output
        prepared.set(machine__threads=2)
        assert "threads: 1, then 2: the weights will differ" in prepared.ok("train", "sample")
    finally:
        torch.set_num_threads(before)
    card = json.loads((prepared.root / "data/models/sample/model.json").read_text())
    assert card["provenance"]["threads"] == [1, 2]


@pytest.mark.integration
def test_second_training_of_a_dataset_waits_and_is_refused(prepared, monkeypatch):
    """Such as one left alone by a killed `dvc repro`: two would write one log."""
    recipe(prepared, epochs=500)
    first = start(prepared, 1)
    monkeypatch.setattr("sgcp.core.files.PATIENCE", 0.2)
    assert "another sgcp is writing there" in prepared.fails("train", "sample")
    first.kill()
    first.communicate()


def kill_all_in(folder: Path) -> None:
    """Kill the launcher and its workers, which it starts in sessions of their own."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").resolve() == folder.resolve():
                os.kill(int(entry.name), signal.SIGKILL)


@pytest.mark.integration
def test_two_processes_killed_resume_to_the_results_of_one_run(prepared):
    """Under torchrun, two CPU processes share the batch; both get the state that one reads."""
    prepared.set(machine__accelerator="cpu", machine__devices=2, sample__train__batch_size=4)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "-m", "sgcp", "train", "sample",
    ]  # fmt: skip

    def finish() -> str:
        return subprocess.run(command, cwd=prepared.root, env=ENVIRONMENT, text=True, check=True,
                              stdout=subprocess.PIPE).stdout  # fmt: skip

    first = start(prepared, 2, command)
    kill_all_in(prepared.root)
    first.communicate()
    output = finish()
    assert "resuming" in output
    assert output.count("epoch 4/4") == 1  # one process reports
    interrupted = results(prepared)
    finish()
    assert results(prepared) == interrupted


# --- what a run reports


def test_loss_falls_and_waiting_is_shown_but_not_logged(prepared):
    recipe(prepared, epochs=8, validate_every=8)
    output = prepared.ok("train", "sample")
    losses = [float(text) for text in re.findall(r"loss (\d+\.\d+)", output)]
    assert len(losses) == 8
    assert losses[-1] < 0.8 * losses[0]
    assert re.search(r"epoch 8/8 .* images/s, \d+\.\d% waiting for data", output)
    assert re.search(r"kept epoch .*, \d+ s, \d+\.\d images/s, \d+\.\d% of it waiting", output)
    assert b"waiting" not in b"".join(results(prepared).values())


def test_loss_of_an_epoch_is_the_mean_of_the_steps_that_had_a_label(prepared):
    """Two steps, one of them without a labelled pixel."""
    label_sparsely(prepared, 8, maps=1)
    recipe(prepared, epochs=1, lr=1e-9)
    loss = float(re.search(r"loss (\d+\.\d+)", prepared.ok("train", "sample"))[1])
    assert loss > 2.2  # ln 19 = 2.94 at the beginning, not half of it


@pytest.mark.integration
def test_epoch_without_the_only_labelled_image_has_no_loss(prepared):
    """Of 4 images a batch of 3 leaves one out."""
    label_sparsely(prepared, 8, maps=1)
    recipe(prepared, batch_size=3, epochs=8)
    text = prepared.ok("train", "sample")
    without = re.findall(r"epoch (\d)/8  loss - \(no labelled pixel\)", text)
    assert 0 < len(without) < 8
    rows = (prepared.root / "metrics/sample/train/plots/metrics/loss.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows[1:]] == [
        str(epoch) for epoch in range(1, 9) if str(epoch) not in without
    ]
    assert "nan" not in "".join(rows)


# --- failures


def without_commit(project: Project) -> None:
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)


def unlabelled(project: Project) -> None:
    label_sparsely(project, 0)
    recipe(project, class_balance=0.5)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_commit, "run `git add . && git commit -m start`"),
        (lambda p: label_sparsely(p, 0, split="val"), "no scored pixel"),
        (lambda p: label_sparsely(p, 0), "no crop has a labelled pixel"),
        (unlabelled, "no crop has a labelled pixel"),
        (lambda p: recipe(p, lr=1000, optimizer="sgd", warmup=0.0), "the loss is not finite"),
        (lambda p: p.set(machine__accelerator="cuda"), "machine (accelerator cuda"),
    ],
    ids=["no commit", "no scored pixel", "no label", "no balance", "diverged", "no GPU"],
)
def test_run_that_cannot_succeed_is_one_message_twice_and_leaves_no_model(
    prepared, spoil, message, request
):
    if "no GPU" in request.node.name and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    spoil(prepared)
    for _ in range(2):  # the second time too, not from where the first one ended
        text = prepared.fails("train", "sample")
        assert message in text
        assert len(text.splitlines()) == 1
    assert not (prepared.root / "data/models/sample").exists()


def test_damaged_image_is_one_message_from_a_worker_too(prepared, monkeypatch):
    """It is damaged after the stage compared its files."""
    monkeypatch.setattr("sgcp.stages.train.refuse_stale", lambda *_: None)
    prepared.set(machine__loader_workers=1)
    image = next((prepared.root / "data/raw/sample/leftImg8bit/train").rglob("*.png"))
    image.write_bytes(image.read_bytes()[:-300])
    text = prepared.fails("train", "sample")
    assert image.name in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.integration
def test_signal_to_the_group_while_loader_processes_run_is_one_line(prepared, sent):
    """As a scheduler, `timeout` or a closed terminal sends it."""
    prepared.set(machine__loader_workers=2, sample__train__epochs=400)
    process = start(prepared, 2, start_new_session=True)
    os.killpg(process.pid, sent)
    _, errors = process.communicate(timeout=HANGING)
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[sent]
    assert len(errors.splitlines()) == 1, errors
    assert errors.endswith("Run the command again to continue\n")
    prepared.set(machine__loader_workers=0)
    assert "resuming" in prepared.stopped_after(1, "sample").output


def children(pid):
    return [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.integration
def test_killed_loader_process_is_one_message_and_no_bug(prepared):
    """As the kernel kills when memory is short."""
    prepared.set(machine__loader_workers=1, sample__train__epochs=400)
    process = start(prepared, 2)
    (loader,) = [k for child in children(process.pid) for k in children(child)]
    os.kill(loader, signal.SIGKILL)
    _, errors = process.communicate(timeout=HANGING)
    assert process.returncode == 1
    assert "error: a loader process was killed" in errors
    assert not re.search("Traceback|bug", errors)
