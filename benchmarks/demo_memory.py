"""Load `sgcp demo` with large files; print the peak memory of its process, beside the bound.

    python benchmarks/demo_memory.py [SCENARIO ...]

Each scenario has a server of its own. The files are generated; the peak is VmHWM of the server's
process, so Linux only.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

BOUND = 1_000_000_000
API = "/gradio_api"
FORM = "multipart/form-data; boundary=X"
HEAD = '--X\r\nContent-Disposition: form-data; name="files"; filename="{}"\r\n\r\n'


class Server:
    """A running `sgcp demo`."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process, self.port = process, port

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """Request a path; return the whole answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=900)
        method = "GET" if body is None else "POST"
        connection.request(method, API + path, body, {"Content-Type": kind})
        return connection.getresponse().read()

    def drop(self, file: Path, tab: str) -> None:
        """Upload a file and wait until it is labelled in a tab."""
        body = HEAD.format(file.name).encode() + file.read_bytes() + b"\r\n--X--\r\n"
        (path,) = json.loads(self.ask("/upload", body, FORM))
        dropped = {"path": path, "meta": {"_type": "gradio.FileData"}}
        call = {"data": [dropped, "camvid", "auto", "Overlay", 50, None], "fn_index": 0}
        self.ask("/queue/join", json.dumps(call | {"session_hash": tab}).encode())
        self.ask(f"/queue/data?session_hash={tab}")

    def drop_together(self, files: list[Path]) -> None:
        """Drop files in as many tabs at the same time."""
        with ThreadPoolExecutor(len(files)) as pool:
            list(pool.map(self.drop, files, map(str, range(len(files)))))

    def cut_off(self, size: int) -> None:
        """Begin an upload and break the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest("POST", API + "/upload")
        connection.putheader("Content-Type", FORM)
        connection.putheader("Content-Length", str(2 * size))
        connection.endheaders()
        connection.send(HEAD.format("a").encode() + bytes(size))
        connection.close()

    def peak(self) -> int:
        """Return the peak memory of the process, bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


@contextmanager
def serving() -> Iterator[Server]:
    """Start a server on any free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sgcp", "demo", "--port", "0"], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield Server(process, int(process.stdout.readline().split()[0].rsplit(":", 1)[1][:-1]))
    finally:
        process.terminate()
        process.communicate()


def image(folder: Path, height: int, width: int, mode: str = "RGB", suffix: str = "png") -> Path:
    """Write a blank image."""
    file = folder / f"{mode}{height}x{width}.{suffix}"
    Image.new(mode, (width, height)).save(file, compress_level=1)
    return file


def video(folder: Path, height: int, width: int, frames: int = 8) -> Path:
    """Write a grey video."""
    file = folder / f"{height}x{width}.mp4"
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 90, np.uint8), "rgb24")
        for number in range(frames):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


def many_sizes(server: Server, folder: Path) -> None:
    """Drop ninety images of different sizes in ten tabs."""
    for number in range(90):
        file = image(folder, 300 + 37 * number % 1100, 300 + 53 * number % 1900)
        server.drop(file, f"sizes{number % 10}")


def broken_uploads(server: Server, _: Path) -> None:
    """Cut off twenty uploads of 20 MB."""
    for _number in range(20):
        server.cut_off(20_000_000)


def malformed_requests(server: Server, _: Path) -> None:
    """Send requests that no page makes, as large as they may be."""
    for body in (b"[" * 1_000_000, b'{"data": [NaN]}', b"0" * 1_000_000, b"--X\r\n" * 200_000):
        for path in ("/queue/join", "/upload", "/cancel"):
            with suppress(OSError):
                server.ask(path, body, FORM)


KINDS = (("RGB", "png"), ("RGBA", "png"), ("RGB", "jpg"), ("P", "gif"))
SCENARIOS: dict[str, Callable[[Server, Path], None]] = {
    "too large video": lambda server, folder: server.drop(video(folder, 4320, 7680), "large"),
    "largest video": lambda server, folder: server.drop(video(folder, 1440, 2560, 60), "video"),
    "too large images": lambda server, folder: server.drop_together(
        [image(folder, 8192, 8192)] * 4
    ),
    "largest images": lambda server, folder: server.drop_together(
        [image(folder, 4096, 8192, *kind) for kind in KINDS]
    ),
    "many sizes": many_sizes,
    "broken uploads": broken_uploads,
    "malformed requests": malformed_requests,
}


def main() -> None:
    """Measure each scenario."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="scenarios; none: all")
    for name in parser.parse_args().names or SCENARIOS:
        with tempfile.TemporaryDirectory() as folder, serving() as server:
            SCENARIOS[name](server, Path(folder))
            peak = server.peak()
        verdict = "within" if peak < BOUND else "ABOVE"
        print(f"{name:28}{peak / 1e6:6.0f} MB, {verdict} {BOUND / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
