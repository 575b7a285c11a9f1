"""What is kept of an upload, and where."""

import errno
import shutil
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from sgcp.demo.uploads import upload_routes


class Uploads:
    """The routes alone, over a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.took = folder, []
        self.client = TestClient(Starlette(routes=upload_routes(folder, self.took.append)))

    def drop(self, name):
        return self.client.post("/gradio_api/upload", files=[("files", (name, b"content"))])


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path)


@pytest.mark.parametrize(
    ("name", "kept"),
    [("street.png", "street.png"), ("../../a.png", "a.png"), ("..", "upload")],
)
def test_an_upload_lies_in_a_folder_of_its_own_and_is_removed_when_old(uploads, name, kept):
    paths = [uploads.drop(name).json() for _ in range(2)]
    assert uploads.took == [path for (path,) in paths]
    first, second = map(Path, uploads.took)
    assert first.name == kept
    assert first.parent.parent == second.parent.parent == uploads.folder
    assert first.parent != second.parent
    assert first.read_bytes() == b"content"


def test_an_upload_that_a_full_disk_cut_short_leaves_nothing(uploads, monkeypatch):
    def fill(source, target):
        target.write(b"con")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fill)
    answer = uploads.drop("street.png")
    assert answer.status_code == 507
    assert "No space left on device" in answer.text
    assert not uploads.took
    assert not list(uploads.folder.iterdir())
