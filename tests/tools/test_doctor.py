"""`sgcp doctor`: facts and problems of an installation, and nothing changed by the look."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Project

from sgcp.core.errors import SgcpError
from sgcp.core.extras import MODULES
from sgcp.inference.engines.measured import Trial, Way
from sgcp.inference.segmenter import load
from sgcp.tools import doctor as tool


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(tool, "SIZE", (96, 128))
    monkeypatch.setattr(tool, "SECONDS", 0)


@pytest.fixture
def desk(tmp_path: Path) -> Project:
    """A folder that belongs to no project."""
    return Project(tmp_path)


@pytest.fixture
def untimed(monkeypatch) -> None:
    """Leave the engines out."""

    def pretend(found: tool.Examination) -> None:
        found.facts["engines"] = {"milliseconds": {"openvino fp32": 1.0}}

    monkeypatch.setattr(tool, "_engines", pretend)


def report(project: Project, exit_code: int = 0) -> dict:
    """Return what `sgcp doctor --json -` writes; every problem has a fix."""
    result = project.run("doctor", "--json", "-")
    assert result.exit_code == exit_code, (result.output, result.exception)
    content = json.loads(result.stdout)
    assert all(one["problem"] and one["fix"] for one in content["problems"])
    assert content["able"] is (exit_code == 0)
    return content


def problems(content: dict) -> str:
    return "\n".join(one["problem"] for one in content["problems"])


def without(monkeypatch, *missing: str) -> None:
    """Hide installed modules from the look at what is installed."""
    known = tool.find_spec
    monkeypatch.setattr(tool, "find_spec", lambda name: None if name in missing else known(name))


def commit(root: Path) -> None:
    for command in (["init", "-q"], ["config", "user.email", "a@b.c"], ["config", "user.name", "a"],
                    ["add", "-A"], ["commit", "-q", "-m", "start"]):  # fmt: skip
        subprocess.run(["git", *command], cwd=root, check=True)


def test_every_engine_is_timed_in_any_folder(desk):
    content = report(desk)
    assert {"openvino fp32", "openvino int8", "torch fp32"} <= content["engines"][
        "milliseconds"
    ].keys()
    assert "takes openvino" in content["engines"]["auto"]
    assert content["versions"]["torch"]
    assert content["machine"]["usable cores"] >= 1
    assert content["project"] == {"folder": None}
    assert list(content["extras"]) == list(MODULES)
    assert list(desk.root.iterdir()) == []


def test_lines_fit_into_80_columns_and_problems_end_the_report(desk, monkeypatch):
    monkeypatch.setattr(tool.labels, "compiled", None)
    monkeypatch.setenv("SGCP_CACHE", f"{__file__}/no")
    lines = desk.ok("doctor").splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "2 problems"
    assert "problem: the C extension is missing or older than the code" in "\n".join(lines)
    assert " ".join(lines).count("To fix it:") == 2
    for section in ("versions", "machine", "engines", "cache", "project"):
        assert section in [line.strip() for line in lines]


def test_choice_of_auto_is_that_of_the_cache(desk, monkeypatch):
    engine = load("camvid").engine
    kept = [Trial(way, 1.0 + 9 * number, 0.0) for number, way in enumerate(engine.ways)]
    monkeypatch.setattr(type(engine), "kept", lambda self, image: kept[:2])
    auto = report(desk)["engines"]["auto"]
    assert auto.startswith(f"takes {engine.ways[0]}: {engine.ways[0]} 1.0 ms, {engine.ways[1]}")
    assert "of an earlier image" in auto


def test_looking_decides_nothing_for_auto(desk, tmp_path, monkeypatch):
    monkeypatch.setenv("SGCP_CACHE", str(tmp_path / "cache"))
    report(desk)
    assert not (tmp_path / "cache/choices").exists()


def test_engine_that_does_not_run_is_a_problem_and_the_others_are_timed(desk, monkeypatch):
    def broken(*given, engine="auto", **options):
        if engine == "openvino":
            raise ImportError("libopenvino.so: cannot open")
        return load(*given, engine=engine, **options)

    monkeypatch.setattr(tool, "load", broken)
    content = report(desk)
    assert "engine openvino fp32 does not run (libopenvino.so: cannot open)" in problems(content)
    assert "torch fp32" in content["engines"]["milliseconds"]


def test_without_an_engine_the_exit_code_is_1(desk, monkeypatch):
    def refuse(*given):
        raise SgcpError("no graph")

    monkeypatch.setattr(tool, "list_ways", refuse)
    without(monkeypatch, "torch")
    content = report(desk, exit_code=1)
    assert "no engine segments an image" in problems(content)


def test_base_install_is_no_problem_but_for_a_project(desk, project, monkeypatch):
    monkeypatch.setattr(tool, "list_ways", lambda *given: {Way("openvino", "fp32"): b""})
    without(monkeypatch, *MODULES["pipeline"])
    content = report(Project(Path("/")))
    assert content["extras"]["pipeline"] == "not installed: pip install 'sgcpnet[pipeline]'"
    assert content["engines"]["auto"] == "takes the only engine"
    assert "libraries" not in problems(content)
    content = report(project)
    (one,) = (one for one in content["problems"] if "need more libraries" in one["problem"])
    assert one["fix"] == "pip install 'sgcpnet[pipeline]'"


def test_library_that_an_extra_lacks_is_named(monkeypatch):
    without(monkeypatch, "dvc")
    found = tool.Examination()
    tool._extras(found)
    fix = "pip install 'sgcpnet[pipeline]'"
    assert found.facts["extras"]["pipeline"] == f"lacks dvc: {fix}"


def test_torch_is_not_imported_to_find_no_gpu(desk, monkeypatch):
    if any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("there is a GPU")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)  # an import would raise
    found = tool.Examination()
    tool._gpu(found)
    assert found.facts["gpu"] == {"devices": "none"}
    assert found.problems == []


def test_settings_that_are_wrong_are_a_problem(project, untimed):
    project.set(recipe="nowhere", datasets=[])
    content = report(project)
    assert "params.yaml is not valid" in problems(content)
    project.set(datasets=["sample"])
    content = report(project)
    assert content["project"]["datasets"] == ["sample"]
    assert "no .dvc folder" in problems(content)


def test_looking_changes_nothing(project):
    commit(project.root)
    (project.root / "params.yaml").touch()  # git would refresh its index

    def tree() -> dict[Path, tuple[int, int]]:
        files = (path for path in project.root.rglob("*") if path.is_file())
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}

    before = tree()
    content = report(project)
    assert tree() == before
    assert content["project"]["changed files"] == 0
    assert len(content["project"]["git commit"]) >= 7


def test_home_folder_is_not_named(project, tmp_path, monkeypatch, untimed):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SGCP_CACHE", str(tmp_path / "cache"))
    result = project.run("doctor", "--json", "-")
    assert str(tmp_path) not in result.stdout
    content = json.loads(result.stdout)
    assert content["cache"]["folder"] == "~/cache"
    assert content["project"]["folder"] == "~"


def test_long_temporary_folder_and_few_files_are_problems(desk, tmp_path, monkeypatch, untimed):
    monkeypatch.setattr(tool.tempfile, "gettempdir", lambda: str(tmp_path / ("x" * 90)))
    monkeypatch.setattr(tool, "_open_files", lambda: 64)
    found = problems(report(desk))
    assert "too long for the sockets" in found
    assert "64 files may be open" in found


@pytest.mark.parametrize(("numpy", "count"), [("2.3.5", 0), ("2.4.0", 1), (None, 0)])
def test_versions_that_break_the_official_tools_are_named(monkeypatch, numpy, count):
    known = {"numpy": numpy, "cityscapesscripts": "2.3.0", "pillow": "12.0"}
    monkeypatch.setattr(tool, "_version", known.get)
    found = tool.Examination()
    tool._versions(found)
    named = [one for one in found.problems if "cityscapesScripts" in one["problem"]]
    assert len(named) == count
    assert all(one["fix"] == "pip install 'numpy<2.4'" for one in named)


@pytest.mark.integration
def test_dvc_is_asked(desk, untimed):
    desk.ok("init", "new")
    project = Project(desk.root / "new")
    assert "dvc status" in report(project)["project"]
    shutil.rmtree(project.root / ".dvc")
    desk.ok("init", "new")
    config = project.root / ".dvc/config"
    config.write_text(
        config.read_text() + "['remote \"store\"']\n    url = s3://name@secret/place\n"
    )
    facts = report(project)["project"]
    assert facts["dvc remotes"] == ["store"]
    assert "secret" not in json.dumps(facts)
    assert facts["dvc status"].startswith("to run: download@sample, prepare@sample")
    (project.root / "dvc.yaml").write_text("stages: [")
    assert "`dvc status` fails" in problems(report(project))
    assert os.environ["DVC_NO_ANALYTICS"]
