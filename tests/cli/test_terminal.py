"""The command line as people and scripts meet it: help, completion, signals, pipes, terminals."""

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from conftest import HANGING, ROOT, Project
from rich.text import Text
from typer.main import get_command

from sgcp.cli import app
from sgcp.cli.help import EVERYWHERE, fold
from sgcp.core import terminal as progress

GROUP = get_command(app)
COMMANDS = sorted(GROUP.commands)
ESCAPE = b"\x1b"
SGCP = [sys.executable, "-m", "sgcp"]
PLAIN = {"TERM": "xterm-256color", "COLUMNS": "80"}


def environment(**changes: str) -> dict[str, str]:
    """Return this environment, without what it says of colours."""
    here = {key: value for key, value in os.environ.items() if not key.endswith("_COLOR")}
    return here | {"PYTHONPATH": str(ROOT)} | PLAIN | changes


def start(root: Path, *arguments: str, **changes: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*SGCP, *arguments], cwd=root, env=environment(**changes),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run_on_terminal(root: Path, *arguments: str, **changes: str) -> bytes:
    """Run `sgcp` on a terminal of its own; return all that it wrote there."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*SGCP, *arguments], cwd=root, env=environment(**changes),
        stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    written = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # Linux: the other side is closed
            piece = b""
        if not piece:
            break
        written += piece
    os.close(leader)
    assert process.wait() == 0, written
    return written


@pytest.fixture
def metrics(tmp_path: Path) -> list[str]:
    """Two metrics files that compare."""
    content = dict.fromkeys(
        ("dataset", "edition", "protocol", "class_order", "split", "split_fingerprint",
         "scored_size"), "x")  # fmt: skip
    names = []
    for name, share in (("a.json", 0.5), ("b.json", 0.75)):
        text = json.dumps(content | {"miou": share, "iou": {"road": share}})
        (tmp_path / name).write_text(text)
        names.append(str(tmp_path / name))
    return names


# --- help


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("command", [*COMMANDS, ""])
def test_help_fits_the_terminal(command, width):
    shown = GROUP.commands[command] if command else GROUP
    ctx = typer.Context(shown, info_name=f"sgcp {command}".strip(), terminal_width=width)
    lines = Text.from_ansi(shown.get_help(ctx)).plain.splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line != line.rstrip()]


def test_help_stands_in_sections_without_boxes(project: Project):
    text = project.ok("--help")
    for title in ("The pipeline, step by step:", "Your own images:", "Start here:"):
        assert f"\n{title}\n" in text
    assert text.isascii()
    places = [text.index(f"\n  {name} ") for name in ("download", "prepare", "train", "predict")]
    assert places == sorted(places)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_parameter_has_help_and_a_name_for_its_value(command):
    for parameter in GROUP.commands[command].params:
        if not parameter.hidden:
            assert parameter.help, parameter.name
            flag = getattr(parameter, "is_flag", False)
            assert flag or parameter.metavar, f"{command}: {parameter.name} shows as <str>"


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_parse(command):
    """An example that names an option which is gone would be worse than none."""
    own = GROUP.commands[command]
    assert 1 <= len(own.examples) <= 3
    for example in own.examples:
        program, name, *arguments = shlex.split(example)
        assert (program, name) == ("sgcp", command)
        # An unknown option, a missing argument or a value of a wrong type is refused here.
        own.make_context(name, arguments, resilient_parsing=False)


def test_every_command_takes_quiet():
    for command in GROUP.commands.values():
        assert "quiet" in [parameter.name for parameter in command.params]
        assert {"help", "quiet"} <= set(EVERYWHERE)


def test_long_examples_are_folded_as_a_shell_reads_them():
    command = "sgcp segment a.jpg " + " ".join(f"--scale {n}" for n in range(12))
    folded = fold(command, 40)
    assert max(map(len, folded.splitlines())) <= 40
    assert shlex.split(folded.replace("\\\n", "")) == shlex.split(command)


def test_no_arguments_show_help_as_a_usage_error(project: Project):
    result = project.run()
    assert result.exit_code == 2
    assert result.output == project.ok("--help").rstrip("\n") + "\n"


def test_version(project: Project):
    assert re.fullmatch(r"sgcp \d+\.\d+\.\d+\S*\n", project.ok("--version"))


# --- colours and bars


def test_terminal_gets_a_bar_and_a_pipe_no_control_characters(project: Project):
    seen = run_on_terminal(project.root, "download", "sample")
    assert b"street scenes" in seen
    assert b"\x1b[2K" in seen  # a line drawn anew
    for options, changes in ((["prepare", "sample"], {}),
                             (["prepare", "sample", "--quiet"], {"FORCE_COLOR": "1"})):  # fmt: skip
        process = start(project.root, *options, **changes)
        out, err = process.communicate(timeout=HANGING)
        assert process.returncode == 0, err
        assert ESCAPE not in out + err
        assert b"\r" not in out + err
    assert out == b""


def test_environment_decides_on_colours(project: Project):
    assert ESCAPE in run_on_terminal(project.root, "train", "--help")
    assert ESCAPE not in run_on_terminal(project.root, "train", "--help", NO_COLOR="1")
    assert ESCAPE not in run_on_terminal(project.root, "train", "--help", TERM="dumb")
    out, _ = start(project.root, "train", "--help", FORCE_COLOR="1").communicate()
    assert ESCAPE in out


class Clock:
    """Time that passes when told."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_off_a_terminal_long_work_breaks_the_silence_seldom(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    progress.output.set()

    def slow(seconds: float, count: int):
        for index in range(count):
            clock.now += seconds
            yield index

    list(progress.track(slow(0.9, 11), "short", 11))
    assert capsys.readouterr().out == ""
    list(progress.track(slow(1, 300), "long", 300))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["long", "10/300"]
    assert 5 <= len(lines) <= 8  # after 10, 20, 40 seconds, then one a minute
    progress.output.set(quiet=True)
    list(progress.track(slow(1, 300), "long", 300))
    assert capsys.readouterr().out == ""
    progress.output.set()


