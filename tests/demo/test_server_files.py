"""The server's temporary folder, and the uploads in it."""

import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from sgcp.demo import server
from sgcp.demo.server import temporary_folder
from sgcp.demo.uploads import upload_routes


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_folder_is_private_and_removed_at_the_end(temporary):
    with temporary_folder() as folder:
        (folder / "street.png").touch()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not list(temporary.iterdir())


def test_only_folders_of_killed_servers_are_removed(temporary, monkeypatch):
    (temporary / "sgcp-demo-dead/deep").mkdir(parents=True)
    (temporary / "sgcp-demo-file").touch()
    (temporary / "kept").mkdir()
    (temporary / "sgcp-demo-link").symlink_to("kept")
    with temporary_folder() as living, temporary_folder() as other:
        assert living != other
        assert {path.name for path in temporary.iterdir()} == {
            living.name, other.name, "kept", "sgcp-demo-file", "sgcp-demo-link",
        }  # fmt: skip
    (temporary / "sgcp-demo-theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with temporary_folder():
        assert (temporary / "sgcp-demo-theirs").is_dir()


def test_a_folder_removed_before_it_was_locked_is_not_used(temporary, monkeypatch):
    lock, removed = server.try_lock, []

    def lock_too_late(descriptor):
        if not removed:
            removed.extend(temporary.iterdir())
            removed[0].rmdir()
        return lock(descriptor)

    monkeypatch.setattr(server, "try_lock", lock_too_late)
    with temporary_folder() as folder:
        assert folder.is_dir()
        assert folder not in removed


class Uploads:
    """The routes alone, over a folder."""

    def __init__(self, folder: Path) -> None:
        self.received: list[str] = []
        self.client = TestClient(Starlette(routes=upload_routes(folder, self.received.append)))

    def drop(self, name):
        return self.client.post("/gradio_api/upload", files=[("files", (name, b"content"))])


@pytest.mark.parametrize(
    ("name", "kept"),
    [("street.png", "street.png"), ("../../a.png", "a.png"), ("..", "upload")],
)
def test_an_upload_has_a_folder_of_its_own(tmp_path, name, kept):
    uploads = Uploads(tmp_path)
    paths = [uploads.drop(name).json() for _ in range(2)]
    assert uploads.received == [path for (path,) in paths]
    first, second = map(Path, uploads.received)
    assert first.name == kept
    assert first.parent.parent == second.parent.parent == tmp_path
    assert first.parent != second.parent
    assert first.read_bytes() == b"content"


def test_an_upload_that_fills_the_disk_leaves_nothing(tmp_path, monkeypatch):
    def fill(source, target):
        target.write(b"con")
        raise OSError(errno.ENOSPC, "No space left on device")

    uploads = Uploads(tmp_path)
    monkeypatch.setattr(shutil, "copyfileobj", fill)
    answer = uploads.drop("street.png")
    assert answer.status_code == 507
    assert "No space left on device" in answer.text
    assert not uploads.received
    assert not list(tmp_path.iterdir())
