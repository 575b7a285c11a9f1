"""A real `dvc repro` and the commands around it, on a clone with tiny settings."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TINY, set_params
from pages import shell_lines
from ruamel.yaml import YAML

pytestmark = pytest.mark.integration

FLAG = "--only-changed"
STAGES = ["download", "prepare", "train", "validate", "predict", "package", "report"]
PROGRAMS = Path(sys.executable).parent


class Clone:
    """A git clone with DVC; programs come from this environment, code from the clone."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def environment(self) -> dict[str, str]:
        environment = os.environ | {
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "COLUMNS": "200",
        }
        for name in ("USER", "HOME"):
            environment.setdefault(name, "nobody")
        return environment

    def call(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(
            command, cwd=self.root, env=self.environment(), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def ran(self, output: str) -> list[str]:
        """Return the stages that a `dvc repro` ran."""
        return [stage for stage in STAGES if f"Running stage '{stage}@sample'" in output]

    def commit(self, message: str) -> None:
        self.call("git", "add", "-A")
        self.call("git", "commit", "-q", "-m", message)

    def set(self, **changes) -> None:
        changes = {key.replace("__", "."): value for key, value in changes.items()}
        set_params(self.root / "params.yaml", changes)


def new_clone(root: Path) -> Clone:
    """Copy what git tracks (and would track) into a repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    (root / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(root / "metrics", ignore_errors=True)
    longer = {"sample.train.epochs": 12, "sample.train.validate_every": 6}  # learns something
    set_params(root / "params.yaml", TINY | longer)
    clone = Clone(root)
    clone.call("git", "init", "-q", "-b", "main")
    clone.call("git", "config", "user.email", "test@example.org")
    clone.call("git", "config", "user.name", "Test")
    return clone


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """A clone after its first `dvc repro`, committed; later tests build on it in order."""
    clone = new_clone(tmp_path_factory.mktemp("clone"))
    clone.commit("start")
    assert clone.ran(clone.call("dvc", "repro")) == STAGES
    clone.commit("first run")
    return clone


def test_first_run_leaves_metrics_and_a_checked_zip(clone):
    metrics = json.loads((clone.root / "metrics/sample/validate.json").read_text())
    assert 0 <= metrics["miou"] <= 1
    assert (clone.root / "data/submissions/sample/test_result.zip").is_file()
    assert not clone.call("git", "status", "--short")


def test_raw_data_is_not_stored_twice(clone):
    lock = YAML(typ="safe", pure=True).load((clone.root / "dvc.lock").read_text())
    out = lock["stages"]["download@sample"]["outs"][0]
    cached = clone.root / ".dvc/cache/files/md5" / out["md5"][:2] / out["md5"][2:]
    assert not cached.exists()


def test_second_run_does_nothing(clone):
    output = clone.call("dvc", "repro")
    assert clone.ran(output) == []
    assert "up to date" in output


def test_help_text_and_unrelated_code_rerun_nothing(clone):
    for name in ("cli/pipeline.py", "settings/base.py", "tools/export.py", "inspection/page.py"):
        path = clone.root / "sgcp" / name
        path.write_text(path.read_text() + "\n# a remark\n")
    output = clone.call("dvc", "repro", "--dry")
    clone.call("git", "checkout", "sgcp")
    assert clone.ran(output) == []


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("sgcp/datasets/textures.py", "download"),
        ("sgcp/datasets/cityscapes.py", "download"),
        ("sgcp/datasets/transforms.py", "download"),
        ("sgcp/models/pyramid.py", "train"),
        ("sgcp/metrics/results.py", "validate"),
        ("sgcp/stages/predict.py", "predict"),
        ("sgcp/submission/check.py", "package"),
    ],
)
def test_changed_code_reruns_from_its_first_stage(clone, path, first):
    file = clone.root / path
    file.write_text(file.read_text() + "\n# a remark\n")
    output = clone.call("dvc", "status")
    clone.call("git", "checkout", path)
    changed = [stage for stage in STAGES if f"{stage}@sample:" in output]
    assert changed[0] == first


def test_changed_rate_reruns_training_and_what_follows_and_compares(clone):
    clone.set(sample__train__lr=0.02)
    output = clone.call("dvc", "repro")
    assert clone.ran(output) == ["train", "validate", "predict", "package", "report"]
    params = clone.call("dvc", "params", "diff")
    assert "sample.train.quick.lr" in params
    assert "0.02" in params
    metrics = clone.call("dvc", "metrics", "diff")
    assert "metrics/sample/validate.json" in metrics
    assert "metrics/sample/train/metrics.json" in metrics
    clone.commit("faster")


def test_rate_edited_while_training_runs_is_not_recorded(clone):
    """DVC hashes parameters after the run: it would record the new rate for the old model."""
    clone.set(sample__train__lr=0.02)
    loop = clone.root / "sgcp/training/loop.py"
    edit = """
from pathlib import Path

_step = train_one_step


def train_one_step(*given):
    params = Path("params.yaml")
    params.write_text(params.read_text().replace('"lr": 0.02', '"lr": 0.03'))
    return _step(*given)
"""
    loop.write_text(loop.read_text() + edit)
    output = clone.call("dvc", "repro", "train@sample", check=False)
    assert "sample.train.quick.lr: 0.02 when the run began, 0.03 now" in output
    assert "failed to reproduce" in output
    assert "lr: 0.03" not in (clone.root / "dvc.lock").read_text()
    assert "train@sample" in clone.call("dvc", "status")
    clone.call("git", "checkout", ".")
    clone.call("dvc", "checkout")
    assert clone.ran(clone.call("dvc", "repro", "--dry")) == []


def test_plots_hold_curves_bars_confusion_and_panels(clone):
    clone.call("dvc", "plots", "diff", "HEAD~1", "HEAD", "-o", "plots_out")
    page = (clone.root / "plots_out/index.html").read_text()
    titles = set(re.findall(r'"title": {"text": "([^"]*)"', page))
    assert {"IoU per class, sample", "Confusion, sample"} <= titles
    curves = set(re.findall(r"\['(\w+)'\] \|\| '\1'\) \+ ', sample'", page))
    assert {"loss", "validation_loss", "miou", "pixel_accuracy", "lr"} <= curves
    assert not any("/" in title for title in titles)  # no files' names
    assert "share of the true class" in page
    assert list((clone.root / "plots_out/static").glob("*.png"))
    shutil.rmtree(clone.root / "plots_out")


def test_removing_a_key_is_an_error_not_a_silent_change(clone):
    path = clone.root / "params.yaml"
    before = path.read_text()
    path.write_text("\n".join(x for x in before.splitlines() if "poly_power" not in x))
    output = clone.call("dvc", "repro", check=False)
    path.write_text(before)
    assert "sample.train.quick.poly_power: missing" in output


def test_push_and_pull_bring_results_without_recomputing(clone, tmp_path):
    clone.call("dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    clone.commit("remote")
    clone.call("dvc", "push")
    other = Clone(tmp_path / "other")
    clone.call("git", "clone", "-q", str(clone.root), str(other.root))
    other.call("dvc", "pull")
    for name in ("models", "predictions", "submissions", "prepared"):
        for path in (clone.root / "data" / name / "sample").rglob("*.*"):
            copy = other.root / path.relative_to(clone.root)
            assert copy.read_bytes() == path.read_bytes(), copy
    assert other.ran(other.call("dvc", "repro", "--allow-missing", "--dry")) == []
    assert "miou" in other.call("dvc", "metrics", "show")


def test_experiment_runs_and_is_shown(clone):
    changes = "-S", "sample.train.quick.lr=0.005"
    clone.call("dvc", "exp", "run", "-n", "gentle", *changes, "validate@sample")
    assert "sample.train.quick.lr" in clone.call("dvc", "params", "diff")
    page = ROOT / "docs/experiments.md"
    (command,) = (words for words in shell_lines(page) if words[:4] == ["dvc", "exp", "show", FLAG])
    shown = clone.call("env", "COLUMNS=120", *command, "--no-pager")
    for part in ("gentle", "0.005", "sample.train.quick.lr", "metrics/sample/validate.json:miou"):
        assert part in shown
    assert "…" not in shown  # nothing cut off
    assert max(map(len, shown.splitlines())) <= 120


def test_metrics_of_camvid_are_compared_though_only_the_sample_is_enabled(clone):
    path = clone.root / "metrics/camvid/validate.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"miou": 0.7}))
    clone.commit("CamVid's metrics")
    path.write_text(json.dumps({"miou": 0.8}))
    assert "metrics/camvid/validate.json  miou" in clone.call("dvc", "metrics", "diff")


def test_dvc_changes_one_inherited_value_and_keeps_all_others(tmp_path):
    """What docs/experiments.md says that `dvc exp run -S` does to params.yaml."""
    from dvc.utils.hydra import apply_overrides

    from sgcp.settings.load import load_params

    path = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    before = load_params(path)
    apply_overrides(path, ["camvid.train.strong.lr=0.003"])
    after = load_params(path)
    assert after.camvid.recipes["strong"].lr == 0.003
    old, new = (params.model_dump(exclude={"defaults"}) for params in (before, after))
    new["camvid"]["recipes"]["strong"]["lr"] = before.camvid.recipes["strong"].lr
    assert new == old
    assert "# brightness, contrast, saturation; 0: none" in path.read_text()


@pytest.mark.parametrize(
    ("before", "after", "stages"),
    [
        ("    flip: 0.5              #", "    flip: 0.4 #", {"train"}),
        ("    lr: 0.1\n", "    lr: 0.2\n", set()),  # every recipe of the sample has its own
        ("      split: val\n", "      split: train\n", {"validate"}),
        ("    flip: false            #", "    flip: true #", {"validate", "predict"}),
        ("      compression: 6\n", "      compression: 5\n", {"package"}),
        ("    batch_size: 12\n", "    batch_size: 10\n", set()),  # of CamVid
        ("  cache_megabytes: 512", "  cache_megabytes: 0", set()),
    ],
)
def test_dvc_tracks_the_merged_values_of_each_stage(tmp_path, before, after, stages):
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo

    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    Repo.init(str(tmp_path), no_scm=True).close()

    def values() -> dict[str, str]:
        with Repo(str(tmp_path)) as repo:
            return {
                stage.name: str([dep.read_params() for dep in stage.deps
                                 if isinstance(dep, ParamsDependency)])
                for stage in repo.index.stages
            }  # fmt: skip

    first, path = values(), tmp_path / "params.yaml"
    assert "'crop': [256, 256]" in first["train@sample"]
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    second = values()
    assert {name for name in first if first[name] != second[name]} == {
        f"{stage}@sample" for stage in stages
    }
