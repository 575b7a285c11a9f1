"""The requests of the page: its files, what it offers, and ``/label``.

``/label`` takes the bytes of an image or a video. It answers with a line of JSON for each step of
progress, a last line with the result or an error, and after it the parts that the line lists. A
browser that leaves, or cancels its request, stops the work. One worker thread labels one file after
another: several at a time would add up their memory.
"""

import asyncio
import io
import json
import os
import shutil
import tempfile
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from sgcp.core.errors import DEBUG_VARIABLE, SgcpError, explain_os_error, printable
from sgcp.demo.media import LIMITS, MAX_PIXELS, SCALES, Job, LabelRequest, Result
from sgcp.demo.model_cache import ModelCache
from sgcp.media.formats import VIDEOS
from sgcp.media.images import SUFFIXES as IMAGES
from sgcp.reporting import PAGES

FILES = {"/": "demo.html", "/demo.js": "demo.js", "/demo.css": "demo.css", "/base.css": "base.css"}
TICK = 0.25  # seconds between two lines of progress
CHUNK = 2**20  # bytes of a file that are sent at once
LONGEST_NAME = 50  # characters of an upload's name that are kept


class Demo:
    """The page's server, for several tabs at a time.

    Args:
        models: the models on offer.
        folder: of uploads and results, each in a folder of its own until it is answered.
        max_bytes: of an upload.
        max_seconds: of a video.
    """

    def __init__(
        self, models: ModelCache, folder: Path, max_bytes: int, max_seconds: float
    ) -> None:
        self.models, self.folder = models, folder
        self.max_bytes, self.max_seconds = max_bytes, max_seconds
        self.worker = ThreadPoolExecutor(1)
        self.jobs: dict[Future[Result], Job] = {}

    def app(self) -> Starlette:
        """Return the ASGI application."""
        routes = [Route(path, partial(_send_file, PAGES / name)) for path, name in FILES.items()]
        routes += [Route("/offer", self.offer), Route("/label", self.label, methods=["POST"])]
        return Starlette(routes=routes)

    async def offer(self, _: Request) -> Response:
        """Return models, engines and scales on offer, and the limits of files."""
        return JSONResponse(
            {
                "models": self.models.models,
                "engines": self.models.engines,
                "scales": list(SCALES),
                "suffixes": [*IMAGES, *VIDEOS],
                "max_bytes": self.max_bytes,
                "limits": f"Up to {self.max_bytes >> 20} MB. Images up to "
                f"{MAX_PIXELS / 1e6:.0f} megapixels; videos up to "
                f"{LIMITS.pixels / 1e6:.0f} megapixels and {self.max_seconds:g} seconds.",
            }
        )

    async def label(self, request: Request) -> Response:
        """Receive a file and label it."""
        try:
            asked = LabelRequest.model_validate(dict(request.query_params))
        except ValidationError as error:
            first = error.errors()[0]
            return PlainTextResponse(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 400)
        folder = None
        try:
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            path = folder / file_name(asked.name)
            with path.open("wb") as file:
                async for chunk in request.stream():
                    file.write(chunk)
        except BaseException as error:
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, ClientDisconnect):
                return Response(status_code=400)  # nobody is there to read it
            if isinstance(error, OSError):
                return PlainTextResponse(explain(error, Path(asked.name)), 507)
            raise
        lines = self.lines(path, asked)
        await anext(lines)  # it has begun: however the request ends, it removes the folder
        return StreamingResponse(lines, media_type="application/octet-stream")

    async def lines(self, path: Path, asked: LabelRequest) -> AsyncIterator[bytes]:
        """Yield the progress of a file, then its result; the file's folder is removed."""
        take = partial(self.models.take, asked.model, asked.engine)
        job = Job(path, asked, take, self.max_seconds)
        future = self.worker.submit(job.run)
        self.jobs[future] = job
        running = asyncio.wrap_future(future)
        try:
            yield b""
            while not (await asyncio.wait({running}, timeout=TICK))[0]:
                yield _line(job.progress())
            if error := running.exception():
                yield _line({"error": explain(error, path)})
                return
            result = running.result()
            sizes = {name: _size(part) for name, part in result.parts.items()}
            yield _line({"facts": result.facts, "classes": result.classes, "parts": sizes})
            for part in result.parts.values():
                for chunk in _chunks(part):
                    yield chunk
        finally:
            job.stop.set()
            running.cancel()  # also a job that waits
            future.add_done_callback(lambda _: self.forget(future, path.parent))

    def forget(self, future: Future[Result], folder: Path) -> None:
        """Remove the files of a job that has ended."""
        self.jobs.pop(future, None)
        shutil.rmtree(folder, ignore_errors=True)

    def stop(self) -> bool:
        """Stop all work; return whether the worker still runs, which cannot be waited for."""
        for job in list(self.jobs.values()):
            job.stop.set()
        self.worker.shutdown(wait=False, cancel_futures=True)
        return any(future.running() for future in list(self.jobs))


async def _send_file(path: Path, _: Request) -> Response:
    return FileResponse(path)


def file_name(name: str) -> str:
    """Return the name under which an upload is kept: the last part of the user's own."""
    kept = name.replace("\\", "/").rpartition("/")[2].replace("\0", "")[-LONGEST_NAME:]
    return "upload" if kept in ("", ".", "..") else kept


def explain(error: BaseException, path: Path) -> str:
    """Return one sentence for the page, with the name of the user's file."""
    if isinstance(error, SgcpError):
        return printable(str(error).replace(str(path), path.name))
    if isinstance(error, OSError):
        place = str(error.filename)
        return printable(explain_os_error(error).replace(place, Path(place).name))
    if DEBUG_VARIABLE in os.environ:
        traceback.print_exception(error)
    return f"unexpected {type(error).__name__}; this is a bug in sgcp"


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _size(part: bytes | Path) -> int:
    return len(part) if isinstance(part, bytes) else part.stat().st_size


def _chunks(part: bytes | Path) -> Iterator[bytes]:
    with io.BytesIO(part) if isinstance(part, bytes) else part.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
