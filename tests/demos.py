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
from urllib.parse import urlsplit

from conftest import HANGING, ROOT

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

    def upload(self, name: str, content: bytes) -> str:
        """Drop a file; return where the server keeps it."""
        head = f'--X\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + b"\r\n--X--\r\n"
        status, said = self.ask("/gradio_api/upload", body,
                                Content_Type="multipart/form-data; boundary=X")  # fmt: skip
        assert status == 200, said
        return json.loads(said)[0]

    def cut_off(self, content: bytes) -> None:
        """Drop a file, and break the connection when all but its end has been sent."""
        url = urlsplit(self.address)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=120)
        connection.putrequest("POST", "/gradio_api/upload")
        connection.putheader("Content-Type", "multipart/form-data; boundary=X")
        connection.putheader("Content-Length", str(len(content) + 1000))
        connection.endheaders()
        connection.send(
            b'--X\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        )
        connection.send(content)
        connection.close()

    def label(self, path: str) -> str:
        """Have a dropped file labelled; return the events that the page receives."""
        self.begin_labelling(path)
        return self.ask("/gradio_api/queue/data?session_hash=tab")[1].decode()

    def begin_labelling(self, path: str) -> None:
        """Ask for a dropped file to be labelled, and do not wait for it."""
        dropped = {"path": path, "meta": {"_type": "gradio.FileData"}}
        call = {"data": [dropped, "camvid", "auto", "Overlay", 50, None], "fn_index": 0,
                "session_hash": "tab"}  # fmt: skip
        status, said = self.ask("/gradio_api/queue/join", json.dumps(call).encode(),
                                Content_Type="application/json")  # fmt: skip
        assert status == 200, said

    def files(self) -> list[Path]:
        """List the server's own temporary files; libraries leave others beside them."""
        return list(self.temporary.glob("sgcp-*"))

    def interrupt(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Press Ctrl-C; return the exit code and what was printed since."""
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=HANGING)
        return self.process.returncode, said


@contextmanager
def serving(folder: Path, *options: str, code: str = AS_IT_IS) -> Iterator[Demo]:
    """Start a server in a folder, on any free port; ``code`` may change it first."""
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", code, "demo", "--port", "0", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
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
