"""The server's temporary folder."""

import os
import stat
import tempfile

import pytest

from sgcp.demo import server
from sgcp.demo.server import temporary_folder


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
