"""Dependencies point one way, as the design draws them."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT
from imports import direct_imports, walk_runtime

PACKAGE = ROOT / "sgcp"
BASE = {"documents", "errors", "files", "locks", "memory", "progress"}
LAYERS = {
    "settings": {"errors"},
    "config": {"documents", "errors", "settings"},
    "models": BASE,
    "datasets": BASE,
    "evaluation": BASE | {"datasets", "models"},
    "inference": BASE | {"datasets", "models"},
    "reporting": BASE | {"datasets", "models"},
    "demo": BASE | {"datasets", "models", "inference", "reporting", "failures"},
    "speed": BASE | {"datasets", "models", "inference"},
    "training": BASE | {"datasets", "models", "evaluation", "inference"},
    "stages": BASE
    | {"datasets", "models", "evaluation", "inference", "reporting", "speed", "training", "demo"},
    "failures": {"errors"},
    "cli": {"documents", "errors", "failures", "files", "progress", "config", "settings", "stages"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = layer(path)
    if own in ("__init__", "__main__"):
        return
    used = {layer(file) for file in direct_imports(path)} - {own}
    if own in BASE:
        assert used <= BASE
    else:
        assert used <= LAYERS[own], f"{own} may not import {used - LAYERS[own]}"


def test_only_stages_and_config_name_the_pipeline_folder():
    for path in FILES:
        strings = [
            node.value
            for node in walk_runtime(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        if layer(path) not in ("stages", "config"):
            assert not any(text == "pipeline" for text in strings), path


def test_modules_stay_small():
    long = {p.name: n for p in FILES if (n := len(p.read_text().splitlines())) > 300}
    assert not long


def test_help_imports_no_torch():
    import subprocess
    import sys

    code = (
        "import sys; from typer.testing import CliRunner; from sgcp.cli import app; "
        "CliRunner().invoke(app, ['--help']); "
        "heavy = {'torch', 'pandas', 'dvc', 'PIL', 'numpy', 'pydantic', 'openvino'}; "
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
