"""Load `sgcp demo` with large files; print the peak memory of its process, beside the bound.

    python benchmarks/demo_memory.py [SCENARIO ...]

Each scenario has a server of its own. The files are generated; the peak is VmHWM of the server's
process, so Linux only.
"""

import argparse
import http.client
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
QUERY = "model=camvid&engine=auto&confidence=true"


class Server:
    """A running `sgcp demo`."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process, self.port = process, port

    def ask(self, body: bytes, query: str = QUERY) -> bytes:
        """Send a file to be labelled; return the whole answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=900)
        connection.request("POST", f"/label?{query}", body)
        return connection.getresponse().read()

    def drop(self, file: Path) -> None:
        """Have a file labelled, with all that the page can ask for."""
        self.ask(file.read_bytes(), f"{QUERY}&name={file.name}")

    def drop_together(self, files: list[Path]) -> None:
        """Drop files at the same time, in as many tabs."""
        with ThreadPoolExecutor(len(files)) as pool:
            list(pool.map(self.drop, files))

    def cut_off(self, size: int) -> None:
        """Begin an upload and break the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest("POST", f"/label?{QUERY}")
        connection.putheader("Content-Length", str(2 * size))
        connection.endheaders()
        connection.send(bytes(size))
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
    """Drop ninety images of different sizes."""
    for number in range(90):
        server.drop(image(folder, 300 + 37 * number % 1100, 300 + 53 * number % 1900))


def broken_uploads(server: Server, _: Path) -> None:
    """Cut off twenty uploads of 20 MB."""
    for _number in range(20):
        server.cut_off(20_000_000)


def malformed_requests(server: Server, _: Path) -> None:
    """Send what no page sends, as large as it may be."""
    for body in (b"", b"x", bytes(200_000_000)):
        for query in ("", QUERY, f"{QUERY}&name={'x' * 10_000}", "model=" + "x" * 50_000):
            with suppress(OSError):
                server.ask(body, query)


KINDS = (("RGB", "png"), ("RGBA", "png"), ("RGB", "jpg"), ("P", "gif"))
SCENARIOS: dict[str, Callable[[Server, Path], None]] = {
    "too large video": lambda server, folder: server.drop(video(folder, 4320, 7680)),
    "largest video": lambda server, folder: server.drop(video(folder, 1440, 2560, 60)),
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
