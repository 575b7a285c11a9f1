import hashlib

import pytest
import requests
from server import Site, serve

from sgcp.core.errors import SgcpError
from sgcp.datasets.fetch import fetch

CONTENT = bytes(range(256)) * 40_000  # about 10 MB, several chunks


@pytest.fixture
def site():
    with serve(Site({"a.zip": CONTENT})) as site:
        yield site


def get(site, target, md5=None):
    with requests.Session() as session:
        fetch(session, f"{site.url}/plain/a.zip", target, md5, pause=0)


def ranges(site):
    return [wanted for _, path, wanted in site.requests if path.startswith("/plain")]


def test_file_arrives_whole(site, tmp_path):
    get(site, tmp_path / "a.zip", hashlib.md5(CONTENT).hexdigest())
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_broken_connection_is_resumed(site, tmp_path):
    site.cut_after = 3_000_000
    get(site, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert ranges(site)[0] is None
    assert int(ranges(site)[1].strip("bytes=-")) > 0


def test_partial_file_of_an_earlier_run_is_continued(site, tmp_path):
    (tmp_path / "a.zip.partial").write_bytes(CONTENT[:1234])
    get(site, tmp_path / "a.zip")
    assert ranges(site) == ["bytes=1234-"]
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_whole_partial_file_is_accepted(site, tmp_path):
    (tmp_path / "a.zip.partial").write_bytes(CONTENT)
    get(site, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_server_without_ranges_starts_over(site, tmp_path):
    site.ranges = False
    (tmp_path / "a.zip.partial").write_bytes(b"x" * 1234)
    get(site, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_server_that_sends_another_range_is_not_believed(site, tmp_path):
    site.wrong_range = True
    (tmp_path / "a.zip.partial").write_bytes(b"x" * 1234)
    get(site, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_partial_longer_than_the_file_starts_over(site, tmp_path):
    (tmp_path / "a.zip.partial").write_bytes(CONTENT + b"more")
    get(site, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_wrong_checksum_leaves_nothing(site, tmp_path):
    with pytest.raises(SgcpError, match="wrong checksum"):
        get(site, tmp_path / "a.zip", "0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_finished_file_is_not_fetched_again(site, tmp_path):
    (tmp_path / "a.zip").write_bytes(CONTENT)
    get(site, tmp_path / "a.zip", hashlib.md5(CONTENT).hexdigest())
    assert site.requests == []


def test_refusal_says_what_to_do(site, tmp_path):
    with requests.Session() as session, pytest.raises(SgcpError, match=r"404.*--archive FILE"):
        fetch(session, f"{site.url}/plain/none.zip", tmp_path / "none.zip", pause=0)
    assert len(site.requests) == 1


def test_server_out_of_reach_says_what_to_do(tmp_path):
    with requests.Session() as session, pytest.raises(SgcpError, match="cannot be reached"):
        fetch(session, "http://127.0.0.1:9/a.zip", tmp_path / "a.zip", pause=0)
