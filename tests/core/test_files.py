import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import HANGING, ROOT

from sgcp.core.errors import SgcpError
from sgcp.core.files import LOCK, building_folder, fingerprint, read_json, write_bytes, write_json


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != LOCK}


def test_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    write_bytes(tmp_path / "a", b"old")

    def fail(_):
        raise OSError("disk")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk"):
        write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == {"a"}


def test_nan_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"miou": float("nan")})
    assert names(tmp_path) == set()


def test_damaged_json_names_the_command_that_makes_it(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(SgcpError, match="run `sgcp prepare`"):
        read_json(tmp_path / "a.json", "sgcp prepare")
    with pytest.raises(SgcpError, match="not found"):
        read_json(tmp_path / "b.json", "sgcp prepare")


def build(final: Path, key: str, content: str, error: type[BaseException] | None = None) -> set:
    found = set()
    try:
        with building_folder(final, key) as folder:
            found = names(folder) - {".key.partial"}
            (folder / content).touch()
            if error:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    return found


def test_folder_gets_its_name_when_whole_and_replaces_the_old(tmp_path):
    build(tmp_path / "out", "k", "first")
    build(tmp_path / "out", "k", "second")
    assert names(tmp_path) == {"out"}
    assert names(tmp_path / "out") == {"second"}


def test_interrupted_folder_is_gone_on_with_under_the_same_key_alone(tmp_path):
    build(tmp_path / "out", "k", "first", KeyboardInterrupt)
    assert not (tmp_path / "out").exists()
    assert build(tmp_path / "out", "k", "second", KeyboardInterrupt) == {"first"}
    assert build(tmp_path / "out", "other", "third", KeyboardInterrupt) == set()


def test_error_empties_the_folder_and_keeps_the_old_result(tmp_path):
    build(tmp_path / "out", "k", "good")
    build(tmp_path / "out", "k", "bad", ValueError)
    assert names(tmp_path) == {"out"}
    assert names(tmp_path / "out") == {"good"}


def test_folder_being_built_is_held_against_another_process(tmp_path, monkeypatch):
    """Another run waits for it, and says so if that takes long; then it goes on with its files."""
    code = f"""
import pathlib, time
from sgcp.core.files import building_folder
with building_folder(pathlib.Path({str(tmp_path / "out")!r}), "k") as folder:
    (folder / "first").touch()
    print("building", flush=True)
    time.sleep(60)
"""
    other = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "building\n"
    monkeypatch.setattr("sgcp.core.files.PATIENCE", 0.3)
    with pytest.raises(SgcpError, match="another sgcp is writing there"):
        build(tmp_path / "out", "k", "second")
    monkeypatch.setattr("sgcp.core.files.PATIENCE", 30)
    threading.Timer(0.3, other.kill).start()
    assert build(tmp_path / "out", "k", "second") == {"first"}
    assert names(tmp_path / "out") == {"first", "second"}
    other.communicate()


def test_litter_of_a_killed_run_is_left_out(tmp_path):
    build(tmp_path / "out", "k", "torn.png.partial", KeyboardInterrupt)
    build(tmp_path / "out", "k", "whole.png")
    assert names(tmp_path / "out") == {"whole.png"}


def test_fingerprint_sees_a_touched_file(tmp_path):
    (tmp_path / "a").write_text("x")
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    os.utime(tmp_path / "a", (1, 1))
    assert fingerprint(tmp_path) != before


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, how):
    """Killed or interrupted, a parallel stage leaves no process behind and no traceback."""
    seen, script = tmp_path / "seen", tmp_path / "parent.py"
    seen.mkdir()
    script.write_text(f"""
import os, pathlib, time
from sgcp.core.parallel import map_parallel
def work(number):
    pathlib.Path({str(seen)!r}, str(os.getpid())).touch()
    time.sleep(0.05)
if __name__ == "__main__":
    try:
        map_parallel(work, range(200), 2, "work")
    except KeyboardInterrupt:
        raise SystemExit(130)
""")
    parent = subprocess.Popen(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(names(seen)) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(how)
    errors = parent.communicate(timeout=HANGING)[1]
    # Python's tracker of semaphores tells which ones a killed process left to it.
    assert errors == "" if how == signal.SIGINT else "Traceback" not in errors
    deadline = time.monotonic() + HANGING
    while any(Path("/proc", pid).exists() for pid in names(seen)):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)
