"""Hostile, damaged and odd zips and folders: findings or one error, in little memory."""

import os
import struct
import tracemalloc
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from submissions import (
    FIRST,
    GOOD,
    PREDICTIONS,
    STEMS,
    check,
    found,
    png,
    scene,
    write_folder,
    write_zip,
)

from sgcp.core.errors import SgcpError
from sgcp.core.findings import Finding
from sgcp.submission.archive import MAX_BYTES, Entry, Zip
from sgcp.submission.rules import SIZE as SIZE_RULE


def header(name: str, **changes) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    for key, value in changes.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize("name", ["../{}", "/tmp/{}", "a\\{}", "C:/{}", "a/../../{}"])
def test_unsafe_names_are_told_and_their_images_still_judged(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for stem in GOOD:
            archive.writestr(name.format(stem), GOOD[stem])
    report = check(tmp_path / "a.zip")
    assert {k: len(v) for k, v in found(report).items()} == {"unsafe-name": 3}
    assert report.images == 3
    assert os.listdir(tmp_path) == ["a.zip"]


def test_links_in_a_zip_are_not_followed(tmp_path):
    with zipfile.ZipFile(write_zip(tmp_path / "a.zip", {}), "a") as archive:
        for name in GOOD:
            archive.writestr(header(name, external_attr=0o120777 << 16), "/etc/passwd")
    report = check(tmp_path / "a.zip")
    assert {k: len(v) for k, v in found(report).items()} == {"link": 3}
    assert report.images == 0


def test_links_in_a_folder_are_files_or_named(tmp_path):
    write_folder(tmp_path / "store", GOOD)
    folder = tmp_path / "results"
    folder.mkdir()
    for name in list(GOOD)[:2]:
        (folder / name).symlink_to(tmp_path / "store" / name)
    (folder / f"{STEMS[2]}.png").symlink_to(tmp_path / "absent")
    (folder / "more").symlink_to(tmp_path / "store")
    os.mkfifo(folder / "bonn_pipe.png")
    report = check(folder)
    details = {finding.name: finding.detail for finding in report.findings}
    assert details[f"{STEMS[2]}.png"] == "link to nowhere"
    assert details["more"] == "link to a folder"
    assert sorted(found(report)["link"]) == ["bonn_000000_000019.png", "bonn_pipe.png", "more"]
    assert report.images == 2


def test_large_files_that_are_no_predictions_are_only_strays(tmp_path):
    files = GOOD | {"model.pth": bytes(MAX_BYTES + 1), "old.zip": bytes(MAX_BYTES + 1)}
    kinds = found(check(write_zip(tmp_path / "a.zip", files)))
    assert kinds == {"nested-archive": ["old.zip"], "stray": ["model.pth"]}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_members_of_one_name_the_last_is_judged(tmp_path):
    with zipfile.ZipFile(write_zip(tmp_path / "a.zip", GOOD), "a") as archive:
        archive.writestr(FIRST, png(PREDICTIONS["void"]))
    assert found(check(tmp_path / "a.zip")) == {"duplicate-member": [FIRST], "void": [FIRST]}


def set_headers(path: Path, name: str, offset: int, value: bytes) -> None:
    """Overwrite a field of a member's entry in the directory; local headers are 4 bytes shorter."""
    content = bytearray(path.read_bytes())
    for magic, start, shift in ((b"PK\1\2", 46, 0), (b"PK\3\4", 30, -2)):
        at = content.find(magic)
        while at >= 0 and content[at + start : at + start + len(name)] != name.encode():
            at = content.find(magic, at + 1)
        content[at + offset + shift : at + offset + shift + len(value)] = value
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("offset", "value", "kind"),
    [
        (8, struct.pack("<H", 1), "encrypted"),
        (10, struct.pack("<H", zipfile.ZIP_LZMA), "compression"),
        (10, struct.pack("<H", 99), "compression"),
        (24, struct.pack("<I", MAX_BYTES + 1), "too-large"),
        (16, b"abcd", "damaged"),  # the checksum
        (24, struct.pack("<I", 10), "damaged"),  # shorter than it is
        (24, struct.pack("<I", 5000), "damaged"),  # longer
    ],
)
def test_members_that_cannot_be_read_are_of_their_kind_alone(tmp_path, offset, value, kind):
    path = write_zip(tmp_path / "a.zip", GOOD)
    set_headers(path, FIRST, offset, value)
    report = check(path)
    assert found(report) == {kind: [FIRST]}
    assert report.images == (3 if kind == "damaged" else 2)


