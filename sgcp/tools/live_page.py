"""The page of ``sgcp segment --live``: the newest overlay, for browsers on this machine."""

import io
import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from string import Template
from typing import Any, Self

from PIL import Image

from sgcp.datasets.classes import SemanticClass
from sgcp.demo.access_middleware import HEADERS, refuse_foreign
from sgcp.demo.server import address_of, listen
from sgcp.media.images import UInt8
from sgcp.reporting import PAGES

HOST = "127.0.0.1"
VIEWERS = 32  # connections at once; a page has two
PATIENCE = 10.0  # seconds for a viewer to send its request, and to take an image
BUFFER = 2**17  # bytes of a connection: a slow viewer skips images rather than lag behind
QUALITY = 85  # of the JPEGs
POLICY = (
    "default-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class LivePage:
    """Serve a page, its images (``/stream``) and its numbers (``/status``) on localhost.

    Keeps one image: each viewer gets the newest when it has taken the one before.

    Args:
        title: shown on the page.
        port: 0 takes a free one; SgcpError is raised if another is taken.
        ask: returns what ``/status`` has beside the numbers of ``show``, at each request.
    """

    def __init__(
        self,
        title: str,
        classes: Sequence[SemanticClass],
        port: int,
        ask: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._ask, self._listening = ask, listen(HOST, port)
        self.address = address_of(HOST, self._listening)
        self.html = _render(title, classes)
        self._status: dict[str, Any] = {"frames": 0}
        self._changed = threading.Condition()
        self._image: UInt8 | None = None
        self._jpeg = b""
        self._number = 0
        self._ended = False
        self._server = _Server(self, self._listening)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def show(self, image: UInt8, status: dict[str, Any]) -> None:
        """Replace the image (H, W, 3) uint8 and the numbers."""
        with self._changed:
            self._image, self._jpeg, self._status = image, b"", status
            self._number += 1
            self._changed.notify_all()

    def status(self) -> dict[str, Any]:
        """Return the newest image's numbers, and those of now."""
        return {**self._status, **self._ask()}

    def newest(self, after: int) -> tuple[int, bytes] | None:
        """Wait for an image with a number above ``after``; return it as JPEG; None at the end."""
        with self._changed:
            while self._number <= after and not self._ended:
                self._changed.wait()
            if self._ended or self._image is None:
                return None
            number, image, jpeg = self._number, self._image, self._jpeg
        if not jpeg:  # only if there is a viewer, without holding up the recording
            file = io.BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=QUALITY)
            jpeg = file.getvalue()
            with self._changed:
                if self._number == number:
                    self._jpeg = jpeg
        return number, jpeg


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def __init__(self, page: LivePage, listening: socket.socket) -> None:
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.page = listening, page
        self.free = threading.BoundedSemaphore(VIEWERS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: a viewer left."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE

    def do_GET(self) -> None:
        page = self.server.page
        headers = {name.lower(): value for name, value in self.headers.items()}
        if refusal := refuse_foreign(headers, HOST, self.path):
            self._answer(*refusal, "text/plain")
        elif self.path == "/":
            self._answer(200, page.html, "text/html; charset=utf-8")
        elif self.path == "/status":
            self._answer(200, json.dumps(page.status()), "application/json")
        elif self.path == "/stream":
            with suppress(OSError):  # the viewer left, or does not read
                self._stream(page)
        else:
            self._answer(404, "not found", "text/plain")

    def _stream(self, page: LivePage) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._begin(200, "multipart/x-mixed-replace; boundary=frame")
        self.wfile.write(b"--frame\r\n")
        number = 0
        while newest := page.newest(number):
            number, jpeg = newest
            head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
            self.wfile.write(head + jpeg + b"\r\n--frame\r\n")

    def _answer(self, status: int, text: str, kind: str) -> None:
        body = text.encode()
        self._begin(status, kind, len(body))
        self.wfile.write(body)

    def _begin(self, status: int, kind: str, length: int | None = None) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        for name, value in (HEADERS | {"content-security-policy": POLICY}).items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing for each request."""


def _render(title: str, classes: Sequence[SemanticClass]) -> str:
    legend = "\n".join(
        f'<li><span style="background: rgb{item.color}"></span>{escape(item.name)}</li>'
        for item in classes
    )
    template = Template((PAGES / "live.html").read_text(encoding="utf-8"))
    css = (PAGES / "base.css").read_text(encoding="utf-8")
    return template.substitute(title=escape(title), css=css, legend=legend)
