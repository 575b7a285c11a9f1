"""Admit only requests of this page, in a browser, at this server's own address.

A server on the loopback interface is not private: any page in the same browser can send requests
to it, and a page whose name resolves to 127.0.0.1 (DNS rebinding) can read the answers. So unknown
host names and requests of other pages are refused. Gradio also serves more than this page needs,
such as a proxy and a converter that starts FFmpeg: other paths are not found. Where Gradio expects
a file's path, it would also fetch an address: only files in our own folder are accepted.
"""

from __future__ import annotations

import ipaddress
import os
import re
import traceback
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sgcp.core.errors import DEBUG_VARIABLE
from sgcp.core.files import parse_json

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

API = "/gradio_api"
PAGES = ("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json")
FILE, JOIN, DATA = f"{API}/file=", f"{API}/queue/join", f"{API}/queue/data"
FOLDERS = ("/assets/", "/static/", "/svelte/", FILE, f"{API}/heartbeat/")
CALLS = tuple(
    f"{API}/{name}"
    for name in ("app_id", "cancel", "info", "queue/data", "queue/join", "reset", "startup-events",
                 "upload", "upload_progress")
)  # fmt: skip
UPLOAD = f"{API}/upload"
SESSION = re.compile(r"\w{1,64}", re.ASCII)
MAX_DEPTH = 32  # levels of a call; the page's own have five
MAX_CALL = 2**20  # bytes of a request without a file; the page's own have a few thousand

# The browser enforces that the page contacts no other server and that no page frames it.
HEADERS = {
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "base-uri 'self'; form-action 'self'; object-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class AccessMiddleware:
    """Answer only the requests of this page; an ASGI application around another.

    Args:
        app: the application to guard.
        host: the address or name that the server listens on.
        max_upload: bytes of an upload.
        folder: uploads and results; no other file is served or opened.
        is_call: returns whether a call is one that the page makes.
    """

    def __init__(
        self, app: App, host: str, max_upload: int, folder: Path, is_call: Callable[[Any], bool]
    ) -> None:
        self.app, self.host, self.max_upload = app, host.lower(), max_upload
        self.folder, self.is_call = folder.resolve(), is_call
        self.sessions: set[str] = set()
        """Tabs that have made a call."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope) if scope["type"] == "http" else (404, "not found")
        waiting: list[Message] = []  # a body that was read, for the application to read again
        if refusal is None and scope["method"] == "POST" and scope["path"] != UPLOAD:
            body = await _read_body(receive)
            refusal = self.refusal_of_call(scope, body)
            waiting = [{"type": "http.request", "body": body, "more_body": False}]
        if refusal:
            await _answer(send, *refusal)
            return
        begun = False

        async def receive_again() -> Message:
            return waiting.pop() if waiting else await receive()

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message["headers"] if k.decode().lower() not in HEADERS]
                added = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*kept, *added]
            await send(message)

        try:
            await self.app(scope, receive_again, send_guarded)
        except Exception as error:  # such as a stream to a closed tab
            if DEBUG_VARIABLE in os.environ:
                traceback.print_exception(error)
            if not begun:
                await _answer(send, 500, "unexpected error; this is a bug in sgcp")

    def refusal(self, scope: Message) -> tuple[int, str] | None:
        """Return the status and sentence that refuse a request; None: it is allowed."""
        headers = _headers(scope)
        host, path = headers.get("host", ""), scope["path"]
        if not is_our_name(host, self.host):
            return 421, "unknown server name; open the address that the server printed"
        link = path == "/" and headers.get("sec-fetch-mode") == "navigate"  # from another page
        if headers.get("origin", f"http://{host}") != f"http://{host}" or (
            headers.get("sec-fetch-site") in ("cross-site", "same-site") and not link
        ):
            return 403, "only the page itself may request this"
        if path not in PAGES and path not in CALLS and not path.startswith(FOLDERS):
            return 404, "not found"
        if path.startswith(FILE) and not self.is_inside(path.removeprefix(FILE)):
            return 404, "not found"
        if path == DATA:
            query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
            if query.get("session_hash", [""])[0] not in self.sessions:
                return 404, "no such tab; reload the page"
        if scope["method"] == "POST":
            length = headers.get("content-length", "")
            if not length.isdecimal():
                return 411, "content-length: missing"
            if int(length) > (self.max_upload if path == UPLOAD else 0) + MAX_CALL:
                return 413, "File size exceeds the maximum allowed size"
        return None

    def refusal_of_call(self, scope: Message, body: bytes) -> tuple[int, str] | None:
        """Return the status and sentence that refuse a call; None: it is allowed."""
        kind = _headers(scope).get("content-type", "")
        if kind.partition(";")[0].strip().lower() != "application/json":
            return 415, "content-type: expected application/json"
        try:
            call = parse_json(body.decode())
            objects = list(_objects_in(call)) if isinstance(call, dict) else []
        except ValueError:
            objects = []
        if not objects:
            return 400, f"expected a JSON object of finite numbers, at most {MAX_DEPTH} levels deep"
        if scope["path"] != JOIN:
            return None
        session = call.get("session_hash")
        if not (isinstance(session, str) and SESSION.fullmatch(session)):
            return 400, "session_hash: expected 1 to 64 letters and digits"
        # A file's `url` is for the browser only.
        if not all(self.is_inside(item["path"]) for item in objects if "path" in item):
            return 403, "only files that were dropped on the page are opened"
        if not self.is_call(call):
            return 400, "the page has no such function, or not for such values; reload it"
        self.sessions.add(session)
        return None

    def is_inside(self, name: object) -> bool:
        """Return whether this is the path of a file in our folder, as given and percent-decoded."""
        if not isinstance(name, str):
            return False
        try:
            return all(
                path.is_absolute()
                and ".." not in path.parts
                and path.resolve().is_relative_to(self.folder)
                for path in (Path(name), Path(unquote(name)))
            )
        except (OSError, ValueError, RuntimeError):  # a null byte; a loop of links
            return False


def is_our_name(host: str, own: str) -> bool:
    """Return whether a Host header names this server: DNS can rebind a name, not a number.

    Args:
        own: the address or name that the server listens on.
    """
    with suppress(ValueError):  # a malformed address
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", own):
            return True
        return ipaddress.ip_address(name).is_loopback or not _is_loopback(own)
    return False


def _objects_in(call: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a call, the outer ones first; ValueError: too deep."""
    level = [call]
    for _ in range(MAX_DEPTH):
        yield from (item for item in level if isinstance(item, dict))
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    if level:
        raise ValueError("too deep")


def _headers(scope: Message) -> dict[str, str]:
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _read_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
