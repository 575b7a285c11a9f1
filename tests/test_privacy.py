"""Nothing leaves the machine: each command in a process where connections and look-ups fail."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Project
from PIL import Image
from typer.main import get_command
from videos import make_video

from sgcp.cli import app

pytestmark = pytest.mark.integration

# Several commands in one process, to import torch once; a look-up or connection ends it.
RUN = """
import os, shlex, sys

def refuse(event, arguments):
    if event == "socket.connect":
        local = arguments[0].family == 1 or str(arguments[1][0]) in ("127.0.0.1", "::1")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        local = arguments[0] in (None, "127.0.0.1", "::1")
    else:
        return
    if not local:
        os.write(2, f"{event} {arguments}".encode())
        os._exit(99)  # an exception would be swallowed where statistics are sent

sys.addaudithook(refuse)
from sgcp.cli import app

for line in sys.argv[1:]:
    try:
        app(shlex.split(line))
    except SystemExit as end:
        if end.code:
            raise SystemExit(f"{line}: {end.code}")
"""
CHAIN = [
    "init new", "doctor",
    *(f"{name} sample" for name in ("download", "prepare", "browse", "train", "validate",
                                    "predict", "package-submission", "report", "benchmark")),
    "check-submission data/submissions/sample/test_result.zip --dataset sample",
    "compare metrics/sample/validate.json metrics/sample/validate.json",
    "segment street.png drive.mp4 --colors",
    "import-labels export --out mine",
]  # fmt: skip
EXPORTS = [
    "export camvid street.onnx",
    "segment street.png --model street.onnx --out by-onnx",
    "export camvid street8.xml --int8 --calibrate photos",
    "export camvid program.pt2 --size 96 128",
]
TRACED = "connect,sendto,sendmsg,sendmmsg,openat,creat,mkdir,mkdirat,rename,renameat,renameat2"


class Machine:
    """A user's empty home and temporary folder, and a project in which all commands can run."""

    def __init__(self, folder: Path, project: Project) -> None:
        self.home, self.temporary, self.project = folder / "home", folder / "tmp", project.root
        for path in (self.home, self.temporary):
            path.mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
        (self.project / "photos").mkdir()
        for number in range(16):
            Image.fromarray(noise).save(self.project / "photos" / f"{number}.png")
        Image.fromarray(noise).save(self.project / "street.png")
        shutil.copytree(ROOT / "tests/labelling/exports/coco", self.project / "export")
        Image.fromarray(noise[:40, :60]).save(self.project / "export/street.png")
        make_video(self.project / "drive.mp4", 4)
        self.log = folder / "log"

    def run(self, *command: str, **changes: str) -> str:
        """Run a program; return what it printed.

        Fails if it, or a process of its, connects elsewhere, looks up a name, or writes a file
        outside project, home and temporary folder. The latter is seen where there is `strace`.
        """
        environment = {
            "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
            "HOME": str(self.home), "TMPDIR": str(self.temporary), **changes,
        }  # fmt: skip
        tracer = ["strace", "-f", "--seccomp-bpf", "-e", f"trace={TRACED}", "-o", str(self.log)]
        ended = subprocess.run(
            [*(tracer if shutil.which("strace") else []), *command],
            cwd=self.project, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
        calls = whole_calls(self.log.read_text(errors="replace")) if self.log.exists() else []
        assert [call for call in calls if leaves_the_machine(call)] == []
        inside = (self.project, self.home, self.temporary, Path("/dev"), Path("/proc"))
        written = {Path(path) for call in calls if (path := written_by(call))}
        outside = [path for path in written if not any(map(path.is_relative_to, inside))]
        assert [path for path in outside if "__pycache__" not in path.parts] == []
        return ended.stdout + ended.stderr

    def left(self) -> list[str]:
        """Return the files in home and temporary folder."""
        folders = (self.home, self.temporary)
        found = (path for folder in folders for path in folder.rglob("*") if not path.is_dir())
        return [path.relative_to(self.home.parent).as_posix() for path in found]


def whole_calls(log: str) -> list[str]:
    """Return the traced calls; an interrupted one stands in two lines of the log."""
    begun: dict[str, str] = {}
    calls = []
    for line in log.splitlines():
        thread, _, call = line.partition(" ")
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>")
        else:
            resumed = re.match(r"\s*<\.\.\. \w+ resumed>", call)
            calls.append(begun.pop(thread, "") + call[resumed.end() :] if resumed else call)
    return [*calls, *begun.values()]


def leaves_the_machine(call: str) -> bool:
    """Return whether a traced call sends something to an address that is not this machine's."""
    if "AF_INET" not in call:
        return False
    local = re.search(r'inet_addr\("127\.|inet_pton\(AF_INET6, "::1"', call)
    return not local or "htons(53)" in call


def written_by(call: str) -> str:
    """Return the absolute path that a traced call created, if any."""
    creates = re.search(r"\b(creat|mkdir|rename)|O_CREAT", call)
    if not creates or re.search(r"= -1 E", call):
        return ""
    paths = re.findall(r'"(/[^"]*)"', call)
    return paths[-1] if paths else ""


@pytest.fixture
def machine(tmp_path: Path, project: Project) -> Machine:
    shutil.rmtree(project.root / "walls", ignore_errors=True)
    folder = tmp_path.with_name(f"{tmp_path.name}-user")
    folder.mkdir()
    return Machine(folder, project)


def test_a_failed_call_that_was_interrupted_writes_nothing():
    log = """\
7 mkdir("/a/b", 0777 <unfinished ...>
8  mkdir("/c", 0777) = 0
7 <... mkdir resumed>) = -1 ENOTDIR (Not a directory)
9 rename("/d", "/e" <unfinished ...>
"""
    assert [written_by(call) for call in whole_calls(log)] == ["/c", "", "/e"]


def test_every_command_is_traced():
    traced = {line.split()[0] for line in (*CHAIN, *EXPORTS)}
    # `bundle` trains and writes into the package; `import-checkpoint` reads what no test can make.
    others = {"demo", "bundle", "import-checkpoint"}
    assert traced | others == set(get_command(app).commands)


@pytest.mark.parametrize("lines", [CHAIN, EXPORTS], ids=["chain", "exports"])
def test_commands_connect_to_nothing_and_write_into_the_cache_alone(machine, lines):
    machine.run(sys.executable, "-c", RUN, *lines)
    assert [path for path in machine.left() if not path.startswith("home/.cache/sgcp/")] == []


def test_cache_is_where_the_user_wants_it(machine):
    machine.run(sys.executable, "-c", RUN, "segment street.png", SGCP_CACHE="kept")
    assert machine.left() == []
    assert list((machine.project / "kept" / "compiled").iterdir())


def test_import_switches_statistics_off_and_nothing_else():
    """Statistics are off; the libraries still do what the program asks of them."""
    code = "import os, sgcp; print(*os.environ)"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}  # without other tests' own
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    named = set(ended.stdout.split())
    assert {"ORT_DISABLE_TELEMETRY", "DVC_NO_ANALYTICS"} <= named
    assert not [name for name in named if "OFFLINE" in name]


def test_cache_that_cannot_be_made_is_no_error(project: Project, monkeypatch):
    monkeypatch.setenv("SGCP_CACHE", "x" * 300)  # longer than a name can be
    assert " files" in project.ok("download", "sample")


@pytest.mark.parametrize("home", ["/proc/self/fdinfo", __file__])
def test_home_that_cannot_hold_files_changes_no_output(machine, home):
    line = "-q segment street.png --json -"
    assert machine.run(sys.executable, "-c", RUN, line, HOME=home).startswith("{\n")
    assert machine.left() == []


def test_demo_listens_and_asks_nobody(machine):
    code = f"""
import _thread, threading
threading.Timer(20, _thread.interrupt_main).start()
{RUN}
"""
    assert "http://127.0.0.1:" in machine.run(sys.executable, "-c", code, "demo --port 0")
    assert [path for path in machine.left() if not path.startswith("home/.cache/sgcp/")] == []
