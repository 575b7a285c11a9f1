"""Who may use the page: only a browser that shows this page, from this very address.

A server on the loopback interface is not private by itself. Any page that is open in the same
browser can send requests to it, and one that gives its own name the address 127.0.0.1 (DNS
rebinding) can read the answers too. So a name that is not ours is refused, and so is whatever
another page asked for. Gradio also serves more than this page needs, such as a proxy and a
converter that starts FFmpeg: what the page does not ask for is not there. Where Gradio takes the
path of a file, it takes an address too, and fetches that: only files in our own folder are named.
"""

from __future__ import annotations

import ipaddress
import json
import math
import os
import re
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sgcp.core.errors import DEBUG_VARIABLE

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
DEEPEST = 32  # levels of a call; the page's own have five
SMALL = 2**20  # bytes of a request that carries no file; the page's own have a few thousand

# The browser itself sees to it that the page asks nobody else, and that nobody frames it.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; base-uri 'self'; "
    "form-action 'self'; object-src 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class Gate:
    """Answer only what this page asks for; an ASGI application around another.

    Args:
        app: what is behind it.
        host: the address or name that the server was told to listen on.
        most: bytes that an upload may have.
        folder: where uploads and results are; no other file is served or opened.
        is_call: tells whether a call is one that the page makes.
    """

    def __init__(
        self, app: App, host: str, most: int, folder: Path, is_call: Callable[[Any], bool]
    ) -> None:
        self.app, self.host, self.most, self.is_call = app, host.lower(), most, is_call
        self.folder = folder.resolve()
        self.sessions: set[str] = set()
        """Tabs that have asked for something."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope) if scope["type"] == "http" else (404, "nothing is here")
        if refusal:
            await answer(send, *refusal)
            return
        if scope["method"] == "POST" and scope["path"] != UPLOAD:
            body = await read_body(receive)
            if refusal := self.refusal_of_call(scope, body):
                await answer(send, *refusal)
                return
            receive = replay(body, receive)
        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message["headers"] if k.decode().lower() not in HEADERS]
                added = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*kept, *added]
            await send(message)

        try:
            await self.app(scope, receive, send_guarded)
        except Exception as error:  # such as a stream of a tab that is gone
            if DEBUG_VARIABLE in os.environ:
                traceback.print_exception(error)
            if not begun:
                await answer(send, 500, "unexpected error; this is a bug in sgcp")

    def refusal_of_call(self, scope: Message, body: bytes) -> tuple[int, str] | None:
        """Return the status and sentence with which a call is refused, if it is."""
        call, path = read_call(body), scope["path"]
        kind = headers_of(scope).get("content-type", "")
        if kind.partition(";")[0].strip().lower() != "application/json":
            return 415, "content-type: expected application/json"
        if call is None:
            return 400, f"expected a JSON object of finite numbers, at most {DEEPEST} levels deep"
        session = call.get("session_hash")
        if path == JOIN and not (isinstance(session, str) and SESSION.fullmatch(session)):
            return 400, "session_hash: expected 1 to 64 letters and digits"
        if path == JOIN and not self.names_only_ours(call):
            return 403, "only files that were dropped on the page are opened"
        if path == JOIN and not self.is_call(call):
            return 400, "the page has no such function, or not for such values; reload it"
        if path == JOIN:
            self.sessions.add(str(session))
        return None

    def refusal(self, scope: Message) -> tuple[int, str] | None:
        """Return the status and sentence with which a request is refused, if it is."""
        headers = headers_of(scope)
        host, path = headers.get("host", ""), scope["path"]
        if not self.is_ours(host):
            return 421, "this server does not go by that name; open the address that it printed"
        if headers.get("origin", f"http://{host}") != f"http://{host}" or (
            headers.get("sec-fetch-site") in ("cross-site", "same-site")
            and not (path == "/" and headers.get("sec-fetch-mode") == "navigate")  # a link to it
        ):
            return 403, "only the page itself may ask for this"
        if path not in PAGES and path not in CALLS and not path.startswith(FOLDERS):
            return 404, "nothing is here"
        if path.startswith(FILE) and not self.is_inside(path.removeprefix(FILE)):
            return 404, "nothing is here"
        if path == DATA:
            asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
            if asked.get("session_hash", [""])[0] not in self.sessions:
                return 404, "no such tab; reload the page"
        if scope["method"] == "POST":
            length = headers.get("content-length", "")
            if not length.isdecimal():
                return 411, "say how long the request is"
            if int(length) > (self.most if path == UPLOAD else 0) + SMALL:
                return 413, "File size exceeds the maximum allowed size"
        return None

    def is_ours(self, host: str) -> bool:
        """Tell whether a Host header names this server: a number cannot be rebound, a name can."""
        with suppress(ValueError):  # of a malformed address
            name = urlsplit(f"//{host}").hostname or ""
            if name in ("localhost", self.host):
                return True
            address = ipaddress.ip_address(name)
            return address.is_loopback or not is_loopback(self.host)
        return False

    def is_inside(self, name: object) -> bool:
        """Tell whether this is the path of a file in our folder, and no address: decoded or not."""
        if not isinstance(name, str):
            return False
        try:
            paths = [Path(name), Path(unquote(name))]
            return all(
                path.is_absolute()
                and ".." not in path.parts
                and path.resolve().is_relative_to(self.folder)
                for path in paths
            )
        except (OSError, ValueError, RuntimeError):  # a null byte; links in a circle
            return False

    def names_only_ours(self, call: dict[str, Any]) -> bool:
        """Tell whether each file in a call is one of our folder.

        A file's ``url`` is the browser's; the server opens its ``path``.
        """
        waiting: list[Any] = [call]
        while waiting:
            item = waiting.pop()
            if isinstance(item, dict):
                if "path" in item and not self.is_inside(item["path"]):
                    return False
                waiting.extend(item.values())
            elif isinstance(item, list):
                waiting.extend(item)
        return True


def headers_of(scope: Message) -> dict[str, str]:
    """Return the headers of a request, their names in lower case."""
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}


def read_call(body: bytes) -> dict[str, Any] | None:
    """Return a call; None: it is no JSON object, has NaN or infinity in it, or is too deep."""
    try:
        call = json.loads(body, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    level: list[Any] = [call]
    for _ in range(DEEPEST):
        inside = [item.values() if isinstance(item, dict) else item for item in level
                  if isinstance(item, dict | list)]  # fmt: skip
        level = [item for items in inside for item in items]
    return call if isinstance(call, dict) and not level else None


def _refuse(name: str) -> float:
    raise ValueError(name)


def _finite(digits: str) -> float:
    return number if math.isfinite(number := float(digits)) else _refuse(digits)


def is_loopback(host: str) -> bool:
    """Tell whether an address or name is this machine's own, which no other machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def read_body(receive: Receive) -> bytes:
    """Return the body of a request, whose length is known to be small."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def replay(body: bytes, receive: Receive) -> Receive:
    """Return what hands on a body that was read, and then whatever comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def answer(send: Send, status: int, sentence: str) -> None:
    """Send one sentence."""
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
