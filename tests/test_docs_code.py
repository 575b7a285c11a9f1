"""Python on the pages: quick start and README run, the API page has the code's own signatures."""

import __future__

import ast
import importlib
import inspect
import os
import shlex
import shutil
import sys
from pathlib import Path
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
    assert "no model 'kitti'" in capsys.readouterr().out
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


def test_commands_of_the_export_page_write_what_load_opens(exported):
    wanted = sgcp.load("camvid", precision="fp32").segment(exported / "street.png")
    for name in ("street.onnx", "street-ir.xml", "street", "street-ir"):
        labels = sgcp.load(exported / name, precision="fp32").segment(exported / "street.png")
        assert (labels == wanted).mean() > 0.999


# The API page: below each module's name, what it offers.


def find(name: str) -> Any:
    """Return what a public dotted name stands for."""
    parent, _, last = name.rpartition(".")
    return getattr(importlib.import_module(parent), last)


def stub_of(code: str, thing: Any) -> Any:
    """Return what a block defines, read as if it stood in the module of the real one."""
    module = sys.modules[thing.__module__]
    postponed = getattr(module, "annotations", None) is __future__.annotations
    flags = __future__.annotations.compiler_flag if postponed else 0
    names = dict(vars(module))
    exec(compile(code, str(API), "exec", flags=flags, dont_inherit=True), names)
    return names[thing.__name__]


def documented() -> dict[str, str]:
    """Return the definition on the page of each public name."""
    page, found = tokens(API), {}
    for index, token in enumerate(page):
        if token.type == "heading_open" and token.tag == "h3":
            module = page[index + 1].content.strip("`")
            block = next(t.content for t in page[index:] if t.type == "fence")
            for node in ast.parse(block).body:
                name = node.target.id if isinstance(node, ast.AnnAssign) else node.name
                found[f"{module}.{name}"] = ast.unparse(node)
    return found


DOCUMENTED = documented()
SIGNATURES = [name for name, code in DOCUMENTED.items() if "def " in code or "class " in code]


def members(thing: Any) -> dict[str, Any]:
    """Return the signatures of a class's own public functions and properties."""
    functions = {
        name: member.fget if isinstance(member, property) else member
        for name, member in vars(thing).items()
        if name == "__init__" or not name.startswith("_")
    }
    return {n: inspect.signature(f) for n, f in functions.items() if inspect.isfunction(f)}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature_on_the_api_page_is_that_of_the_code(name):
    real = find(name)
    stub = stub_of(DOCUMENTED[name], real)
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
    for module in ("sgcp", "sgcp.models"):
        public = {n for n in importlib.import_module(module).__all__ if not n.startswith("_")}
        assert {f"{module}.{name}" for name in public} <= DOCUMENTED.keys()
        assert all(getattr(importlib.import_module(module), name) for name in public)
