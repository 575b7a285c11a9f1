"""Settings, code or inputs that change while a stage runs: nothing is recorded for the new ones."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Project
from kills import tree
from PIL import Image

from sgcp.core.snapshot import Snapshot, read_graph, resolve, tracked

LR = "sample.train.quick.lr: 0.01 when the run began, 0.02 now"


@pytest.fixture(params=["dvc.yaml", "no dvc.yaml"])
def graph(request, trained: Project) -> Project:
    """A project whose sample went through every stage, with or without ``dvc.yaml``."""
    if request.param == "dvc.yaml":
        shutil.copy(ROOT / "dvc.yaml", trained.root)
    return trained


@pytest.fixture
def during(monkeypatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen just before a stage compares its inputs."""

    check = Snapshot.check

    def arrange(change: Callable[[], object]) -> None:
        def change_and_check(self: Snapshot) -> None:
            change()
            check(self)

        monkeypatch.setattr(Snapshot, "check", change_and_check)

    return arrange


def count_steps(monkeypatch, at_first: Callable[[], object] = lambda: None) -> list[int]:
    """Count the steps of training; let something happen in the first one."""
    from sgcp.training import loop

    step, taken = loop.train_one_step, []

    def counted(*given):
        taken.append(1)
        if len(taken) == 1:
            at_first()
        return step(*given)

    monkeypatch.setattr(loop, "train_one_step", counted)
    return taken


def change_lr(project: Project) -> None:
    project.set(sample__train__lr=0.02)


@pytest.mark.parametrize(
    ("command", "key", "value"),
    [
        ("download", "sample.download.seed", 21),
        ("prepare", "sample.prepare.allow_missing", True),
        ("train", "sample.train.quick.lr", 0.02),
        ("validate", "sample.validate.panels", 2),
        ("predict", "sample.predict.flip", True),
        ("package-submission", "sample.package.compression", 0),
        ("report", "sample.report.against", "other.json"),
    ],
)
@pytest.mark.integration
def test_no_stage_writes_after_its_settings_changed(graph, during, command, key, value):
    if command == "download":
        shutil.rmtree(graph.root / "data/raw")
    before = tree(graph.root)
    during(lambda: graph.set(**{key.replace(".quick.", ".").replace(".", "__"): value}))
    message = graph.fails(command, "sample")
    assert "nothing was written, since inputs changed while this ran:" in message
    assert f"  {key}: " in message
    assert f" when the run began, {json.dumps(value)} now" in message
    written = {name: content for name, content in tree(graph.root).items()
               if not name.startswith(("data/resume", "metrics/sample/train"))}  # fmt: skip
    assert written == {name: before[name] for name in written}
    assert not list(graph.root.rglob("*.partial"))


@pytest.mark.integration
def test_refused_training_is_warned_of_once_and_need_not_be_done_again(graph, monkeypatch):
    graph.set(sample__train__epochs=4)
    before = (graph.root / "data/models/sample/model.safetensors").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        count_steps(patch, lambda: change_lr(graph))
        result = graph.run("train", "sample")
    assert result.exit_code == 1
    assert result.output.count("will not be written unless they are restored") == 1
    assert LR in result.stderr
    assert (graph.root / "data/models/sample/model.safetensors").read_bytes() == before
    graph.set(sample__train__lr=0.01)
    taken = count_steps(monkeypatch)
    assert "resuming after epoch 4" in graph.ok("train", "sample")
    assert not taken
    assert (graph.root / "data/models/sample/model.safetensors").read_bytes() != before


@pytest.mark.integration
def test_training_on_images_that_change_stops_and_is_not_resumed(graph, monkeypatch):
    image = next((graph.root / "data/raw/sample/leftImg8bit/train").rglob("*.png"))
    whole = image.read_bytes()
    graph.set(machine__checkpoint_seconds=0)
    with pytest.MonkeyPatch.context() as patch:
        count_steps(patch, lambda: Image.new("RGB", (128, 64)).save(image))
        message = graph.fails("train", "sample")
    assert "images or labels changed while they were trained on:" in message
    assert f"{image.relative_to(graph.root)} (changed)" in message
    image.write_bytes(whole)
    assert "resuming" not in graph.ok("train", "sample")


