"""Admit only requests of this page, in a browser, at this server's own address.

A server on the loopback interface is not private: any page in the same browser can send requests
to it, and a page whose name resolves to 127.0.0.1 (DNS rebinding) can read the answers. So unknown
host names and requests of other pages are refused.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Refusal = tuple[int, str]
"""Status and sentence of an answer."""

# The browser enforces that the page contacts no other server and that no page frames it.
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; object-src 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class AccessMiddleware:
    """Answer only the requests of this page; an ASGI application around another.

    Args:
        app: the application to guard.
        host: the address or name that the server listens on.
        max_bytes: of a request's body.
    """

    def __init__(self, app: App, host: str, max_bytes: int) -> None:
        self.app, self.host, self.max_bytes = app, host.lower(), max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope) if scope["type"] == "http" else (404, "not found")
        if refusal:
            await _answer(send, *refusal)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self.app(scope, receive, send_guarded)

    def refusal(self, scope: Message) -> Refusal | None:
        """Return why a request is refused; None: it is allowed."""
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        if refused := refuse_foreign(headers, self.host, scope["path"]):
            return refused
        if scope["method"] == "POST":
            length = headers.get("content-length", "")
            if not length.isdecimal():
                return 411, "content-length: missing"
            if int(length) > self.max_bytes:
                return 413, f"larger than the {self.max_bytes >> 20} MB that this server accepts"
        return None


def refuse_foreign(headers: Mapping[str, str], own: str, path: str) -> Refusal | None:
    """Return why a request is none of this server's own pages'; None: it is.

    Args:
        headers: names in lower case.
        own: the address or name that the server listens on.
    """
    host = headers.get("host", "")
    if not is_our_name(host, own):
        return 421, "unknown server name; open the address that the server printed"
    link = path == "/" and headers.get("sec-fetch-mode") == "navigate"  # from another page
    foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site") and not link
    if foreign or headers.get("origin", f"http://{host}") != f"http://{host}":
        return 403, "only the page itself may request this"
    return None


def is_our_name(host: str, own: str) -> bool:
    """Return whether a Host header names this server, which listens on ``own``.

    DNS can rebind a name, not a number.
    """
    with suppress(ValueError):  # a malformed address
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", own):
            return True
        return ipaddress.ip_address(name).is_loopback or not _is_loopback(own)
    return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
