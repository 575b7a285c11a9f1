"""A local server that speaks the Cityscapes site's protocol."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

USER, PASSWORD = "ada@example.org", "correct horse"


@dataclass
class Site:
    """What the server offers."""

    packages: dict[str, bytes]
    url: str = ""
    md5: dict[str, str] = field(default_factory=dict)
    """Wrong checksums to publish."""
    requests: list[str] = field(default_factory=list)
    """The path of each request."""


def handler_for(site: Site) -> type[BaseHTTPRequestHandler]:
    names = sorted(site.packages)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def package(self) -> str:
            query = parse_qs(urlparse(self.path).query)
            return names[int(query["packageID"][0])]

        def do_POST(self) -> None:
            site.requests.append(self.path)
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            given = (form["username"][0], form["password"][0], form["submit"][0])
            if given == (USER, PASSWORD, "Login"):
                self.answer(302, Location="/downloads/", Set_Cookie="session=good; Path=/")
            else:
                self.answer(200, b"<html>try again</html>", Content_Type="text/html")

        def do_GET(self) -> None:
            site.requests.append(self.path)
            path = urlparse(self.path).path
            if path == "/login":
                self.answer(200, b"<html>log in</html>", Content_Type="text/html")
            elif "session=good" not in (self.headers.get("Cookie") or ""):
                self.answer(302, Location="/login")
            elif path == "/downloads/":
                rows = [
                    {"name": n, "packageID": i, "size": "1MB", "thirdparty": "0"}
                    for i, n in enumerate(names)
                ]
                self.answer(200, json.dumps(rows).encode(), Content_Type="application/json")
            elif path == "/md5-sum/":
                name = self.package()
                right = hashlib.md5(site.packages[name]).hexdigest()
                self.answer(200, f"{site.md5.get(name, right)}  {name}\n".encode())
            elif path == "/file-handling/":
                self.answer(200, site.packages[self.package()], Content_Type="application/zip")

    return Handler


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve on the loopback interface until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(site))
    server.handle_error = lambda *_: None  # cut connections are meant
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
