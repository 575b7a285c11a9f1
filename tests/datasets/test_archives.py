from pathlib import Path

import forge
import pytest

from sgcp.core.archives import extract
from sgcp.core.errors import SgcpError
from sgcp.datasets.raw import find_files, link_files


def keep(name: str) -> Path | None:
    return Path(name) if name.endswith((".png", ".txt")) else None


def make(path: Path, members: dict[str, bytes]) -> Path:
    path.write_bytes(forge.zip_bytes([*members.items()]))
    return path


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def everything(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_only_wanted_members_are_unpacked(tmp_path, out):
    archive = make(tmp_path / "a.zip", {"x/a.png": b"1", "x/b.exe": b"2"})
    assert extract(archive, out, keep) == 1
    assert everything(out) == {"x/a.png"}


def test_too_little_space_is_said_before_unpacking(tmp_path, out, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3}))
    archive = make(tmp_path / "a.zip", {"a.png": b"12345"})
    with pytest.raises(SgcpError, match="are free"):
        extract(archive, out, keep)
    assert everything(out) == set()


def test_whole_files_of_an_earlier_try_are_kept(tmp_path, out):
    archive = make(tmp_path / "a.zip", {"a.png": b"new"})
    (out / "a.png").write_bytes(b"old")  # same length: written by an earlier, interrupted try
    extract(archive, out, keep)
    assert (out / "a.png").read_bytes() == b"old"


def test_folders_are_linked_file_by_file(tmp_path, out):
    source = tmp_path / "source"
    (source / "x").mkdir(parents=True)
    (source / "x" / "a.png").write_bytes(b"1")
    (source / "x" / "b.bin").write_bytes(b"2")
    link_files(find_files(source, keep), out)
    assert (out / "x" / "a.png").is_symlink()
    assert (out / "x" / "a.png").read_bytes() == b"1"


def test_folders_behind_links_are_entered(tmp_path, out):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.png").write_bytes(b"1")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "x").symlink_to(tmp_path / "disk")
    assert [*find_files(tmp_path / "root", keep)] == [Path("x/a.png")]