def test_tables_keep_their_width_off_a_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((37, 20)))
    assert progress.Lines().width == 80


# --- quiet and JSON


@pytest.mark.parametrize("place", ["before", "after"])
def test_quiet_says_nothing_where_all_is_well(project: Project, place):
    first, last = (["-q"], []) if place == "before" else ([], ["-q"])
    assert project.ok(*first, "download", "sample", *last) == ""
    assert project.ok("prepare", "sample") != ""  # it does not last


def test_quiet_keeps_results_and_errors(project: Project, metrics):
    assert "mIoU" in project.ok("-q", "compare", *metrics)
    assert "choose one of" in project.fails("-q", "train", "kitti")


@pytest.mark.integration
def test_json_is_alone_on_standard_output(trained: Project, metrics):
    comparison = trained.run("compare", *metrics, "--json", "-")
    content = json.loads(comparison.stdout)
    assert content["files"][1]["difference_from_first"] == {"miou": 0.25, "iou": {"road": 0.25}}
    validated = trained.run("validate", "sample", "--json", "-")
    written = json.loads((trained.root / "metrics/sample/validate.json").read_text())
    assert json.loads(validated.stdout) == written
    zipped = "data/submissions/sample/test_result.zip"
    checked = trained.run("check-submission", zipped, "--dataset", "sample", "--json", "-")
    assert json.loads(checked.stdout)["passed"] == (checked.exit_code == 0)


def test_json_goes_to_a_file_beside_the_table(project: Project, metrics):
    text = project.ok("compare", *metrics, "--json", "out.json")
    assert "mIoU" in text
    assert json.loads((project.root / "out.json").read_text())["comparable"] is True
    assert "is an input itself" in project.fails("compare", *metrics, "--json", metrics[0])
    assert json.loads(Path(metrics[0]).read_text())["miou"] == 0.5


def test_comparison_of_many_files_loses_no_number(project: Project, metrics):
    text = project.ok("compare", metrics[0], *[metrics[1]] * 6)
    assert text.count("75.00 (+25.00)") == 12
    assert max(map(len, text.splitlines()[:-7])) <= 80


# --- completion


