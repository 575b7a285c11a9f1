"""The requests of the page: turns, cancelling, messages, and what is left on the disk."""

import asyncio
import errno
import json
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from conftest import HANGING

from sgcp.core.errors import SgcpError
from sgcp.demo import app
from sgcp.demo.app import Demo, explain, file_name
from sgcp.demo.media import LabelRequest, Result

OFFER = SimpleNamespace(models=["m"], engines=["auto"], take=dict)
ASKED = {"model": "m", "engine": "auto", "name": "a.png"}


class SlowJob:
    """A job that waits for ``go``, where its file is called slow."""

    begun, go, at_work = threading.Event(), threading.Event(), 0

    def __init__(self, path, *_):
        self.path, self.stop = path, threading.Event()

    def run(self):
        SlowJob.at_work += 1
        assert SlowJob.at_work == 1
        if self.path.name == "slow":
            SlowJob.begun.set()
            while not (self.stop.is_set() or self.go.is_set()):
                self.go.wait(0.01)
        SlowJob.at_work -= 1
        if self.path.name == "broken":
            raise SgcpError(f"{self.path}: damaged. Use another file")
        return Result({"Name": self.path.name}, [], {"labels": self.path.read_bytes()})

    def progress(self):
        return {"done": 0}


@pytest.fixture
def demo(tmp_path, monkeypatch):
    SlowJob.begun.clear()
    SlowJob.go.clear()
    monkeypatch.setattr(app, "Job", SlowJob)
    monkeypatch.setattr(app, "TICK", 0.01)
    demo = Demo(OFFER, tmp_path, 10**6, 10.0)
    yield demo
    demo.stop()
    demo.worker.shutdown(wait=True)


def upload(demo, name):
    folder = demo.folder / name
    folder.mkdir()
    (folder / name).write_bytes(b"content")
    return folder / name


async def all_lines(demo, name):
    asked = LabelRequest(**ASKED)
    return [line async for line in demo.lines(upload(demo, name), asked) if line]


def ask(demo, gone=False, **query):
    """Send a file in two pieces; return the status and the content of the answer.

    Args:
        gone: the browser is, when the answer begins.
    """
    pieces = [{"type": "http.request", "body": b"con", "more_body": True},
              {"type": "http.request", "body": b"tent"}]  # fmt: skip
    said = []

    async def receive():
        return pieces.pop(0) if pieces else await asyncio.sleep(HANGING)

    async def send(message):
        if gone:
            raise OSError("left")
        said.append(message)

    scope = {"type": "http", "method": "POST", "path": "/label", "headers": [],
             "query_string": urlencode(ASKED | query).encode()}  # fmt: skip
    asyncio.run(demo.app()(scope, receive, send))
    return said[0]["status"], b"".join(message["body"] for message in said[1:])


def test_the_answer_ends_with_the_result_and_its_parts_and_leaves_no_file(demo):
    *_, line, part = ask(demo)[1].splitlines()
    assert json.loads(line) == {"facts": {"Name": "a.png"}, "classes": [], "parts": {"labels": 7}}
    assert part == b"content"
    assert list(demo.folder.iterdir()) == []


def test_files_are_labelled_one_after_another(demo):
    async def at_once():
        return await asyncio.gather(*(all_lines(demo, f"{number}.png") for number in range(4)))

    assert [lines[-1] for lines in asyncio.run(at_once())] == [b"content"] * 4


@pytest.mark.parametrize("waits", [False, True])
def test_a_request_that_the_browser_ends_stops_its_work_and_leaves_no_file(demo, waits):
    async def leave():
        first = asyncio.ensure_future(all_lines(demo, "slow"))
        while not SlowJob.begun.is_set():
            await asyncio.sleep(0.01)
        left = asyncio.ensure_future(all_lines(demo, "later.png")) if waits else first
        while len(demo.jobs) < 1 + waits:
            await asyncio.sleep(0.01)
        left.cancel()
        with suppress(asyncio.CancelledError):
            await left
        if waits:
            assert (demo.folder / "slow").exists()
            SlowJob.go.set()
            assert (await first)[-1] == b"content"

    asyncio.run(asyncio.wait_for(leave(), HANGING))
    demo.worker.shutdown(wait=True)
    assert list(demo.folder.iterdir()) == []
    assert not demo.jobs


def test_a_browser_that_left_before_the_answer_leaves_no_file(demo):
    with pytest.raises(OSError, match="left"):
        ask(demo, gone=True)
    demo.worker.shutdown(wait=True)
    assert list(demo.folder.iterdir()) == []


def test_an_error_is_one_sentence_with_the_name_of_the_user_s_file(demo):
    *_, line = ask(demo, name="../../broken")[1].splitlines()
    assert json.loads(line) == {"error": "broken: damaged. Use another file"}
    assert list(demo.folder.iterdir()) == []


def test_wrong_values_are_named_and_no_file_is_kept(demo):
    status, said = ask(demo, strength="x")
    assert (status, said.partition(b":")[0]) == (400, b"strength")
    assert list(demo.folder.iterdir()) == []


def test_an_upload_that_fills_the_disk_is_named_and_leaves_nothing(demo, monkeypatch):
    def fill(path, mode):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "open", fill)
    status, said = ask(demo)
    assert status == 507
    assert said.startswith(b"a.png: No space left on device")
    assert list(demo.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("street.png", "street.png"), ("../../a.png", "a.png"), ("C:\\x\\a.png", "a.png"),
        ("", "upload"), ("..", "upload"), ("x/", "upload"), ("a\0b.png", "ab.png"),
        ("x" * 300 + ".png", "x" * 46 + ".png"),
    ],
)  # fmt: skip
def test_an_upload_keeps_the_last_part_of_its_name(name, kept):
    assert file_name(name) == kept


def test_a_full_disk_is_named_and_no_folder_of_the_server(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a_labels.png"))
    said = explain(full, tmp_path / "a.png")
    assert said.startswith("a_labels.png: No space left on device")


def test_a_bug_prints_its_traceback_only_in_debug_mode(tmp_path, monkeypatch, capsys):
    def explain_a_bug():
        try:
            [].pop()
        except IndexError as error:
            return explain(error, tmp_path), capsys.readouterr().err

    monkeypatch.delenv("SGCP_DEBUG", raising=False)
    assert explain_a_bug() == ("unexpected IndexError; this is a bug in sgcp", "")
    monkeypatch.setenv("SGCP_DEBUG", "1")
    said, printed = explain_a_bug()
    assert said == "unexpected IndexError; this is a bug in sgcp"
    assert printed.endswith("IndexError: pop from empty list\n")
