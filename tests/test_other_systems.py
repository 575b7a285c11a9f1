"""The runtime asks nothing of the system that only Linux or POSIX offers."""

import json
import os
import subprocess
import sys
from pathlib import PureWindowsPath

import pytest
from conftest import ROOT, run_python
from networks import random_image
from PIL import Image
from submissions import GOOD, SIZE, write_zip

from sgcp.tools.segment import Log, _summarize

# What Windows or macOS lack. Python's own modules that need it on Linux are imported before;
# platformdirs asks for os.getuid, on Linux only.
HIDE = """
import builtins, io, multiprocessing, multiprocessing.util, os, pathlib, signal, subprocess, sys
import multiprocessing.popen_spawn_posix

for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
FUNCTIONS = {
    os: "fork forkpty sync execv execve sched_getaffinity sched_setaffinity geteuid "
        "O_DIRECTORY O_NOFOLLOW mkfifo nice",
    signal: "SIGALRM setitimer ITIMER_REAL SIGHUP SIGKILL SIGUSR1",
}
for module, names in FUNCTIONS.items():
    for name in names.split():
        delattr(module, name)


def without_proc(function):
    def call(path, *arguments, **options):
        if str(path).startswith(("/proc", "/dev/nvidia")):
            raise FileNotFoundError(path)
        return function(path, *arguments, **options)
    return call


def refuse_shell(event, arguments):
    if event == "os.system" or (event == "subprocess.Popen" and "/sh" in str(arguments[0])):
        raise OSError("no shell here")


builtins.open, io.open = without_proc(builtins.open), without_proc(io.open)
pathlib.Path.is_file = lambda path: not str(path).startswith("/proc") and os.path.isfile(path)
sys.addaudithook(refuse_shell)
multiprocessing.set_start_method("spawn", force=True)
"""
LOAD = """
import numpy as np, sgcp
from sgcp.inference.segmenter import choose_device
model = sgcp.load("camvid", choose_device("auto"))
print(model.segment(np.zeros((40, 48, 3), np.uint8)).shape)
"""
BUILD = """
from pathlib import Path
from sgcp.core.files import building_folder, write_text
with building_folder(Path("built"), "key") as folder:
    write_text(folder / "a.txt", "whole")
print(Path("built/a.txt").read_text())
"""
COMMAND = """
from sgcp.cli import main
sys.argv = ["sgcp", *{words}]
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(random_image(40, 48)).save(tmp_path / "street.png")
    return tmp_path


def test_segmenter_runs(desk):
    assert run_python(HIDE + LOAD) == "(40, 48)\n"


def test_folders_are_built_whole(desk):
    assert run_python(HIDE + BUILD) == "whole\n"


def test_segment_command_runs(desk):
    words = ["segment", "street.png", "--out", "made", "--json", "made.json", "--quiet"]
    run_python(HIDE + COMMAND.format(words=words))
    assert sorted(path.name for path in (desk / "made").glob("*.png")) == [
        "street_labels.png", "street_overlay.png",
    ]  # fmt: skip
    assert json.loads((desk / "made.json").read_text())["out"] == "made"


def test_check_submission_runs_in_spawned_processes(desk):
    write_zip(desk / "good.zip", GOOD)
    for name in GOOD:
        path = desk / "test" / name.split("_")[0] / name.replace(".png", "_leftImg8bit.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE[::-1]).save(path)
    words = ["check-submission", "good.zip", "--images", "test", "--json", "found.json"]
    program = desk / "program.py"  # a file, which spawned processes run again
    program.write_text(HIDE + COMMAND.format(words=words))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, program], check=False, env=environment)
    assert done.returncode == 1  # 3 images are not 1525
    assert json.loads((desk / "found.json").read_text())["images"] == 3


def test_paths_with_backslashes_and_drives_are_posix_in_json():
    class Engine:
        name = precision = ""

    out = PureWindowsPath(r"C:\photos\made")
    assert _summarize([], set(), Log(), out, 1, Engine)["out"] == "C:/photos/made"
