"""The command line in this process: help, parameters, errors, quiet and JSON output."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest
from conftest import Project
from pages import help_examples
from typer.main import get_command

from sgcp.cli import app
from sgcp.core import terminal

GROUP = get_command(app)
COMMANDS = sorted(GROUP.commands)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns(project: Project, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = project.ok(*command.split(), "--help").splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "…" in line]


def test_help_lists_the_commands_in_order_of_the_pipeline(project: Project):
    text = project.ok("--help")
    places = [text.index(f" {name} ") for name in ("download", "prepare", "train", "predict")]
    assert places == sorted(places)
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_parameters_have_help_and_examples_parse(command):
    own = GROUP.commands[command]
    assert all(parameter.help or parameter.hidden for parameter in own.params)
    assert {"-q", "--quiet"} <= {option for parameter in own.params for option in parameter.opts}
    assert 1 <= len(help_examples(own)) <= 3
    for example in help_examples(own):
        program, name, *arguments = shlex.split(example)
        assert (program, name) == ("sgcp", command)
        own.make_context(name, arguments, resilient_parsing=False)


def test_no_arguments_show_help_as_a_usage_error(project: Project):
    result = project.run()
    assert result.exit_code == 2
    assert result.output.strip() == project.ok("--help").strip()


def test_version(project: Project):
    assert re.fullmatch(r"sgcp \d+\.\d+\.\d+\S*\n", project.ok("--version"))


def test_dataset_is_optional_if_one_is_enabled(project: Project):
    assert " files" in project.ok("download")
    project.set(datasets=["sample", "camvid"])
    assert "sample, camvid" in project.fails("download")


def test_commands_need_a_project_and_find_it_from_a_folder_below(project: Project):
    (project.root / "below").mkdir()
    Project(project.root / "below").ok("download", "sample")
    assert (project.root / "data/raw/sample").is_dir()
    (project.root / "params.yaml").unlink()
    assert "no params.yaml" in project.fails("train", "sample")


@pytest.mark.parametrize(
    ("command", "earlier"),
    [
        ("prepare", "download"),
        ("train", "prepare"),
        ("validate", "prepare"),
        ("predict", "prepare"),
        ("package-submission", "predict"),
    ],
)
def test_stage_names_the_one_to_run_before_it(project: Project, command, earlier):
    assert f"run `sgcp {earlier} sample` first" in project.fails(command, "sample")


def test_invalid_params_stop_every_command(project: Project):
    project.set(sample__train__lr=-1)
    for command in ("download", "train", "package-submission"):
        assert "sample.train.quick.lr" in project.fails(command, "sample")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("prepare sample --protocol strict", "--protocol"),
        ("download camvid --archive absent.zip", "absent.zip"),
        ("download camvid a.zip", "--archive FILE"),
        ("download cityscapes --root absent", "no such folder"),
        ("import-checkpoint absent.tar out", "absent.tar"),
        ("validate sample --predictions a --model b", "--model"),
        ("validate sample --name a", "--name"),
        ("validate sample --encoding ids", "--encoding"),
        ("validate sample --predictions a --flip", "--flip"),
        ("export camvid out.xml --images 5", "--images"),
        ("export camvid out.xml --calibrate .", "--calibrate"),
        ("train sample --json out.json", "--seeds"),
    ],
)
def test_impossible_values_are_errors_that_name_them(project: Project, arguments, named):
    assert named in project.fails(*arguments.split())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("train --fast", "--fast"),
        ("train kitti", "camvid"),
        ("validate sample --split dev", "'train', 'val', 'test'"),
        ("prepare camvid --protocol both", "'strict', 'grouped'"),
        ("segment a.png --device tpu", "'auto', 'cpu', 'cuda'"),
        ("check-submission a.zip --images . --dataset sample", "--dataset"),
    ],
)
def test_unknown_words_are_usage_errors_that_list_the_known(project: Project, arguments, named):
    result = project.run(*arguments.split())
    assert result.exit_code == 2
    assert named in " ".join(result.stderr.replace("│", " ").split())


# --- quiet and JSON


@pytest.mark.parametrize("place", ["before", "after"])
def test_quiet_prints_nothing_on_success_and_ends_with_the_command(project: Project, place):
    first, last = (["-q"], []) if place == "before" else ([], ["-q"])
    assert project.ok(*first, "download", "sample", *last) == ""
    assert project.ok("prepare", "sample") != ""


def test_quiet_keeps_results_and_errors(project: Project, metrics):
    assert "mIoU" in project.ok("-q", "compare", *metrics)
    assert "absent" in project.fails("-q", "train", "camvid", "--recipe", "absent")


def test_json_replaces_the_table_on_standard_output(project: Project, metrics):
    content = json.loads(project.run("compare", *metrics, "--json", "-").stdout)
    assert content["files"][1]["difference_from_first"] == {"miou": 0.25, "iou": {"road": 0.25}}


@pytest.mark.integration
def test_json_of_a_stage_is_the_file_that_it_writes(trained: Project):
    validated = trained.run("validate", "sample", "--json", "-")
    written = json.loads((trained.root / "metrics/sample/validate.json").read_text())
    assert json.loads(validated.stdout) == written
    zipped = "data/submissions/sample/test_result.zip"
    checked = trained.run("check-submission", zipped, "--dataset", "sample", "--json", "-")
    assert json.loads(checked.stdout)["passed"] == (checked.exit_code == 0)


def test_json_goes_to_a_file_that_is_not_an_input(project: Project, metrics):
    assert "mIoU" in project.ok("compare", *metrics, "--json", "out.json")
    assert json.loads((project.root / "out.json").read_text())["comparable"] is True
    before = Path(metrics[0]).read_text()
    assert metrics[0] in project.fails("compare", *metrics, "--json", metrics[0])
    assert Path(metrics[0]).read_text() == before
    (project.root / "street.png").write_bytes(b"\x89PNG")
    assert "street.png" in project.fails("compare", *metrics, "--json", "street.png")


def test_comparison_of_many_files_shows_every_number_in_80_columns(project: Project, metrics):
    text = project.ok("compare", metrics[0], *[metrics[1]] * 6)
    assert text.count("75.00 (+25.00)") == 12
    assert max(map(len, text.splitlines()[:-7])) <= 80


# --- progress off a terminal


def test_long_work_off_a_terminal_prints_lines_ever_less_often(monkeypatch, capsys):
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(terminal, "time", clock)

    def slow(seconds: float, count: int):
        for index in range(count):
            clock.now += seconds
            yield index

    terminal.output.set()
    list(terminal.track(slow(0.9, 11), "short", 11))
    assert capsys.readouterr().out == ""
    list(terminal.track(slow(1, 300), "long", 300))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["long", "10/300"]
    assert 5 <= len(lines) <= 8  # after 10, 20, 40 seconds, then one a minute
    terminal.output.set(quiet=True)
    list(terminal.track(slow(1, 300), "long", 300))
    assert capsys.readouterr().out == ""
    terminal.output.set()


def test_tables_are_80_columns_wide_off_a_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((37, 20)))
    assert terminal.Lines().width == 80


def test_set_may_mend_a_contradiction_of_the_recipe(project: Project):
    project.set(sample__train__validate_split=None)
    assert "keep: 'best' needs a split" in project.fails("train", "sample")
    assert "sgcp prepare sample" in project.fails("train", "sample", "--set", "keep=last")
    assert "sample has no 'slow'" in project.fails(
        "train", "sample", "--recipe", "slow", "--set", "keep=last"
    )
