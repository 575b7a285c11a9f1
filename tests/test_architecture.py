"""Imports point one way, from the command line down to core, and form no cycles."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from imports import direct_imports

PACKAGE = ROOT / "sgcp"
# Each room imports only rooms below it. Stages and tools stand side by side with one exception:
# tools run stages.
ROOMS = (
    "cli", "tools", "stages", "demo", "inspection", "training", "reporting", "speed", "metrics",
    "inference", "submission", "labelling", "datasets", "models", "media", "settings", "core",
)  # fmt: skip
# Rooms that are below another one and still none of its business.
NEVER = {
    "models": {"settings", "media"},
    "datasets": {"models"},
    "media": {"settings"},
    "demo": {"training", "metrics", "submission", "inspection", "speed"},
    "metrics": {"submission"},
    "inference": {"submission"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_room_has_its_place():
    assert {room(path) for path in FILES} == {*ROOMS, "__init__", "__main__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = room(path)
    if here in ("__init__", "__main__"):
        return
    below = set(ROOMS[ROOMS.index(here) + 1 :]) - NEVER.get(here, set())
    used = {room(file) for file in direct_imports(path)} - {here}
    assert used <= below, f"{here} must not import {used - below}"


def test_modules_form_no_cycles():
    """Imports inside functions count too."""
    todo = {path: direct_imports(path) - {path} for path in FILES if path.name != "__init__.py"}
    while free := {path for path, used in todo.items() if not used & todo.keys()}:
        todo = {path: used for path, used in todo.items() if path not in free}
    assert not todo, sorted(str(path.relative_to(PACKAGE)) for path in todo)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from sgcp.cli import app; "
        "CliRunner().invoke(app, ['--help']); "
        "heavy = {'torch', 'pandas', 'dvc', 'PIL', 'numpy', 'pydantic', 'openvino'}; "
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