def complete(root: Path, *words: str) -> list[str]:
    changes = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    out = subprocess.run(
        [sys.executable, "-c", "import sys; from sgcp.cli import app; sys.argv = ['sgcp']; "
         "app(prog_name='sgcp')"],
        cwd=root, env=environment(_SGCP_COMPLETE="complete_bash", **changes),
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert out.stderr == ""
    return out.stdout.split()


def test_shell_completes_what_the_project_knows(project: Project):
    assert set(COMMANDS) <= set(complete(project.root, "sgcp", ""))
    assert complete(project.root, "sgcp", "train", "c") == ["camvid", "cityscapes"]
    recipes = complete(project.root, "sgcp", "train", "camvid", "--recipe", "")
    assert "strong" in recipes
    assert "quick" in recipes


def test_shell_completes_fixed_words_and_options(tmp_path):
    assert complete(tmp_path, "sgcp", "validate", "--split", "") == ["train", "val", "test"]
    assert complete(tmp_path, "sgcp", "segment", "--model", "c") == ["camvid"]
    assert complete(tmp_path, "sgcp", "train", "--s") == ["--seeds"]
    assert complete(tmp_path, "sgcp", "train", "") == []  # no project here: no error either


def test_completing_imports_nothing_heavy(project: Project):
    code = (
        "import os, sys; os.chdir(sys.argv.pop()); from sgcp.cli import completion as c; "
        "assert c.datasets() and c.models(); "
        "sys.exit(bool({'torch', 'numpy', 'pydantic', 'PIL'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(project.root)]
    assert subprocess.run(command, env=environment(), check=False).returncode == 0


# --- ends


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_with_its_code_and_no_half_files(project: Project, sent, code):
    project.set(sample__download__train=400)
    process = start(project.root, "download", "sample")
    building = project.root / "data/raw/sample.partial"
    while not any(building.rglob("*.png")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(sent)
    _, err = process.communicate(timeout=HANGING)
    # Where Ctrl-C hits code that C runs, Python ends by the signal itself: 130 to a shell, too.
    assert process.returncode in ((code, -sent) if sent == signal.SIGINT else (code,)), err
    assert err.endswith(b"run the command again to resume\n")
    assert b"Traceback" not in err
    assert not (project.root / "data/raw/sample").exists()
    assert not list(building.rglob("*.png.partial"))


ENDS_LATE = """
import signal, sys, time, typer
from sgcp.failures import FriendlyGroup

app = typer.Typer(cls=FriendlyGroup)

class Late:
    def __del__(self):
        signal.raise_signal(int(sys.argv[-1]))

@app.command()
def wait(number: int):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Late()
    time.sleep(60)

@app.command()
def other(): ...

app()
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_in_a_finalizer_ends_the_command_all_the_same(tmp_path, sent, code):
    """Python prints what is raised there and goes on: an interruption would be lost."""
    command = [sys.executable, "-c", ENDS_LATE, "wait", str(int(sent))]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, check=False, timeout=HANGING
    )
    assert ended.returncode == code
    assert ended.stderr.endswith(b"run the command again\n")
    assert ended.stderr.count(b"\n") == 1


def test_closed_pipe_ends_silently(tmp_path, metrics):
    for arguments in (["compare", *metrics], ["compare", *metrics, "--json", "-"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        ended = subprocess.run(
            [*SGCP, *arguments], cwd=tmp_path, env=environment(),
            stdout=writer, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
        os.close(writer)
        assert (ended.returncode, ended.stderr) == (141, b""), arguments


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_disk_is_one_message(tmp_path, metrics, unbuffered):
    for arguments in (["compare", *metrics], ["compare", *metrics, "--json", "-"], ["--help"]):
        with Path("/dev/full").open("wb") as full:
            ended = subprocess.run(
                [*SGCP, *arguments], cwd=tmp_path, env=environment(PYTHONUNBUFFERED=unbuffered),
                stdout=full, stderr=subprocess.PIPE, check=False,
            )  # fmt: skip
        assert ended.returncode == 1
        assert ended.stderr.startswith(b"error: No space left on device")
        assert ended.stderr.count(b"\n") == 1


def test_no_standard_output_is_no_error(tmp_path, metrics):
    command = " ".join(map(shlex.quote, [*SGCP, "compare", *metrics]))
    ended = subprocess.run(
        ["sh", "-c", f"{command} >&-"], cwd=tmp_path, env=environment(),
        stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, b"")


# --- encodings

NARROW = [
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]
NAMES = {"道路": 0.25, "Straße": 0.5, "дерево": 0.75, "car": 1.0}


@pytest.fixture
def foreign(metrics: list[str], tmp_path: Path) -> list[str]:
    """Two metrics files whose classes no 8-bit encoding holds together."""
    for name in metrics:
        content = json.loads(Path(name).read_text())
        Path(name).write_text(json.dumps(content | {"iou": NAMES}))
    return metrics


def run_narrow(root: Path, changes: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run `sgcp`; return its exit code and what it printed, which its encoding can hold."""
    encoding = changes.get("PYTHONIOENCODING", "ascii")
    process = start(root, *arguments, **changes)
    stdout, stderr = process.communicate()
    return process.returncode, stdout.decode(encoding), stderr.decode(encoding)


@pytest.mark.parametrize("changes", NARROW, ids=str)
def test_table_of_names_that_the_terminal_lacks_is_escaped_and_aligned(tmp_path, foreign, changes):
    code, text, problems = run_narrow(tmp_path, changes, "compare", *foreign)
    assert (code, problems) == (0, "")
    assert "\\u9053\\u8def" in text
    assert ("Straße" in text) == ("1252" in str(changes))
    rows = [line for line in text.splitlines() if line.startswith(("|", "+"))]
    assert len(rows) > len(NAMES)
    assert len({len(row) for row in rows}) == 1


@pytest.mark.parametrize("changes", NARROW, ids=str)
def test_json_on_a_terminal_that_lacks_its_names_is_the_same_json(tmp_path, foreign, changes):
    usual, _ = start(tmp_path, "compare", *foreign, "--json", "-").communicate()
    code, text, _ = run_narrow(tmp_path, changes, "compare", *foreign, "--json", "-")
    assert code == 0
    assert text.isascii()
    assert json.loads(text) == json.loads(usual.decode())
    assert "道路" in usual.decode()


@pytest.mark.parametrize("changes", NARROW, ids=str)
def test_error_about_a_name_that_the_terminal_lacks_is_one_message(tmp_path, changes):
    (tmp_path / "道路.json").write_text("{")
    # The name as bytes, so that no encoding of the child is asked.
    process = subprocess.Popen(
        [*SGCP, "compare", "道路.json".encode(), "a.json"], cwd=tmp_path,
        env=environment(**changes), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert stderr.startswith(b"error: ")
    assert b"bug" not in stderr
    assert stderr.isascii()


@pytest.mark.parametrize("changes", NARROW, ids=str)
def test_help_is_printed_on_any_terminal(tmp_path, changes):
    for arguments in (["--help"], ["train", "--help"], ["segment", "--help"]):
        code, text, _ = run_narrow(tmp_path, changes, *arguments)
        assert code == 0
        assert text
