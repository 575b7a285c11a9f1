"""Download files over HTTP: resumed after a break, checked before they get their final name."""

import hashlib
import re
import shutil
import time
from pathlib import Path

import requests
from rich.progress import DownloadColumn, TransferSpeedColumn
from urllib3.exceptions import HTTPError

from sgcp.core.errors import SgcpError
from sgcp.core.files import PARTIAL
from sgcp.core.terminal import progress_bar, say

CHUNK = 1 << 16  # bytes; at most this much is lost when a connection breaks
TIMEOUT = (20, 60)  # seconds to connect, and between two packets
ATTEMPTS = 5
MAX_ARCHIVE = 2**36  # published archives are shorter
MAX_ANSWER = 2**20  # bytes of a list or a checksum
LENGTH = r"([0-9]{1,18})"


def fetch(
    session: requests.Session,
    url: str,
    target: Path,
    md5: str | None = None,
    pause: float = 2.0,
    limit: int = MAX_ARCHIVE,
) -> None:
    """Download at most ``limit`` bytes of ``url`` to ``target``, resuming an earlier try.

    After a break it tries again, first after ``pause`` seconds, doubled each time. An SgcpError
    tells that the server cannot be reached or refuses, that the connection breaks five times
    without progress, or that the file is not the published one, by its ``md5``.
    """
    if target.is_file() and (md5 is None or _file_md5(target) == md5.lower()):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + PARTIAL)
    furthest, failures = _size(partial), 0
    while True:
        try:
            _fetch_rest(session, url, partial, limit)
            break
        except requests.RequestException as error:
            failures = 0 if _size(partial) > furthest else failures + 1
            furthest = max(furthest, _size(partial))
            answer = error.response
            # These answers will not change: 404, 403, circles, bad addresses.
            refused = isinstance(error, ValueError) if answer is None else answer.status_code < 500
            if failures >= ATTEMPTS or refused:
                reason = f"cannot be reached ({type(error).__name__})"
                if isinstance(error, requests.TooManyRedirects):
                    reason = "redirects in a circle"
                elif answer is not None:
                    reason = f"the server answered {answer.status_code}"
                raise SgcpError(
                    f"{url}: {reason}; run the command again to resume, or get {target.name} by "
                    "other means and give it with `--archive FILE`"
                ) from None
            say(f"connection lost at {_size(partial):,} bytes, trying again")
            time.sleep(pause * 2**failures)
        except (ValueError, HTTPError) as error:  # an address that no library can take apart
            raise SgcpError(f"{url}: redirects to an invalid address ({error})") from None
    if md5 is not None and _file_md5(partial) != md5.lower():
        partial.unlink()
        raise SgcpError(
            f"{url}: wrong checksum, expected MD5 {md5}; the broken download was removed: "
            "run the command again"
        )
    partial.replace(target)


def get_text(session: requests.Session, url: str) -> str:
    """Return a short answer as text; redirects are not followed."""
    content = b""
    with session.get(url, allow_redirects=False, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        for chunk in response.iter_content(CHUNK):
            content += chunk
            if len(content) > MAX_ANSWER:
                raise SgcpError(f"{url}: unexpected answer of more than {MAX_ANSWER:,} bytes")
    return content.decode("utf-8", "replace")


def _fetch_rest(session: requests.Session, url: str, partial: Path, limit: int) -> None:
    """Append what is missing to ``partial``; start over where the server cannot resume."""
    have = _size(partial)
    headers = {"Range": f"bytes={have}-"} if have else {}
    headers["Accept-Encoding"] = "identity"  # byte counts must be those of the file
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status, stated = response.status_code, response.headers
        if have and status == requests.codes.requested_range_not_satisfiable:
            if stated.get("Content-Range", "").rpartition("/")[2] == str(have):
                return
            partial.unlink()
            raise requests.ConnectionError("the partial download is longer than the file")
        response.raise_for_status()
        if status not in (requests.codes.ok, requests.codes.partial_content):
            raise requests.HTTPError("neither a file nor a part of one", response=response)
        if stated.get("Content-Type", "").lower().startswith("text/html"):
            raise SgcpError(f"{url}: answered a web page, not a file; log-in or address is wrong")
        if (encoding := stated.get("Content-Encoding", "identity").lower()) != "identity":
            raise SgcpError(
                f"{url}: answered in the encoding {encoding!r}, though the file as it is was asked "
                "for; get it by other means and give it with `--archive FILE`"
            )
        start, length = 0, re.fullmatch(LENGTH, stated.get("Content-Length", ""))
        if status == requests.codes.partial_content:
            form = rf"bytes {have}-[0-9]{{1,18}}/(?:{LENGTH}|\*)"
            start, length = have, re.fullmatch(form, stated.get("Content-Range", ""))
            if length is None:
                partial.unlink(missing_ok=True)
                raise requests.ConnectionError("the server sent another range than asked for")
        total = int(length[1]) if length and length[1] else None
        _write_body(response, partial, start, total, limit)
    if total is not None and _size(partial) != total:
        raise requests.ConnectionError(f"{_size(partial)} of {total} bytes arrived")


def _write_body(
    response: requests.Response, partial: Path, start: int, total: int | None, limit: int
) -> None:
    """Write what arrives from byte ``start`` on; more than fits or than ``limit`` is refused."""
    bound = min(limit, start + shutil.disk_usage(partial.parent).free)
    if total is not None and total > bound:
        raise SgcpError(
            f"{response.url}: {total:,} bytes, more than the limit of {bound:,}; free some space, "
            "or get the file by other means"
        )
    name = partial.name.removesuffix(PARTIAL)
    with (
        progress_bar(DownloadColumn(), TransferSpeedColumn()) as bar,
        partial.open("ab" if start else "wb") as file,
    ):
        task = bar.add_task(name, total=total, completed=start)
        for chunk in response.iter_content(CHUNK):
            if file.tell() + len(chunk) > bound:
                partial.unlink()
                raise SgcpError(
                    f"{response.url}: continues after {bound:,} bytes, more than the file or this "
                    "disk holds; the partial download was removed: get the file by other means"
                )
            file.write(chunk)
            bar.advance(task, len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
