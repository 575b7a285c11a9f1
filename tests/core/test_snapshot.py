"""Settings, code or inputs that change while a stage runs: the stage writes nothing."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Project
from kills import tree
from PIL import Image
from typer.testing import Result

from sgcp.core.snapshot import Snapshot, dependencies, digest_files, fill_in, select
from sgcp.training import loop

pytestmark = pytest.mark.integration


@pytest.fixture
def graph(trained: Project) -> Project:
    """A project whose sample went through every stage, with ``dvc.yaml``."""
    shutil.copy(ROOT / "dvc.yaml", trained.root)
    return trained


@pytest.fixture
def during(monkeypatch) -> Callable[[Callable[[], object]], None]:
    """Change something just before a stage compares its inputs."""
    check = Snapshot.check

    def arrange(change: Callable[[], object]) -> None:
        def change_and_check(self: Snapshot) -> None:
            change()
            check(self)

        monkeypatch.setattr(Snapshot, "check", change_and_check)

    return arrange


def train_changing(project: Project, change: Callable[[], object]) -> Result:
    """Run `train`; change something before each step."""
    step = loop.train_one_step

    def changing_step(*given):
        change()
        return step(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_one_step", changing_step)
        return project.run("train", "sample")


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
def test_no_stage_writes_after_its_settings_changed(graph, during, command, key, value):
    if command == "download":
        shutil.rmtree(graph.root / "data/raw")
    before = tree(graph.root)
    during(lambda: graph.set(**{key.replace(".quick.", ".").replace(".", "__"): value}))
    message = graph.fails(command, "sample")
    assert f"  {key}: " in message
    assert f" when the run began, {json.dumps(value)} now" in message
    written = {name: content for name, content in tree(graph.root).items()
               if not name.startswith(("data/resume", "metrics/sample/train"))}  # fmt: skip
    assert written == {name: before[name] for name in written}
    assert not list(graph.root.rglob("*.partial"))


def test_refused_training_is_warned_about_once_and_not_repeated(graph):
    graph.set(sample__train__epochs=4)
    model = graph.root / "data/models/sample/model.safetensors"
    before = model.read_bytes()
    result = train_changing(graph, lambda: graph.set(sample__train__lr=0.02))
    assert result.exit_code == 1
    assert result.output.count("will not be written unless they are restored") == 1
    assert "sample.train.quick.lr: 0.01 when the run began, 0.02 now" in result.stderr
    assert model.read_bytes() == before
    graph.set(sample__train__lr=0.01)
    result = train_changing(graph, lambda: pytest.fail("trained again"))
    assert "resuming after epoch 4" in result.output
    assert result.exit_code == 0
    assert model.read_bytes() != before


def test_training_on_images_that_change_stops_and_is_not_resumed(graph):
    image = next((graph.root / "data/raw/sample/leftImg8bit/train").rglob("*.png"))
    whole = image.read_bytes()
    graph.set(machine__checkpoint_seconds=0)
    result = train_changing(graph, lambda: Image.new("RGB", (128, 64)).save(image))
    assert f"{image.relative_to(graph.root)} (changed)" in result.stderr
    image.write_bytes(whole)
    assert "resuming" not in graph.ok("train", "sample")


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
        ("sgcp/models/pyramid.py", "predict"),
        ("data/models/sample/model.json", "validate"),
        ("data/prepared/sample/dataset.json", "package-submission"),
        ("data/predictions/sample/*.png", "package-submission"),
        ("metrics/sample/per_class.csv", "report"),
    ],
)
def test_inputs_that_change_during_a_stage_are_named(graph, during, pattern, command):
    shutil.copytree(ROOT / "sgcp/models", graph.root / "sgcp/models")
    path = sorted(graph.root.glob(pattern))[0]
    before = tree(graph.root / "metrics")
    during(lambda: path.write_bytes(path.read_bytes() + b"\n"))
    if path.suffix == ".png" and "predictions" not in pattern:
        during(lambda: Image.new("L", (128, 64)).save(path))
    assert f"  {path.relative_to(graph.root)} (changed)" in graph.fails(command, "sample")
    if "metrics" not in pattern:
        assert tree(graph.root / "metrics") == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "params.yaml: "),
        ("a: [", "params.yaml: "),
        ("datasets: [sample]\n", "sample.package.compression: 6 when the run began, null now"),
    ],
)
def test_params_are_compared_without_dvc_yaml_too(trained, during, content, message):
    path = trained.root / "params.yaml"
    during(path.unlink if content is None else lambda: path.write_text(content))
    assert message in trained.fails("package-submission", "sample")


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
    assert fill_in("${item.dataset}.train.${recipe}", known) == "custom.train.quick"
    assert fill_in("${item.other}/x", known) == "${item.other}/x"
    keys, files = dependencies(ROOT, ["train", "validate"], known)
    assert keys == ["custom.train.quick", "custom.validate"]
    assert {"data/prepared/custom/index.csv", "sgcp/training"} <= set(files)
    assert not [name for name in files if name.startswith(("data/raw", "data/models", "$"))]


def test_settings_are_compared_by_value():
    before = select({"custom": {"train": {"lr": 0.0001, "crop": [1, 2]}}}, ["custom.train"])
    assert before == {"custom.train.lr": 1e-4, "custom.train.crop": [1, 2]}
    assert select({"custom": None}, ["custom.train"]) == {"custom.train": None}


def test_folders_are_digested_without_hidden_and_compiled_files(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    for name in ("a.py", ".a.py.swp", "__pycache__/a.pyc"):
        (tmp_path / name).write_text("")
    assert list(digest_files([tmp_path, tmp_path / "absent"])) == [Path(tmp_path / "a.py")]


def test_images_of_an_earlier_stage_are_no_longer_compared(trained):
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
