"""Drop on `sgcp demo` what takes memory; print the most that its process held, beside the bound.

    python benchmarks/demo_memory.py [--together]

Each scenario has a server of its own on this machine, or with ``--together`` all have one. The
files are made on the spot; the peak is VmHWM of the server's process, so Linux only.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

BOUND = 1_000_000_000
API = "/gradio_api"


class Server:
    """A running `sgcp demo`."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process, self.port = process, port

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """Ask for a path; return the whole answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=900)
        method = "GET" if body is None else "POST"
        connection.request(method, API + path, body, {"Content-Type": kind})
        return connection.getresponse().read()

    def drop(self, file: Path, tab: str, view: str = "Overlay") -> str:
        """Upload a file and have it labelled in a tab; return what the page shows of it."""
        head = (
            f'--X\r\nContent-Disposition: form-data; name="files"; filename="{file.name}"\r\n\r\n'
        )
        body = head.encode() + file.read_bytes() + b"\r\n--X--\r\n"
        (path,) = json.loads(self.ask("/upload", body, "multipart/form-data; boundary=X"))
        dropped = {"path": path, "meta": {"_type": "gradio.FileData"}}
        call: dict[str, Any] = {"data": [dropped, "camvid", "auto", view, 50, None]}
        self.ask("/queue/join", json.dumps(call | {"fn_index": 0, "session_hash": tab}).encode())
        events = self.ask(f"/queue/data?session_hash={tab}").decode().splitlines()
        told = [json.loads(line[5:]) for line in events if line.startswith("data:")]
        ended = [item for item in told if item["msg"] == "process_completed"]
        shown = [
            item for item in told if item["msg"] in ("process_generating", "process_completed")
        ]
        return json.dumps([item["output"] for item in (shown[:1] + ended)])

    def cut_off(self, size: int) -> None:
        """Begin an upload and break the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest("POST", API + "/upload")
        connection.putheader("Content-Type", "multipart/form-data; boundary=X")
        connection.putheader("Content-Length", str(2 * size))
        connection.endheaders()
        connection.send(
            b'--X\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        )
        connection.send(bytes(size))
        connection.close()

    def peak(self) -> int:
        """Return the most bytes that the process has held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


@contextmanager
def serving() -> Iterator[Server]:
    """Start a server on any free port."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from sgcp.cli import app; app()", "demo", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert process.stdout is not None
    try:
        yield Server(process, int(process.stdout.readline().split()[0].rsplit(":", 1)[1][:-1]))
    finally:
        process.terminate()
        process.communicate()


def image(folder: Path, height: int, width: int, mode: str = "RGB", suffix: str = "png") -> Path:
    """Write a blank image, or noise where it is small."""
    file = folder / f"{mode}{height}x{width}.{suffix}"
    if not file.exists():
        Image.new(mode, (width, height)).save(file, compress_level=1)
    return file


def video(folder: Path, height: int, width: int, frames: int = 8) -> Path:
    """Write a grey video."""
    file = folder / f"{height}x{width}.mp4"
    if not file.exists():
        with av.open(str(file), "w") as container:
            stream: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 90, np.uint8), "rgb24")
            for number in range(frames):
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return file


def at_once(server: Server, files: list[Path]) -> None:
    """Drop files in as many tabs at the same time."""
    with ThreadPoolExecutor(len(files)) as pool:
        list(pool.map(lambda pair: server.drop(pair[1], f"tab{pair[0]}"), enumerate(files)))


def too_large_video(server: Server, folder: Path) -> None:
    """A video of 7680x4320."""
    server.drop(video(folder, 4320, 7680), "large")


def largest_video(server: Server, folder: Path) -> None:
    """A video of the largest frames that the page takes."""
    server.drop(video(folder, 1440, 2560, 60), "video")


def too_large_images(server: Server, folder: Path) -> None:
    """Four images of 8192x8192 at once."""
    at_once(server, [image(folder, 8192, 8192)] * 4)


def largest_images(server: Server, folder: Path) -> None:
    """Four of the largest images that the page takes at once: RGB, RGBA, JPEG, a palette."""
    kinds = (("RGB", "png"), ("RGBA", "png"), ("RGB", "jpg"), ("P", "gif"))
    at_once(server, [image(folder, 4096, 8192, *kind) for kind in kinds])


def many_sizes(server: Server, folder: Path) -> None:
    """Ninety images of different sizes in ten tabs."""
    for number in range(90):
        file = image(folder, 300 + 37 * number % 1100, 300 + 53 * number % 1900)
        server.drop(file, f"sizes{number % 10}")


def broken_uploads(server: Server, folder: Path) -> None:
    """Twenty uploads of 20 MB that are cut off."""
    for _ in range(20):
        server.cut_off(20_000_000)


def malformed_requests(server: Server, folder: Path) -> None:
    """Requests that no page makes, as large as they may be."""
    for body in (b"[" * 1_000_000, b'{"data": [NaN]}', b"0" * 1_000_000, b"--X\r\n" * 200_000):
        for path in ("/queue/join", "/upload", "/cancel"):
            with suppress(OSError):
                server.ask(path, body, "multipart/form-data; boundary=X")


SCENARIOS = (
    too_large_video, largest_video, too_large_images, largest_images, many_sizes, broken_uploads,
    malformed_requests,
)  # fmt: skip


def main() -> None:
    """Measure each scenario."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--together", action="store_true", help="one server for all scenarios")
    parser.add_argument("names", nargs="*", help="scenarios; none: all")
    options = parser.parse_args()
    chosen = [item for item in SCENARIOS if not options.names or item.__name__ in options.names]
    with tempfile.TemporaryDirectory() as folder:
        if options.together:
            with serving() as server:
                for scenario in chosen:
                    scenario(server, Path(folder))
                    report(f"... and {scenario.__name__}", server)
        else:
            for scenario in chosen:
                with serving() as server:
                    scenario(server, Path(folder))
                    report(scenario.__name__, server)


def report(name: str, server: Server) -> None:
    """Print a line."""
    peak = server.peak()
    verdict = "within" if peak < BOUND else "ABOVE"
    print(f"{name.replace('_', ' '):28}{peak / 1e6:6.0f} MB, {verdict} {BOUND / 1e6:.0f} MB",
          flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
