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


def fetch(
    session: requests.Session,
    url: str,
    target: Path,
    md5: str | None = None,
    pause: float = 2.0,
    limit: int = MAX_ARCHIVE,
) -> None:
    """Download ``url`` to ``target``, resuming an earlier try.

    Args:
        md5: expected checksum, where one is published.
        pause: seconds before the second try, doubled each time.
        limit: bytes that the file has at most.

    Raises:
        SgcpError: the server cannot be reached or refuses, the connection breaks five times
            without progress, or the file is not the published one.
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
            if failures >= ATTEMPTS or _is_refusal(error):
                raise SgcpError(_explain(url, target, error)) from None
            say(f"connection lost at {_size(partial):,} bytes, trying again")
            time.sleep(pause * 2**failures)
        except (ValueError, HTTPError) as error:  # an address that no library can take apart
            raise SgcpError(f"{url}: leads to no valid address ({error})") from None
    if md5 is not None and _file_md5(partial) != md5.lower():
        partial.unlink()
        raise SgcpError(
            f"{url}: wrong checksum, expected MD5 {md5}; the broken download was removed: "
            "run the command again"
        )
    partial.replace(target)


def get_text(session: requests.Session, url: str) -> str:
    """Return a short answer as text; redirects are not followed.

    Raises:
        SgcpError: it is longer than any answer that is read here.
        requests.RequestException: unreachable or refused.
    """
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
        if have and response.status_code == requests.codes.requested_range_not_satisfiable:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(have):
                return
            partial.unlink()
            raise requests.ConnectionError("the partial download is longer than the file")
        _refuse_other_than_file(response, url)
        start, total_bytes = _extent(response, have, partial)
        bound = min(limit, start + shutil.disk_usage(partial.parent).free)
        if total_bytes is not None and total_bytes > bound:
            raise SgcpError(f"{url}: {total_bytes:,} bytes, of which {bound:,} may be taken; "
                            "free some space, or get the file by other means")  # fmt: skip
        _write_body(response, partial, start, total_bytes, bound)
    if total_bytes is not None and _size(partial) != total_bytes:
        raise requests.ConnectionError(f"{_size(partial)} of {total_bytes} bytes arrived")


def _refuse_other_than_file(response: requests.Response, url: str) -> None:
    response.raise_for_status()
    if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
        raise requests.HTTPError("neither a file nor a part of one", response=response)
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise SgcpError(f"{url}: answered a web page, not a file; log-in or address is wrong")
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise SgcpError(
            f"{url}: answered in the encoding {encoding!r}, though the file as it is was asked "
            "for; get it by other means and give it with `--archive FILE`"
        )


def _extent(response: requests.Response, have: int, partial: Path) -> tuple[int, int | None]:
    """Return where the body begins in the file, and the file's length if the server states it."""
    length = response.headers.get("Content-Length", "")
    count = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
    if response.status_code != requests.codes.partial_content:
        return 0, count
    stated = re.fullmatch(
        r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)",
        response.headers.get("Content-Range", ""),
    )
    if stated is None or int(stated[1]) != have:
        partial.unlink(missing_ok=True)
        raise requests.ConnectionError("the server sent another range than asked for")
    if stated[2] != "*":
        return have, int(stated[2])
    return have, None if count is None else have + count


def _write_body(
    response: requests.Response, partial: Path, start: int, total: int | None, bound: int
) -> None:
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
                    f"{response.url}: goes on after {bound:,} bytes, more than the file or this "
                    "disk holds; what arrived was removed: get the file by other means"
                )
            file.write(chunk)
            bar.advance(task, len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _is_refusal(error: requests.RequestException) -> bool:
    """Return whether an answer will not change: 404, 403, circles, bad addresses."""
    if error.response is not None:
        return error.response.status_code < 500
    return isinstance(error, ValueError)


def _explain(url: str, target: Path, error: requests.RequestException) -> str:
    if isinstance(error, requests.TooManyRedirects):
        reason = "redirects in a circle"
    elif error.response is not None:
        reason = f"the server answered {error.response.status_code}"
    else:
        reason = f"cannot be reached ({type(error).__name__})"
    return (
        f"{url}: {reason}; run the command again to resume, or get {target.name} by other means "
        "and give it with `--archive FILE`"
    )


def _file_md5(path: Path) -> str:
    """Return a file's MD5 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
