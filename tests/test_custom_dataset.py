"""docs/custom-dataset.md: its example runs as printed and gives the scores it shows."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import ROOT, Project, make_project
from pages import add_settings, fences, section, tokens
from test_pipeline import Clone, new_clone

from sgcp.datasets.custom_classes import read_classes
from sgcp.settings.load import load_params

pytestmark = pytest.mark.integration

PAGE = ROOT / "docs/custom-dataset.md"
EXAMPLE = section(PAGE, "Follow an example")
# Percentage points: three standard deviations over three seeds, since another processor rounds
# differently. A model that predicts ground everywhere has 20 % mIoU.
TOLERANCE = 15


def sessions(text: str) -> list[tuple[list[str], list[str]]]:
    """Return the commands of a console block, each with the lines that it is to print."""
    found: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((shlex.split(line[2:], comments=True), []))
        else:
            found[-1][1].append(line)
    return found


def pattern(line: str) -> str:
    """Return a line as an expression: ``...`` is anything, fractions and sizes are any number."""
    escaped = re.escape(" ".join(line.split()))
    return re.sub(r"\d+(?:\\\.|,)\d+", r"[\\d.,]+", escaped.replace(r"\.\.\.", ".*"))


def assert_prints(output: str, expected: list[str]) -> None:
    """Compare what a command printed with the page, in order, but for numbers that may differ."""
    lines = iter(" ".join(line.split()) for line in output.splitlines())
    for line in expected:
        assert any(re.fullmatch(pattern(line), got) for got in lines), (line, output)


def scores(text: str) -> dict[str, float]:
    """Return the first number of each row of a table, by the row's name."""
    return {name: float(value) for name, value in re.findall(r"│ ([\w ]+?) +│ +([\d.]+) │", text)}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, str]]:
    """A project in which the example was followed, and what each of its commands printed."""
    root = tmp_path_factory.mktemp("custom")
    (root / "project").mkdir()
    (root / "toy").mkdir()
    project, printed = make_project(root / "project"), {}
    for block in (token for token in tokens(EXAMPLE) if token.type == "fence"):
        if block.info == "python":
            (root / "toy/shapes.py").write_text(block.content)
        elif block.info == "yaml":
            add_settings(project.root / "params.yaml", block.content)
        else:
            for command, expected in sessions(block.content):
                output = call(project, command)
                assert_prints(output, expected)
                printed[command[1]] = output
    return project, printed


def call(project: Project, command: list[str]) -> str:
    program, *arguments = command
    if program == "sgcp":
        return project.ok(*arguments)
    assert program == "python"
    return subprocess.run(
        [sys.executable, *arguments], cwd=project.root, check=True, capture_output=True, text=True
    ).stdout


def test_example_of_the_page_comes_to_the_scores_it_prints(followed):
    _, printed = followed
    shown = scores(EXAMPLE)
    assert [*shown] == ["ground", "disc", "square", "triangle", "mean", "pixel accuracy"]
    found = scores(printed["validate"])
    assert found["mean"] == pytest.approx(shown["mean"], abs=TOLERANCE)
    assert found["pixel accuracy"] == pytest.approx(shown["pixel accuracy"], abs=TOLERANCE)


def test_example_leaves_a_zip_of_label_ids_and_the_meaning_of_each(followed):
    project, _ = followed
    folder = project.root / "data/submissions/custom"
    with ZipFile(folder / "test_result.zip") as archive:
        assert archive.namelist() == [f"test {number:02}.png" for number in range(8)]
    report = json.loads((folder / "check.json").read_text())
    assert [*report["allowed_ids"].values()] == ["ground", "disc", "square", "triangle"]
    assert report["protocol"] in EXAMPLE


@pytest.fixture
def grown(followed, tmp_path) -> tuple[Clone, Path]:
    """A clone whose DVC has prepared a copy of the example's folder."""
    source = Path(shutil.copytree(followed[0].root.parent / "toy/shapes", tmp_path / "shapes"))
    clone = new_clone(tmp_path / "clone")
    clone.set(datasets=["custom"], custom__download__root="../shapes")
    clone.commit("start")
    output = clone.call("dvc", "repro", "prepare@custom")
    assert "Running stage 'download@custom'" in output
    assert "custom: 24 train, 8 val, 8 test" in output
    return clone, source


def test_dvc_follows_the_folder_once_it_is_linked_anew(grown):
    clone, source = grown
    lock = (clone.root / "dvc.lock").read_text()
    for kind in ("images", "labels"):
        shutil.copy(source / kind / "val/val 00.png", source / kind / "train/train 24.png")
    clone.call(sys.executable, "-m", "sgcp", "download", "custom")
    (source / "classes.csv").write_text(
        (source / "classes.csv").read_text().replace("disc", "ball")
    )
    output = clone.call("dvc", "repro", "prepare@custom")
    assert "custom: 25 train, 8 val, 8 test" in output
    assert "custom-8cb153cf" not in output  # other names, another protocol
    assert (clone.root / "dvc.lock").read_text() != lock
    assert "up to date" in clone.call("dvc", "repro", "prepare@custom")


def test_settings_of_the_page_are_settings(tmp_path):
    for block in fences(PAGE, "yaml"):
        path = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
        add_settings(path, block)
        init = load_params(path).custom.recipes["quick"].init
        assert init is None or (ROOT / init).is_file()


def test_table_of_classes_of_the_page_is_one(tmp_path):
    (text,) = fences(PAGE, "csv")
    (tmp_path / "classes.csv").write_text(text)
    assert [item.label_id for item in read_classes(tmp_path / "classes.csv").classes] == [7, 26, 24]
