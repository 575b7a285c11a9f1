"""Receive uploads into unnamed files, so that a broken connection leaves nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from gradio_client.utils import strip_invalid_filename_characters
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from sgcp.core.errors import explain_os_error
from sgcp.demo.access_middleware import API

MAX_FILES = 16  # of one request; the page sends one
PROGRESS = 'data: {"msg": "done"}\n\n'


def upload_routes(folder: Path, received: Callable[[str], None]) -> list[BaseRoute]:
    """Return routes that replace Gradio's, which leave files of broken uploads.

    Args:
        folder: of complete uploads.
        received: called with the path of each.
    """

    async def upload(request: Request) -> Response:
        try:
            async with request.form(max_files=MAX_FILES, max_fields=MAX_FILES) as form:
                files = [file for file in form.getlist("files") if isinstance(file, UploadFile)]
                paths = [await run_in_threadpool(_keep, file, folder) for file in files]
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except HTTPException as error:
            return PlainTextResponse(error.detail, 400)
        except OSError as error:
            return PlainTextResponse(explain_os_error(error), 507)
        if not paths:
            return PlainTextResponse("no file: expected multipart/form-data with files", 400)
        for path in paths:
            received(path)
        return JSONResponse(paths)

    async def progress(request: Request) -> Response:
        return PlainTextResponse(PROGRESS, media_type="text/event-stream")

    return [
        Route(f"{API}/upload", upload, methods=["POST"]),
        Route(f"{API}/upload_progress", progress),
    ]


def _keep(file: UploadFile, folder: Path) -> str:
    """Copy an upload into a folder of its own; return its path."""
    name = strip_invalid_filename_characters(Path(file.filename or "").name)
    own = Path(tempfile.mkdtemp(dir=folder))
    path = own / ("upload" if name in ("", ".", "..") else name)
    try:
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target)
    except BaseException:
        shutil.rmtree(own, ignore_errors=True)
        raise
    return str(path)
