"""Several processes, on one machine or two, learn what one process learns."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import HANGING, ROOT, Project, make_project

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import IGNORE
from sgcp.media.images import read_label, write_png
from sgcp.settings.load import load_params
from sgcp.stages.train import count_processes

pytestmark = pytest.mark.integration

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
LAUNCHER = [sys.executable, "-m", "torch.distributed.run"]
SCRIPT = str(Path(__file__).with_name("gathered.py"))
STEPS = 8
# Share of the loss. 2e-7, the rounding of a loss in 32 bits, was seen; 0.02 with statistics of half
# the batch, 0.05 with gradients that are not averaged, 0.08 with the same data for both.
SAME = 1e-5


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Project:
    """16 images, every pixel scored.

    A process averages over the scored pixels of its own images, so that with unscored ones the
    mean of two processes is not that of one.
    """
    project = make_project(tmp_path_factory.mktemp("processes"))
    project.set(
        sample__download__train=16, sample__train__batch_size=8, sample__train__epochs=4,
        sample__train__scale=[1.0, 1.0], sample__train__validate_every=4,
        machine__accelerator="cpu",
    )  # fmt: skip
    project.ok("download", "sample")
    project.ok("prepare", "sample")
    for path in (project.root / "data/prepared/sample/labels/train").rglob("*.png"):
        label = read_label(path)
        label[label == IGNORE] = 0
        write_png(path, label)
    project.index_labels()
    return project


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def losses(small: Project, folder: Path, nodes: int, each: int) -> np.ndarray:
    """Train under a launcher a node; return the loss of each step, the mean over processes."""
    root = folder / f"{nodes}x{each}"
    shutil.copytree(small.root, root)
    address = f"--master-addr=127.0.0.1 --master-port={free_port()}".split()
    processes = [
        subprocess.Popen(
            [*LAUNCHER, f"--nnodes={nodes}", f"--nproc-per-node={each}", f"--node-rank={node}",
             *address, SCRIPT, str(root)],
            cwd=root, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for node in range(nodes)
    ]  # fmt: skip
    for process in processes:
        output, _ = process.communicate(timeout=HANGING)
        assert process.returncode == 0, output[-3000:]
    found = [json.loads(path.read_text()) for path in sorted(root.glob("losses-*.json"))]
    assert len(found) == nodes * each
    assert (root / "data/models/sample/model.safetensors").is_file()
    return np.mean(found, axis=0)


@pytest.mark.parametrize(
    ("nodes", "changes"), [(1, {}), (2, {"auxiliary": 0.4, "mix": 0.5, "average": 0.9})]
)
def test_two_processes_have_the_loss_curve_of_one(small, tmp_path, nodes, changes):
    """On one machine, or one each on two machines (two launchers that meet on the loopback).

    Weighted classes and Lovász-Softmax are each process's own mean, so they are left out.
    """
    project = Project(shutil.copytree(small.root, tmp_path / "project"))
    project.set(**{f"sample__train__{key}": value for key, value in changes.items()})
    alone = losses(project, tmp_path, 1, 1)
    assert alone.shape == (STEPS,)
    assert alone[-1] < 0.9 * alone[0]  # there is a curve to compare
    together = losses(project, tmp_path, nodes, 2 // nodes)
    assert np.abs(together / alone - 1).max() < SAME


def test_two_processes_learn_from_a_teacher(small, tmp_path):
    project = Project(shutil.copytree(small.root, tmp_path / "project"))
    project.set(sample__train__epochs=1)
    project.ok("train", "sample")
    (project.root / "data/models/sample").rename(project.root / "teacher")
    project.set(sample__train__teacher="teacher", sample__train__distill=1.0)
    command = [*LAUNCHER, "--nproc-per-node=2", f"--master-port={free_port()}", "-m", "sgcp"]
    done = subprocess.run(
        [*command, "train", "sample"], cwd=project.root, env=ENVIRONMENT, capture_output=True,
        text=True, timeout=HANGING, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("learning from teacher too") == 1
    card = json.loads((project.root / "data/models/sample/model.json").read_text())
    assert card["provenance"]["teacher_sha256"]


def test_processes_are_those_of_the_launcher_or_as_set(monkeypatch):
    machine = load_params(ROOT / "params.yaml").machine
    asked = machine.model_copy(update={"accelerator": "cpu", "devices": 3, "num_nodes": 2})
    for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert count_processes(machine.model_copy(update={"accelerator": "cpu"})) == (1, 1)
    assert count_processes(asked) == (3, 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert count_processes(asked) == (4, 2)
    monkeypatch.setenv("WORLD_SIZE", "9")
    with pytest.raises(SgcpError, match="start as many on each"):
        count_processes(asked)
