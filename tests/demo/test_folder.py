"""Each server has a folder of its own; the folders of killed ones are removed."""

import os
import stat
import tempfile

import pytest

from sgcp.demo import folder as folders
from sgcp.demo.folder import custom_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_folder_is_private_and_goes_with_the_server(temporary):
    with custom_folder() as folder:
        (folder / "street.png").touch()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not list(temporary.iterdir())


def test_folders_of_dead_servers_are_removed_and_nothing_else(temporary):
    (temporary / "sgcp-demo-dead/deep").mkdir(parents=True)
    (temporary / "sgcp-demo-dead/deep/street.png").touch()
    (temporary / "sgcp-demo-file").touch()
    (temporary / "kept").mkdir()
    (temporary / "sgcp-demo-link").symlink_to("kept")
    with custom_folder() as living, custom_folder() as other:
        assert living != other
        assert {path.name for path in temporary.iterdir()} == {
            living.name, other.name, "kept", "sgcp-demo-file", "sgcp-demo-link",
        }  # fmt: skip


def test_folders_of_other_users_are_left_alone(temporary, monkeypatch):
    (temporary / "sgcp-demo-theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with custom_folder():
        assert (temporary / "sgcp-demo-theirs").is_dir()


def test_a_folder_that_another_server_just_took_for_a_dead_one_s_is_not_used(
    temporary, monkeypatch
):
    lock, removed = folders._lock, []

    def lock_too_late(descriptor):
        if not removed:
            removed.extend(temporary.iterdir())
            removed[0].rmdir()
        return lock(descriptor)

    monkeypatch.setattr(folders, "_lock", lock_too_late)
    with custom_folder() as folder:
        assert folder.is_dir()
        assert folder not in removed
