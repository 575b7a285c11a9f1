"""Interrupted training, with real kills."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import HANGING, ROOT, Project
from lightning_fabric import Fabric
from PIL import Image

from sgcp.settings.load import load_params

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
COMMAND = [sys.executable, "-m", "sgcp", "train", "sample"]
RESULTS = ("model.safetensors", "model.json", "last.safetensors", "last.json")


@pytest.fixture
def prepared(prepared: Project) -> Project:
    prepared.set(sample__train__epochs=4, machine__checkpoint_seconds=0)
    return prepared


def results(project: Project) -> dict[str, bytes]:
    """Return weights, descriptions and curves."""
    files = {name: (project.root / "data/models/sample" / name).read_bytes() for name in RESULTS}
    curves = project.root / "metrics/sample/train"
    files |= {path.name: path.read_bytes() for path in curves.rglob("*.tsv")}
    return files


def kill_after_epoch(project: Project, epoch: int, how: int) -> None:
    process = subprocess.Popen(
        COMMAND, cwd=project.root, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith(f"epoch {epoch}/"):
            process.send_signal(how)
            break
    process.stdout.read()
    process.wait()
    assert process.returncode == (-9 if how == signal.SIGKILL else 130)


@pytest.mark.integration
def test_interrupted_run_ends_as_an_uninterrupted_one(prepared):
    """From the command line, in the middle of epochs; tests/test_kills.py kills everywhere."""
    kill_after_epoch(prepared, 1, signal.SIGKILL)
    kill_after_epoch(prepared, 2, signal.SIGINT)
    assert not (prepared.root / "data/models/sample").exists()
    output = prepared.ok("train", "sample")
    assert re.search(r"resuming (after epoch [23]|at step 1 of 2 of epoch [34])", output)
    assert not (prepared.root / "data/resume/sample").exists()
    interrupted = results(prepared)
    prepared.ok("train", "sample")
    whole = results(prepared)
    assert interrupted.keys() == whole.keys()
    for name in whole:
        assert interrupted[name] == whole[name], name


@pytest.mark.integration
def test_run_resumes_in_the_middle_of_an_epoch(prepared):
    """Stopped after each single step in turn, the weights are those of one run."""
    prepared.set(sample__train__epochs=2)
    prepared.ok("train", "sample")
    whole = results(prepared)
    places = [prepared.stopped_after(1, "sample").output for _ in range(4)]
    assert "resuming at step 1 of 2 of epoch 1" in places[1]
    assert "resuming at step 1 of 2 of epoch 2" in places[3]
    prepared.ok("train", "sample")
    assert results(prepared) == whole


@pytest.mark.integration
def test_killed_between_model_and_curves_is_noticed_and_ends_whole(prepared, monkeypatch):
    """The new model never has the curves of the old one."""
    from sgcp.stages import train

    def stop(*_):
        raise KeyboardInterrupt

    prepared.set(sample__train__epochs=2)
    prepared.ok("train", "sample")
    prepared.set(sample__train__epochs=3)
    with monkeypatch.context() as patch:
        patch.setattr(train, "place_curves", stop)
        assert prepared.run("train", "sample").exit_code == 130
    prepared.ok("validate", "sample")
    prepared.ok("report", "sample")
    page = (prepared.root / "data/reports/sample/report.html").read_text()
    assert "There are no curves of this model" in page
    assert "resuming after epoch 3" in prepared.ok("train", "sample")
    prepared.ok("report", "sample")
    page = (prepared.root / "data/reports/sample/report.html").read_text()
    assert "There are no curves" not in page
    assert "Unfinished run" not in page
    assert not list((prepared.root / "metrics/sample").glob("train?*"))


def test_run_stopped_while_it_validates_goes_on_there(prepared, monkeypatch):
    from sgcp.training import loop

    def stop(*_):
        raise KeyboardInterrupt

    prepared.set(machine__checkpoint_seconds=3600)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", stop)
        assert prepared.run("train", "sample").exit_code == 130
    assert "resuming at step 2 of 2 of epoch 1" in prepared.ok("train", "sample")


@pytest.mark.integration
def test_second_training_of_a_dataset_waits_and_is_refused(prepared, monkeypatch):
    """Such as one left alone by a killed `dvc repro`: two would write one log."""
    prepared.set(sample__train__epochs=500)
    first = subprocess.Popen(
        COMMAND, cwd=prepared.root, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    for line in first.stdout:
        if line.startswith("epoch 1/"):
            break
    monkeypatch.setattr("sgcp.core.files.PATIENCE", 0.2)
    assert "another sgcp is writing there" in prepared.fails("train", "sample")
    first.kill()
    first.communicate()


def test_every_part_with_a_state_is_in_the_checkpoint():
    from sgcp.models.network import Normalize, SGCPNet
    from sgcp.settings import TrainSettings
    from sgcp.training.run import start

    settings = load_params(ROOT / "params.yaml").sample.train
    assert isinstance(settings, TrainSettings)
    settings = settings.model_copy(update={"average": 0.9, "auxiliary": 0.4})
    fabric = Fabric(accelerator="cpu", devices=1)
    run = start(fabric, SGCPNet(19), Normalize(), settings, steps=1, compiling=False)
    assert run.average is not None
    assert run.heads is not None
    assert run.parts() == {
        "network": run.network,
        "optimizer": run.optimizer,
        "schedule": run.schedule,
        "precision": fabric.strategy.precision,
        "average": run.average,
        "heads": run.heads,
    }


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

    def launch() -> subprocess.Popen:
        return subprocess.Popen(command, cwd=prepared.root, env=ENVIRONMENT, text=True,
                                stdout=subprocess.PIPE)  # fmt: skip

    first = launch()
    for line in first.stdout:
        if line.startswith("epoch 2/"):
            kill_all_in(prepared.root)
    first.wait()
    second = launch()
    output = second.communicate()[0]
    assert second.returncode == 0
    assert "resuming" in output
    assert output.count("epoch 4/4") == 1  # one process reports
    interrupted = results(prepared)
    assert launch().wait() == 0
    assert results(prepared) == interrupted


def test_learning_learns(prepared):
    """A few epochs on a handful of images lower the loss."""
    prepared.set(sample__train__epochs=8, sample__train__validate_every=8)
    output = prepared.ok("train", "sample")
    losses = [float(text) for text in re.findall(r"loss (\d+\.\d+)", output)]
    assert len(losses) == 8
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.integration
def test_bfloat16_trains_and_goes_on_as_in_one_go(prepared):
    from safetensors.torch import load_file

    prepared.set(sample__train__epochs=2, sample__train__precision="bf16-mixed")
    prepared.set(machine__accelerator="cpu")
    prepared.ok("train", "sample")
    whole = results(prepared)
    weights = load_file(prepared.root / "data/models/sample/model.safetensors")
    assert all(w.dtype in (torch.float32, torch.int64) for w in weights.values())
    assert prepared.stopped_after(3, "sample").exit_code == 130
    assert "resuming at step 1 of 2 of epoch 2" in prepared.ok("train", "sample")
    assert results(prepared) == whole


def test_repository_without_a_commit_is_one_message(prepared):
    subprocess.run(["git", "init", "-q"], cwd=prepared.root, check=True)
    assert "run `git commit`" in prepared.fails("train", "sample")


def test_damaged_image_is_one_message_from_a_worker_too(prepared, monkeypatch):
    """It is damaged after the stage compared its files."""
    monkeypatch.setattr("sgcp.stages.train.refuse_stale", lambda *_: None)
    prepared.set(machine__loader_workers=1)
    image = next((prepared.root / "data/raw/sample/leftImg8bit/train").rglob("*.png"))
    image.write_bytes(image.read_bytes()[:-300])
    text = prepared.fails("train", "sample")
    assert image.name in text
    assert len(text.splitlines()) == 1


def test_split_without_a_scored_pixel_trains_no_empty_model(prepared):
    for path in (prepared.root / "data/prepared/sample/labels/val").rglob("*.png"):
        Image.fromarray(np.full((64, 128), 255, np.uint8)).save(path)
    prepared.index_labels()
    assert "no scored pixel" in prepared.fails("train", "sample")
    assert not (prepared.root / "data/models/sample").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_one_message(prepared):
    prepared.set(machine__accelerator="cuda")
    assert "machine (accelerator cuda" in prepared.fails("train", "sample")


@pytest.mark.integration
def test_run_begun_by_other_code_is_not_gone_on_with(prepared, monkeypatch):
    kill_after_epoch(prepared, 1, signal.SIGKILL)
    prepared.set(sample__train__epochs=4)
    monkeypatch.setattr("sgcp.stages.train.code_digest", lambda *_: "other")
    assert "resuming" not in prepared.ok("train", "sample")


def test_diverged_run_stops_and_leaves_no_model(prepared):
    prepared.set(sample__train__lr=1000, sample__train__optimizer="sgd", sample__train__warmup=0.0)
    for _ in range(2):  # the second time too, not from where the first one ended
        text = prepared.fails("train", "sample")
        assert "the loss is not finite" in text
    left = [path.name for path in (prepared.root / "data/resume/sample").iterdir()]
    assert left == ["curves"]  # to be looked at
    assert not (prepared.root / "data/models/sample").exists()


def label_sparsely(project: Project, pixels: int, maps: int = 4) -> None:
    """Leave so many pixels of so many training label maps, in a patch; ignore all others."""
    paths = sorted((project.root / "data/prepared/sample/labels/train").rglob("*.png"))
    for index, path in enumerate(paths):
        label = np.full((64, 128), 255, np.uint8)
        if index < maps:
            label[40 : 40 + pixels, 90 : 90 + pixels] = index
        Image.fromarray(label).save(path)
    project.index_labels()


def test_training_labels_without_a_labelled_pixel_are_refused(prepared):
    label_sparsely(prepared, 0)
    for balance in (0.0, 0.5):
        prepared.set(sample__train__class_balance=balance)
        text = prepared.fails("train", "sample")
        assert "no crop has a labelled pixel" in text
        assert len(text.splitlines()) == 1


@pytest.mark.parametrize("pixels", [1, 5])
@pytest.mark.integration
def test_sparse_labels_train_to_the_end_interrupted_or_not(prepared, pixels):
    """Crops of 16x16 of 64x128 rarely meet them by chance."""
    label_sparsely(prepared, pixels)
    prepared.set(sample__train__crop=[16, 16], sample__train__scale=[0.8, 1.5],
                 sample__train__mix=0.5, sample__train__extra_loss="lovasz",
                 sample__train__extra_loss_weight=0.5, sample__train__auxiliary=0.4,
                 sample__train__class_balance=0.5, sample__train__epochs=12)  # fmt: skip
    assert "nan" not in prepared.ok("train", "sample")
    whole = results(prepared)
    assert prepared.stopped_after(15, "sample").exit_code == 130
    assert "resuming" in prepared.ok("train", "sample")
    assert results(prepared) == whole


@pytest.mark.integration
def test_epoch_that_leaves_out_the_only_labelled_image_is_no_reason_to_stop(prepared):
    """Of 4 images a batch of 3 leaves one out; the epoch has no loss then, and says so."""
    label_sparsely(prepared, 8, maps=1)
    prepared.set(sample__train__batch_size=3, sample__train__epochs=8)
    text = prepared.ok("train", "sample")
    without = re.findall(r"epoch (\d)/8  loss - \(no labelled pixel\)", text)
    assert 0 < len(without) < 8
    rows = (prepared.root / "metrics/sample/train/plots/metrics/loss.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows[1:]] == [
        str(epoch) for epoch in range(1, 9) if str(epoch) not in without
    ]
    assert "nan" not in "".join(rows)


def test_loss_of_an_epoch_is_the_mean_of_the_steps_that_had_a_label(prepared):
    """Two steps, one of them without a labelled pixel."""
    label_sparsely(prepared, 8, maps=1)
    prepared.set(sample__train__epochs=1, sample__train__lr=1e-9)
    text = prepared.ok("train", "sample")
    loss = float(re.search(r"loss (\d+\.\d+)", text)[1])
    assert loss > 2.2  # ln 19 = 2.94 at the beginning, not half of it


# --- signals to the whole group


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.integration
def test_signal_to_the_group_while_loader_processes_run_is_one_line(prepared, sent):
    """As a scheduler, `timeout` or a closed terminal sends it."""
    prepared.set(machine__loader_workers=2, sample__train__epochs=400)
    process = subprocess.Popen(
        COMMAND, cwd=prepared.root, env=ENVIRONMENT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            os.killpg(process.pid, sent)
            break
    _, errors = process.communicate(timeout=HANGING)
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[sent]
    assert len(errors.splitlines()) == 1, errors
    assert errors.endswith("Run the command again to continue\n")
    prepared.set(sample__train__epochs=400, machine__loader_workers=0)
    assert "resuming" in prepared.stopped_after(1, "sample").output


def children(pid):
    return [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.integration
def test_killed_loader_process_is_one_message_and_no_bug(prepared):
    """As the kernel kills when memory is short."""
    prepared.set(machine__loader_workers=1, sample__train__epochs=400)
    process = subprocess.Popen(
        COMMAND, cwd=prepared.root, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            (loader,) = [k for child in children(process.pid) for k in children(child)]
            os.kill(loader, signal.SIGKILL)
            break
    _, errors = process.communicate(timeout=HANGING)
    assert process.returncode == 1
    assert "error: a loader process was killed" in errors
    assert "Traceback" not in errors
    assert "bug" not in errors
