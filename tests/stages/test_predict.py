"""Prediction by several processes of torchrun, and its resumption after a kill."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import kills
import pytest
from conftest import HANGING, ROOT, Project

pytestmark = pytest.mark.integration

KILL_RANK_1 = """
import os, signal
from sgcp.cli import app
from sgcp.stages import predict

write, written = predict.write_labels, []

def write_or_die(*arguments):
    if os.environ["RANK"] == "1" and written:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(1)
    write(*arguments)

predict.write_labels = write_or_die
app()
"""


def torchrun(project: Project, *program: str | Path) -> subprocess.CompletedProcess:
    """Run `predict sample` in two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                "--nproc-per-node=2"]  # fmt: skip
    return subprocess.run(
        [*launcher, *program, "predict", "sample"], cwd=project.root, timeout=HANGING,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def inodes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.rglob("*.png")}


def test_two_processes_resume_after_a_kill_and_make_the_files_of_one(trained, tmp_path):
    trained.set(sample__predict__split="train")  # four images, two for each process
    trained.ok("predict", "sample")
    expected = kills.tree(trained.root)
    predictions = trained.root / "data/predictions/sample"
    shutil.rmtree(predictions)
    (tmp_path / "kill.py").write_text(KILL_RANK_1)

    assert torchrun(trained, tmp_path / "kill.py").returncode != 0
    assert not predictions.exists()
    before = inodes(predictions.with_name("sample.partial"))
    assert 1 <= len(before) <= 3

    done = torchrun(trained, "-m", "sgcp")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("4 label-id images") == 1
    assert kills.tree(trained.root) == expected
    assert before.items() <= inodes(predictions).items()
    assert {path.name for path in predictions.parent.iterdir()} == {"sample", ".sample.lock"}