@pytest.mark.integration
def test_touched_inputs_and_edited_comments_are_no_change(graph, during):
    def touch() -> None:
        params = graph.root / "params.yaml"
        params.write_text(f"# a remark\n{params.read_text()}")
        for path in graph.root.rglob("*"):
            if path.is_file() and not path.name.endswith(".stamps.json"):
                os.utime(path)

    during(touch)
    for command in ("prepare", "train", "validate", "predict", "package-submission", "report"):
        graph.ok(command, "sample")


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("data/prepared/sample/labels/val/*/*.png", "validate"),
        ("data/raw/sample/gtFine/val/*/*.json", "validate"),
        ("data/raw/sample/leftImg8bit/test/*/*.png", "predict"),
        ("data/raw/sample/leftImg8bit/val/*/*.png", "report"),
    ],
)
def test_labels_and_images_that_change_while_they_are_read_are_named(
    graph, during, pattern, command
):
    path = sorted(graph.root.glob(pattern))[0]
    before = tree(graph.root / "metrics")
    content = b"{}"
    if path.suffix == ".png":
        Image.new("L", (128, 64)).save(graph.root / "other.png")
        content = (graph.root / "other.png").read_bytes()
    during(lambda: path.write_bytes(content))
    message = graph.fails(command, "sample")
    assert f"  {path.relative_to(graph.root)} (changed)" in message
    assert tree(graph.root / "metrics") == before


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("sgcp/models/pyramid.py", "predict"),
        ("sgcp/training/kernels/banded_cross_entropy.py", "train"),
        ("data/models/sample/model.json", "validate"),
        ("data/prepared/sample/dataset.json", "package-submission"),
        ("data/predictions/sample", "package-submission"),
        ("metrics/sample/per_class.csv", "report"),
    ],
)
def test_files_that_dvc_yaml_lists_for_a_stage_must_not_change(trained, during, path, command):
    shutil.copy(ROOT / "dvc.yaml", trained.root)
    for name in ("models", "training"):
        shutil.copytree(ROOT / "sgcp" / name, trained.root / "sgcp" / name)
    file = trained.root / path
    file = sorted(file.iterdir())[0] if file.is_dir() else file
    during(lambda: file.write_bytes(file.read_bytes() + b"\n"))
    assert f"  {file.relative_to(trained.root)} (changed)" in trained.fails(command, "sample")


def test_loaded_modules_are_compared_where_there_is_no_dvc_yaml(trained, monkeypatch, tmp_path):
    from sgcp.core import snapshot as snapshot

    package = tmp_path / "sgcp"
    (package / "models").mkdir(parents=True)
    for name in ("loaded.py", "idle.py"):
        (package / name).write_text("")
    monkeypatch.setattr(snapshot, "PACKAGE", package)
    snapshot_ = Snapshot(trained.root, "sample", ["train"], {}, "quick")
    monkeypatch.setattr("sgcp.core.errors.__file__", str(package / "loaded.py"))
    for path in package.glob("*.py"):
        path.write_text("changed = True")
    assert snapshot_.changed_files() == ["sgcp/loaded.py (changed)"]


@pytest.mark.parametrize("content", [None, "a: [", "datasets: [sample]\n"])
def test_params_that_are_deleted_or_broken_meanwhile_are_named(graph, during, content):
    path = graph.root / "params.yaml"
    during(path.unlink if content is None else lambda: path.write_text(content))
    message = graph.fails("validate", "sample")
    expected = "sample.validate.flip: false when the run began, absent now"
    assert (expected if content and ":" in content[5:] else "can no longer be read") in message


def test_recipe_of_the_command_line_is_the_one_that_must_not_change(graph, during):
    tiny = {"epochs": 1, "batch_size": 2, "crop": [64, 64], "validate_every": 1}
    for recipe in ("strong", "quick"):
        graph.set(recipe=recipe)
        graph.set(**{f"sample__train__{key}": value for key, value in tiny.items()})
    during(lambda: graph.set(recipe="strong"))
    graph.ok("train", "sample")
    during(lambda: graph.set(sample__train__lr=0.5))  # `recipe` is strong by now
    message = graph.fails("train", "sample", "--recipe", "strong")
    assert "sample.train.strong.lr: 0.01 when the run began, 0.5 now" in message


def test_names_in_dvc_yaml_are_filled_in_as_dvc_does():
    known = {"item": {"dataset": "custom"}, "recipe": "quick"}
    assert resolve("${item.dataset}.train.${recipe}", known) == "custom.train.quick"
    assert resolve("${item.other}/x", known) == "${item.other}/x"
    keys, files = read_graph(ROOT, ["train", "validate"], known)
    assert keys == ["custom.train.quick", "custom.validate"]
    assert "data/prepared/custom/index.csv" in files
    assert "sgcp/training" in files
    assert not [name for name in files if name.startswith(("data/raw", "data/models", "$"))]


def test_settings_are_compared_by_value():
    before = tracked({"custom": {"train": {"lr": 0.0001, "crop": [1, 2]}}}, ["custom.train"])
    assert before == {"custom.train.lr": 1e-4, "custom.train.crop": [1, 2]}
    assert tracked({"custom": None}, ["custom.train", "other"]) == {}


def test_files_of_an_earlier_stage_are_no_longer_compared(trained):
    """In Python, one layout serves a whole session."""
    from sgcp.core.layout import Layout
    from sgcp.settings.load import load_params
    from sgcp.stages.prepare import prepare
    from sgcp.stages.validate import validate

    params = load_params(trained.root / "params.yaml")
    layout = Layout(trained.root, "sample")
    validate(layout, params.sample.validate_, params.machine)
    image = next((layout.raw / "leftImg8bit/val").rglob("*.png"))
    Image.new("RGB", (128, 64)).save(image)
    prepare(layout, params.sample.prepare, params.machine)
    validate(layout, params.sample.validate_, params.machine)


def test_folder_is_hashed_without_hidden_and_compiled_files(tmp_path):
    from sgcp.core.snapshot import digest_files

    (tmp_path / "__pycache__").mkdir()
    for name in ("a.py", ".a.py.swp", "__pycache__/a.pyc"):
        (tmp_path / name).write_text("")
    assert list(digest_files([tmp_path, tmp_path / "absent"])) == [Path(tmp_path / "a.py")]
