"""Python on the pages: quick start and README run, the API page has the code's own signatures."""

import __future__

import importlib
import inspect
import os
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Project
from networks import random_image
from pages import fences, help_examples, tokens
from PIL import Image
from typer.main import get_command

import sgcp
from sgcp.cli import app

pytestmark = pytest.mark.integration

API = ROOT / "docs" / "api.md"
EXPORT = ROOT / "docs" / "export.md"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the pages assume one: what stages read of a clone, and an image."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "street.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_blocks(page: Path) -> dict[str, Any]:
    """Run a page's Python in order; a failure names the block's line on the page."""
    names: dict[str, Any] = {"__name__": "page"}
    for token in tokens(page):
        if token.type == "fence" and token.info == "python":
            assert token.map is not None
            padded = "\n" * (token.map[0] + 1) + token.content
            exec(compile(padded, str(page), "exec"), names)
    return names


def test_readme_python_runs(scratch, capsys):
    names = run_blocks(ROOT / "README.md")
    assert names["labels"].shape == (90, 120)
    assert capsys.readouterr().out.startswith("['")


def test_quickstart_runs_from_the_image_to_the_export(scratch, capsys):
    names = run_blocks(ROOT / "docs" / "quickstart.md")
    assert Image.open("overlay.png").size == (120, 90)
    assert Image.open("labels/street.png").mode == "L"
    said = capsys.readouterr().out
    assert "no model 'kitti': neither a path nor bundled weights (camvid)" in said
    assert names["by_hand"].miou == pytest.approx(names["scores"]["miou"], abs=1e-12)
    assert names["same"].all()
    assert sorted(os.listdir(scratch / "quickstart")) == ["data", "metrics", "pipeline"]


def export_commands() -> list[list[str]]:
    """Return the words of each command of the export page's console blocks."""
    lines = [line for block in fences(EXPORT, "console") for line in block.splitlines()]
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without a project, in which every command of the export page ran."""
    folder = tmp_path_factory.mktemp("exported")
    Image.fromarray(random_image(90, 121)).save(folder / "street.png")
    (folder / "photos").mkdir()
    Image.fromarray(random_image(90, 120)).save(folder / "photos" / "1.jpg")
    for program, *arguments in export_commands():
        assert program == "sgcp"
        Project(folder).ok(*arguments)
    return folder


def test_examples_of_export_help_run_on_the_export_page():
    """And so does every example: the page's commands are run one after another."""
    for example in help_examples(get_command(app).commands["export"]):
        assert shlex.split(example) in export_commands()


@pytest.mark.parametrize("code", fences(EXPORT, "python"))
def test_programs_on_the_export_page_give_the_labels_of_load(exported, monkeypatch, code):
    monkeypatch.chdir(exported)
    names: dict[str, Any] = {}
    exec(code, names)
    wanted = sgcp.load("camvid", precision="fp32").segment("street.png")
    assert names["labels"].dtype == np.uint8
    assert (names["labels"] == wanted).mean() > 0.9999


# The API page.


def find(name: str) -> Any:
    """Return what a public dotted name stands for."""
    parent, _, last = name.rpartition(".")
    return getattr(importlib.import_module(parent), last)


def home(thing: Any) -> ModuleType:
    return sys.modules[thing.__module__]


def stub_of(code: str, thing: Any) -> Any:
    """Return what a block defines, read as if it stood in the module of the real one."""
    module = home(thing)
    postponed = getattr(module, "annotations", None) is __future__.annotations
    flags = __future__.annotations.compiler_flag if postponed else 0
    names = dict(vars(module))
    exec(compile(code, str(API), "exec", flags=flags, dont_inherit=True), names)
    return names[thing.__name__]


def documented() -> list[tuple[str, str]]:
    """Return each public name on the page and the block below its heading."""
    page = tokens(API)
    found = []
    for index, token in enumerate(page):
        if token.type == "heading_open" and token.tag == "h3":
            block = next(t for t in page[index:] if t.type == "fence")
            found.append((page[index + 1].content.strip("`"), block.content))
    return found


def members(thing: Any) -> dict[str, Any]:
    """Return the signatures of a class's own public functions and properties."""
    functions = {
        name: member.fget if isinstance(member, property) else member
        for name, member in vars(thing).items()
        if name == "__init__" or not name.startswith("_")
    }
    return {n: inspect.signature(f) for n, f in functions.items() if inspect.isfunction(f)}


@pytest.mark.parametrize(("name", "code"), documented(), ids=[name for name, _ in documented()])
def test_signature_on_the_api_page_is_that_of_the_code(name, code):
    real = find(name)
    stub = stub_of(code, real)
    if not inspect.isclass(real):
        assert inspect.signature(stub) == inspect.signature(real)
        return
    assert [base.__name__ for base in stub.__bases__] == [base.__name__ for base in real.__bases__]
    own = members(real)
    for member, signature in members(stub).items():
        assert signature == own[member], member
    assert list(getattr(stub, "__annotations__", {})) == list(
        getattr(real, "__dataclass_fields__", {})
    )


def test_every_public_name_stands_on_the_api_page():
    public = {f"sgcp.{name}" for name in sgcp.__all__ if not name.startswith("_")}
    public |= {f"sgcp.models.{name}" for name in importlib.import_module("sgcp.models").__all__}
    assert public <= {name for name, _ in documented()}


def test_every_public_name_can_be_had():
    for name in sgcp.__all__:
        assert getattr(sgcp, name) is not None


def test_blocks_of_the_quickstart_are_seen():
    assert len(fences(ROOT / "docs" / "quickstart.md", "python")) >= 10
