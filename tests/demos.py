"""Start `sgcp demo` as a user does, in a process of its own, and end it as a user does."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from conftest import HANGING, ROOT

Answer = dict[str, Any]
AS_IT_IS = "from sgcp.cli import app; app()"


@dataclass
class Demo:
    """A running server."""

    process: Any
    address: str
    """As it printed it."""
    temporary: Path
    """Where it has its temporary files."""

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Ask for a path; return status and content. Headers: ``Sec_Fetch_Site="none"``."""
        url = urlsplit(self.address)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=HANGING)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("POST" if body is not None else "GET", path, body, named)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def label(self, name: str, content: bytes, **query: str) -> tuple[Answer, dict[str, bytes]]:
        """Have a file labelled; return the last line of the answer, and the parts after it."""
        status, said = self.ask(self.query(name, **query), content)
        assert status == 200, said
        answer: Answer = {}
        while not answer.keys() & {"error", "parts"}:
            line, _, said = said.partition(b"\n")
            answer = json.loads(line)
        parts = {}
        for part, size in answer.get("parts", {}).items():
            parts[part], said = said[:size], said[size:]
        assert not said
        return answer, parts

    def begin(self, name: str, content: bytes, missing: int = 0) -> http.client.HTTPConnection:
        """Send a file, all but its last bytes, and do not wait for the answer."""
        url = urlsplit(self.address)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=HANGING)
        connection.putrequest("POST", self.query(name))
        connection.putheader("Content-Length", str(len(content)))
        connection.endheaders()
        connection.send(content[: len(content) - missing])
        return connection

    def query(self, name: str, **query: str) -> str:
        """Return the path of a request to label a file."""
        asked = {"model": "camvid", "engine": "auto", "name": name} | query
        return f"/label?{urlencode(asked)}"

    def files(self) -> list[Path]:
        """List the server's own temporary files; libraries leave others beside them."""
        return list(self.temporary.glob("sgcp-*"))

    def interrupt(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Press Ctrl-C; return the exit code and what was printed since."""
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=HANGING)
        return self.process.returncode, said


@contextmanager
def serving(
    folder: Path, *options: str, code: str = AS_IT_IS, installed: Path | None = None
) -> Iterator[Demo]:
    """Start a server in a folder, on any free port; ``code`` may change it first.

    Args:
        installed: the Python of an environment whose ``sgcp`` is to be used.
    """
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [installed or sys.executable, "-c", code, "demo", "--port", "0", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": "" if installed else str(ROOT), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        first = process.stdout.readline()
        assert first.startswith("http://127.0.0.1:"), first + process.stdout.read()
        yield Demo(process, first.split()[0], temporary)
    finally:
        process.kill()
        process.communicate()
