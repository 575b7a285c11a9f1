"""Download files over HTTP: resumed after a break, checked before they get their final name."""

import hashlib
import time
from pathlib import Path

import requests
from rich.progress import DownloadColumn, TransferSpeedColumn

from sgcp.errors import SgcpError
from sgcp.files import PARTIAL
from sgcp.progress import progress_bar, say

CHUNK = 1 << 16  # bytes; at most this much is lost when a connection breaks
TIMEOUT = (20, 60)  # seconds to connect, and between two packets
ATTEMPTS = 5


def fetch(
    session: requests.Session, url: str, target: Path, md5: str | None = None, pause: float = 2.0
) -> None:
    """Download ``url`` to ``target``, going on where an earlier try stopped.

    Args:
        md5: expected checksum, where one is published.
        pause: seconds before the second try, doubled each time.

    Raises:
        SgcpError: the server cannot be reached or refuses, the connection breaks five times
            without progress, or the file is not the published one.
    """
    if target.is_file() and (md5 is None or file_md5(target) == md5):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + PARTIAL)
    failures = 0
    while True:
        before = _size(partial)
        try:
            _fetch_rest(session, url, partial)
            break
        except requests.RequestException as error:
            failures = 0 if _size(partial) > before else failures + 1
            if failures >= ATTEMPTS or _is_refusal(error):
                raise SgcpError(_explain(url, target, error)) from None
            say(f"connection lost at {_size(partial):,} bytes, trying again")
            time.sleep(pause * 2**failures)
    if md5 is not None and file_md5(partial) != md5:
        partial.unlink()
        raise SgcpError(
            f"{url}: wrong checksum, expected MD5 {md5}; the broken download was removed: "
            "run the command again"
        )
    partial.replace(target)


def _fetch_rest(session: requests.Session, url: str, partial: Path) -> None:
    """Append what is missing to ``partial``; start over where the server cannot resume."""
    have = _size(partial)
    headers = {"Range": f"bytes={have}-"} if have else {}
    headers["Accept-Encoding"] = "identity"  # byte counts must be those of the file
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if have and response.status_code == requests.codes.requested_range_not_satisfiable:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(have):
                return
            partial.unlink()
            raise requests.ConnectionError("the partial download is longer than the file")
        response.raise_for_status()
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise SgcpError(f"{url}: answered a web page, not a file; log-in or address is wrong")
        expected_start = f"bytes {have}-"
        resumed = response.status_code == requests.codes.partial_content
        if resumed and not response.headers.get("Content-Range", "").startswith(expected_start):
            partial.unlink()
            raise requests.ConnectionError("the server sent another range than asked for")
        start = have if resumed else 0
        length = response.headers.get("Content-Length")
        total_bytes = start + int(length) if length and length.isdigit() else None
        _write_body(response, partial, start, total_bytes)
    if total_bytes is not None and _size(partial) != total_bytes:
        raise requests.ConnectionError(f"{_size(partial)} of {total_bytes} bytes arrived")


def _write_body(response: requests.Response, partial: Path, start: int, total: int | None) -> None:
    name = partial.name.removesuffix(PARTIAL)
    with (
        progress_bar(DownloadColumn(), TransferSpeedColumn()) as bar,
        partial.open("ab" if start else "wb") as file,
    ):
        task = bar.add_task(name, total=total, completed=start)
        for chunk in response.iter_content(CHUNK):
            file.write(chunk)
            bar.advance(task, len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _is_refusal(error: requests.RequestException) -> bool:
    """Tell answers that will not change (404, 403) from breaks that may."""
    return error.response is not None and 400 <= error.response.status_code < 500


def _explain(url: str, target: Path, error: requests.RequestException) -> str:
    if error.response is not None:
        reason = f"the server answered {error.response.status_code}"
    else:
        reason = f"cannot be reached ({type(error).__name__})"
    return (
        f"{url}: {reason}; run the command again to go on, or get {target.name} by other means "
        "and give it with `--archive FILE`"
    )


def file_md5(path: Path) -> str:
    """Return a file's MD5 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
