"""The command line as a process: terminals, colours, completion, signals, pipes, encodings."""

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
from conftest import HANGING, ROOT, Project

ESCAPE = b"\x1b"
COLOR = re.compile(rb"\x1b\[[\d;]*3\d")
SGCP = [sys.executable, "-m", "sgcp"]


def environment(**changes: str) -> dict[str, str]:
    """Return this environment without its own wishes for colours."""
    here = {key: value for key, value in os.environ.items() if not key.endswith("_COLOR")}
    return here | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "80"} | changes


def start(root: Path, *arguments: str, **changes: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*SGCP, *arguments], cwd=root, env=environment(**changes),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run_on_terminal(root: Path, *arguments: str, **changes: str) -> bytes:
    """Run `sgcp` on a terminal of its own; return its output."""
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


def test_terminal_gets_a_bar_and_a_pipe_no_control_characters(project: Project):
    written = run_on_terminal(project.root, "download", "sample")
    assert b"street scenes" in written
    assert b"\x1b[2K" in written  # a line drawn anew
    out, err = start(project.root, "prepare", "sample", FORCE_COLOR="1").communicate()
    assert b"4 train" in out
    assert not {*out + err} & {*b"\r\x1b"}


def test_environment_decides_on_colours(tmp_path):
    assert COLOR.search(run_on_terminal(tmp_path, "train", "--help"))
    assert not COLOR.search(run_on_terminal(tmp_path, "train", "--help", NO_COLOR="1"))
    assert ESCAPE not in run_on_terminal(tmp_path, "train", "--help", TERM="dumb")
    _, err = start(tmp_path, "train", FORCE_COLOR="1").communicate()
    assert COLOR.search(err)
    assert err.endswith(b"\n")


# --- completion


def complete(root: Path, *words: str) -> list[str]:
    changes = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    code = """
import sys
from sgcp.cli import app
sys.argv = ["sgcp"]
try:
    app(prog_name="sgcp")
finally:
    assert not {"torch", "numpy", "pandas", "PIL"} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root,
        env=environment(_SGCP_COMPLETE="complete_bash", **changes),
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def test_shell_completes_words_models_and_recipes(project: Project, tmp_path_factory):
    assert "package-submission" in complete(project.root, "sgcp", "")
    assert complete(project.root, "sgcp", "train", "c") == ["camvid", "cityscapes", "custom"]
    assert complete(project.root, "sgcp", "segment", "--model", "c") == ["camvid"]
    recipes = complete(project.root, "sgcp", "train", "camvid", "--recipe", "")
    assert {"strong", "quick"} <= set(recipes)
    outside = tmp_path_factory.mktemp("outside")
    assert complete(outside, "sgcp", "train", "--recipe", "") == []


# --- signals


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
    assert err.endswith(b"Run the command again to continue\n")
    assert b"Traceback" not in err
    assert not (project.root / "data/raw/sample").exists()
    assert not list(building.rglob("*.png.partial"))


ENDS_LATE = """
import signal, sys, time, typer
from sgcp.cli.failures import FriendlyGroup

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
def test_signal_in_a_finalizer_ends_the_command(tmp_path, sent, code):
    """Python prints what is raised there and continues: the interrupt would be lost."""
    command = [sys.executable, "-c", ENDS_LATE, "wait", str(int(sent))]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, check=False, timeout=HANGING
    )
    assert ended.returncode == code
    assert ended.stderr.count(b"\n") == 1


# --- output that cannot be written

EACH_WAY = [["compare"], ["compare", "--json", "-"], ["--help"]]


def with_files(arguments: list[str], metrics: list[str]) -> list[str]:
    return [*arguments, *metrics] if arguments[0] == "compare" else arguments


@pytest.mark.parametrize("arguments", EACH_WAY, ids=" ".join)
def test_closed_pipe_ends_silently(tmp_path, metrics, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [*SGCP, *with_files(arguments, metrics)], cwd=tmp_path, env=environment(),
        stdout=writer, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", EACH_WAY, ids=" ".join)
def test_full_disk_is_one_message(tmp_path, metrics, arguments, unbuffered):
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*SGCP, *with_files(arguments, metrics)], cwd=tmp_path,
            env=environment(PYTHONUNBUFFERED=unbuffered),
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

NAMES = {"道路": 0.25, "Straße": 0.5, "дерево": 0.75, "car": 1.0}
NARROW = pytest.mark.parametrize(
    "changes",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},  # restarts in UTF-8 mode
    ],
    ids=["cp1252", "C"],
)


@NARROW
def test_names_that_the_encoding_lacks_are_escaped(tmp_path, metrics, changes):
    for name in metrics:
        content = json.loads(Path(name).read_text())
        Path(name).write_text(json.dumps(content | {"iou": NAMES}))
    encoding = changes.get("PYTHONIOENCODING", "ascii")

    out, err = start(tmp_path, "compare", *metrics, **changes).communicate()
    text = out.decode(encoding)
    assert err == b""
    assert "\\u9053\\u8def" in text
    assert ("Straße" in text) == (encoding == "cp1252")
    rows = [line for line in text.splitlines() if line.startswith(("|", "+"))]
    assert len(rows) > len(NAMES)
    assert len({len(row) for row in rows}) == 1

    out, _ = start(tmp_path, "compare", *metrics, "--json", "-", **changes).communicate()
    assert out.isascii()
    usual, _ = start(tmp_path, "compare", *metrics, "--json", "-").communicate()
    assert "道路" in usual.decode()
    assert json.loads(out) == json.loads(usual)

    (tmp_path / "道路.json").write_text("{")
    process = subprocess.Popen(
        [*SGCP, "compare", "道路.json".encode(), "a.json"], cwd=tmp_path,
        env=environment(**changes), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    _, err = process.communicate()
    assert process.returncode == 1
    assert err.startswith(b"error: ")
    assert b"bug" not in err
    assert err.isascii()


@NARROW
def test_help_is_printed_in_any_encoding(tmp_path, changes):
    process = start(tmp_path, "--help", **changes)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert b"package-submission" in out