def peak(path: Path) -> int:
    tracemalloc.start()
    try:
        check(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_bomb_that_lies_about_its_size_is_not_unpacked(tmp_path):
    path = write_zip(tmp_path / "a.zip", GOOD | {FIRST: bytes(200_000_000)})
    set_headers(path, FIRST, 24, struct.pack("<I", 1000))
    assert peak(path) < 10_000_000
    assert found(check(path)) == {"damaged": [FIRST]}


def test_image_of_giant_dimensions_is_judged_by_its_header(tmp_path):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    bomb = start + struct.pack(">I", zlib.crc32(chunk)) + png(scene())[33:]
    path = write_zip(tmp_path / "a.zip", GOOD | {FIRST: bomb})
    assert peak(path) < 10_000_000
    report = check(path)
    assert found(report) == {"size": [FIRST]}
    assert "100000 x 100000, expected 4 x 19" in str(report.findings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a zip archive"),
        (b"hello", "not a zip archive"),
        (b"Rar!\x1a\7\0", "a RAR archive, but the server expects a zip"),
        (b"\x1f\x8b\x08\0", "a gzip archive"),
    ],
)
def test_files_that_are_no_zip_are_one_error(tmp_path, content, message):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(SgcpError, match=message):
        check(tmp_path / "a.zip")


def test_truncated_zip_is_one_error(tmp_path):
    path = write_zip(tmp_path / "a.zip", GOOD)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SgcpError, match="a truncated or damaged zip"):
        check(path)


def test_empty_zip_lacks_everything(tmp_path):
    assert found(check(write_zip(tmp_path / "a.zip", {}))) == {"missing": STEMS}


def test_zip_rewritten_between_two_checks_is_read_anew(tmp_path):
    path = tmp_path / "a.zip"
    for time, content in enumerate((b"old", b"new")):
        write_zip(path, {FIRST: content}, zipfile.ZIP_STORED)  # the same size
        os.utime(path, (time, time))
        assert Zip(path).read(Entry(FIRST)) == content


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_findings_or_one_error(tmp_path_factory, data):
    """Whatever bytes change, a check ends with a report or the one error for people."""
    path = tmp_path_factory.getbasetemp() / "fuzzed.zip"
    content = bytearray(write_zip(path, GOOD).read_bytes())
    changes = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for at, value in data.draw(st.lists(changes, min_size=1, max_size=6)):
        content[at] = value
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]) or content)
    with suppress(SgcpError):
        report = check(path)
        assert report.passed == (not report.to_json()["problems"])


def test_member_without_a_name_is_a_stray(tmp_path):
    path = write_zip(tmp_path / "a.zip", GOOD | {"x": b""})
    path.write_bytes(path.read_bytes().replace(b"x", b"\0"))
    assert found(check(path)) == {"stray": [""]}


def test_names_cannot_steer_the_terminal():
    kind = SIZE_RULE
    assert str(Finding(kind, "\x1b[31mred\nline\udc80")) == "\\x1b[31mred\\nline\\udc80"
    assert len(str(Finding(kind, "x" * 5000))) == 100


def test_zip_is_opened_once_a_process(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "a.zip", GOOD)
    opened = []
    real = zipfile.ZipFile

    def count(*arguments, **options):
        opened.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(zipfile, "ZipFile", count)
    container = Zip(path)
    entries, _ = container.entries()
    assert [container.read(entry) for entry in entries] == list(GOOD.values())
    assert len(opened) == 2  # its directory, then every member
    monkeypatch.setattr(os, "getpid", lambda: -1)
    container.read(entries[0])
    assert len(opened) == 3  # a worker's handle is its own, not the parent's
