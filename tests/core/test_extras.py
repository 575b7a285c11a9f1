"""Optional dependencies: the table of extras is complete, and a missing one is one line."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions

import pytest
from conftest import ROOT, run_python

from sgcp.core.errors import SgcpError
from sgcp.core.extras import DISTRIBUTION, MODULES, explain_missing, require

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEVELOPMENT = {"dev", "fuzz", "mutation"}  # no user's
CAPS = {"numpy", "pillow"}  # in the base, with an upper bound in an extra
# Modules that come with one of the table.
WITHIN = {"urllib3": "requests"}
OWN_MESSAGE = {"ultralytics"}


installed = cache(packages_distributions)  # takes a second


def distributions(requirements: list[str]) -> set[str]:
    names = {re.split(r"[\[<>=]", text)[0].lower() for text in requirements}
    return {name.replace("-", "_") for name in names - {DISTRIBUTION}}


def distributions_of(module: str) -> set[str]:
    found = installed().get(WITHIN.get(module, module), [module])
    return {name.lower().replace("-", "_") for name in found}


def test_table_names_what_each_extra_installs():
    extras = {key: rows for key, rows in PROJECT["optional-dependencies"].items()
              if key not in DEVELOPMENT}  # fmt: skip
    assert extras.keys() == MODULES.keys()
    for extra, requirements in extras.items():
        named = set().union(*map(distributions_of, MODULES[extra]))
        assert named == distributions(requirements) - CAPS, extra


def imported_modules() -> set[str]:
    """Return the top-level modules that any file of the package imports anywhere."""
    found = set()
    for path in (ROOT / "sgcp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"sgcp"} - OWN_MESSAGE


def test_every_import_is_of_the_base_or_of_an_extra_in_the_table():
    base = distributions(PROJECT["dependencies"])
    listed = {module for modules in MODULES.values() for module in modules}
    unlisted = {name for name in imported_modules() if WITHIN.get(name, name) not in listed}
    assert {name for name in unlisted if not distributions_of(name) & base} == set()


def test_known_modules_name_their_extra_and_others_are_bugs(monkeypatch):
    error = ModuleNotFoundError("No module named 'torch'", name="torch.nn")
    assert explain_missing(error) == (
        "this command needs torch, which is not installed. Run `pip install 'sgcpnet[pipeline]'`"
    )
    assert explain_missing(ModuleNotFoundError("no sgcp.x", name="sgcp.x")) is None
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SgcpError, match=r"drive.mp4 needs av.*`pip install 'sgcpnet\[video\]'`"):
        require("av", "drive.mp4")


HIDDEN = """
import sys
sys.modules["torch"] = None
from sgcp.cli import app
try:
    app(["import-checkpoint", "a.pth.tar", "out"])
except SystemExit as end:
    print(end.code)
"""


def test_command_without_its_extra_is_one_line_and_exit_code_1(capfd):
    assert run_python(HIDDEN) == "1\n"
    assert capfd.readouterr().err == (
        "error: this command needs torch, which is not installed. Run `pip install "
        "'sgcpnet[pipeline]'`\n"
    )
