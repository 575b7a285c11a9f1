import stat
import zipfile
from pathlib import Path

import pytest

from sgcp.core import archives
from sgcp.core.archives import extract
from sgcp.core.errors import SgcpError
from sgcp.datasets.raw import link_folder


def keep(name: str) -> Path | None:
    return Path(name) if name.endswith((".png", ".txt")) else None


def flatten(name: str) -> Path:
    return Path(Path(name).name)


def make(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
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


@pytest.mark.parametrize(
    "name", ["../evil.png", "x/../../evil.png", "/evil.png", "x\\..\\evil.png"]
)
def test_names_that_lead_out_are_refused(tmp_path, out, name):
    archive = make(tmp_path / "a.zip", {"ok.png": b"1", name: b"2"})
    with pytest.raises(SgcpError, match="leads out of the folder"):
        extract(archive, out, flatten)
    assert everything(tmp_path) == {"a.zip"}


def test_links_are_refused(tmp_path, out):
    info = zipfile.ZipInfo("link.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(SgcpError, match="link or device"):
        extract(tmp_path / "a.zip", out, keep)


def test_two_members_for_one_place_are_refused(tmp_path, out):
    archive = make(tmp_path / "a.zip", {"x/a.png": b"1", "y/a.png": b"2"})
    with pytest.raises(SgcpError, match="are the same file"):
        extract(archive, out, flatten)


def test_bombs_are_refused(tmp_path, out, monkeypatch):
    monkeypatch.setattr(archives, "SUSPICIOUS_BYTES", 1000)
    archive = make(tmp_path / "a.zip", {"a.png": bytes(10**6)})
    with pytest.raises(SgcpError, match="grows"):
        extract(archive, out, keep)


def test_too_little_space_is_said_before_unpacking(tmp_path, out, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3}))
    archive = make(tmp_path / "a.zip", {"a.png": b"12345"})
    with pytest.raises(SgcpError, match="are free"):
        extract(archive, out, keep)
    assert everything(out) == set()


def test_truncated_archives_are_refused_at_any_length(tmp_path, out):
    import random

    archive = make(tmp_path / "a.zip", {f"{i}.png": random.Random(i).randbytes(300)
                                        for i in range(5)})  # fmt: skip
    content = archive.read_bytes()
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        archive.write_bytes(content[:size])
        with pytest.raises(SgcpError, match="truncated, damaged or no zip"):
            extract(archive, out, keep)


def test_flipped_bytes_are_caught_by_the_checksum(tmp_path, out):
    archive = make(tmp_path / "a.zip", {"a.png": b"A" * 50})
    content = bytearray(archive.read_bytes())
    content[40] ^= 0xFF
    archive.write_bytes(bytes(content))
    with pytest.raises(SgcpError):
        extract(archive, out, keep)
    assert everything(out) == set()


def test_missing_archive_is_named(tmp_path, out):
    with pytest.raises(SgcpError, match="no such archive"):
        extract(tmp_path / "absent.zip", out, keep)


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
    assert link_folder(source, out, keep) == 1
    assert (out / "x" / "a.png").is_symlink()
    assert (out / "x" / "a.png").read_bytes() == b"1"
    with pytest.raises(SgcpError, match="no such folder"):
        link_folder(tmp_path / "absent", out, keep)


def test_folders_behind_links_are_entered(tmp_path, out):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.png").write_bytes(b"1")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "x").symlink_to(tmp_path / "disk")
    assert link_folder(tmp_path / "root", out, keep) == 1
    assert (out / "x" / "a.png").read_bytes() == b"1"
