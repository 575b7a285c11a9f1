"""dvc.yaml against the code: what a stage lists is what it runs, reads and writes."""

import ast
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, TINY, set_params
from imports import closure
from ruamel.yaml import YAML

from sgcp.core.layout import Layout
from sgcp.settings.load import load_params

STAGES = {
    "download": "download",
    "prepare": "prepare",
    "train": "train",
    "validate": "validate",
    "predict": "predict",
    "package": "package_submission",
    "report": "report",
}
GRAPH: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]


def names(entries: list[Any]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_graph_has_the_stages_of_the_design():
    assert list(GRAPH) == list(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_listed_code_is_what_the_stage_imports(stage):
    """Every module it runs is listed, itself or its folder, and no entry is without such a one."""
    listed = [ROOT / name for name in names(GRAPH[stage]["deps"]) if name.startswith("sgcp")]
    used = closure(ROOT / "sgcp" / "stages" / f"{stage}.py") - {ROOT / "sgcp" / "__init__.py"}
    found = {file: {entry for entry in listed if entry in (file, *file.parents)} for file in used}
    missing = sorted(str(file.relative_to(ROOT)) for file, entries in found.items() if not entries)
    assert not missing, f"dvc.yaml, {stage}: add {missing}"
    needless = set(listed) - set().union(*found.values())
    assert not needless, f"dvc.yaml, {stage}: drop {sorted(map(str, needless))}"


@pytest.mark.parametrize("stage", STAGES)
def test_listed_params_are_the_section_that_the_command_reads(stage):
    """The command hands its stage one section (and machine, which changes no result)."""
    section = f"${{item.dataset}}.{stage}" + (".${recipe}" if stage == "train" else "")
    assert GRAPH[stage]["params"] == [section]
    tree = ast.parse((ROOT / "sgcp" / "cli" / "pipeline.py").read_text())
    command = next(
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == STAGES[stage]
    )
    read = {
        node.attr.rstrip("_")
        for node in ast.walk(command)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "section"
    }
    assert read - {"select"} == {stage}


@pytest.mark.parametrize("stage", STAGES)
def test_listed_paths_are_those_of_the_layout(stage):
    """Every path of the layout that the stage's code names is listed, and the reverse."""
    layout = Layout(Path(), "${item.dataset}")
    paths = {
        name: getattr(layout, name).as_posix()
        for name in vars(Layout)
        if isinstance(vars(Layout)[name], property)
    }
    # No outputs: DVC must leave them alone.
    beside_dvc = {
        "corrupted",
        "downloads",
        "resume",
        "unfinished_curves",
        "origin",
        "stamps",
        "seeds",
        "speed",
    }
    files = closure(ROOT / "sgcp" / "stages" / f"{stage}.py")
    source = "".join(file.read_text() for file in files if file.name != "layout.py")
    used = {name for name in paths if f"layout.{name}" in source} - beside_dvc
    entry = GRAPH[stage]
    outs = [name for kind in ("outs", "metrics", "plots") for name in names(entry.get(kind, []))]
    listed = outs + [dep for dep in names(entry["deps"]) if not dep.startswith("sgcp")]
    for name in used:
        path = paths[name].replace("pipeline/splits/${item.dataset}", "pipeline/splits")
        assert any(item == path or item.startswith(f"{path}/") for item in listed), (stage, name)
    for item in listed:
        assert any(
            item == paths[name] or item.startswith((paths[name], str(Path(paths[name]).parent)))
            for name in used
        ), (stage, item)


class Recorder:
    """Stand in for a settings section and remember what was read."""

    def __init__(self, section: Any, read: set[str]) -> None:
        self._section, self._read = section, read

    def __getattr__(self, name: str) -> Any:
        if name in type(self._section).model_fields:
            self._read.add(name)
        return getattr(self._section, name)


@pytest.mark.integration
def test_every_setting_is_read_by_its_stage(tmp_path):
    """A key that no stage reads would rerun it for nothing."""
    from sgcp.stages import download, package, predict, prepare, report, train, validate

    set_params_file = tmp_path / "params.yaml"
    set_params_file.write_text((ROOT / "params.yaml").read_text())
    set_params(set_params_file, TINY | {"sample.train.optimizer": "sgd",
                                        "sample.train.schedule": "poly"})  # fmt: skip
    params = load_params(set_params_file)
    (tmp_path / "pipeline").symlink_to(ROOT / "pipeline")
    layout = Layout(tmp_path, "sample")
    calls = [
        (download.download, params.sample.download, (params.machine,)),
        (prepare.prepare, params.sample.prepare, (params.machine,)),
        (train.train, params.sample.train, (params.machine,)),
        (validate.validate, params.sample.validate_, (params.machine,)),
        (predict.predict, params.sample.predict, (params.machine,)),
        (package.package_submission, params.sample.package, ()),
        (report.report, params.sample.report, ()),
    ]
    for stage, section, rest in calls:
        read: set[str] = set()
        stage(layout, Recorder(section, read), *rest)
        assert read == set(type(section).model_fields), stage.__name__


def test_committed_lock_matches_the_committed_datasets():
    lock = YAML(typ="safe", pure=True).load((ROOT / "dvc.lock").read_text())
    datasets = load_params(ROOT / "params.yaml").datasets
    assert set(lock["stages"]) == {f"{stage}@{name}" for stage in STAGES for name in datasets}
