"""``sgcp demo``: a local page that segments images, videos and the camera. Needs no project."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.extras import require
from sgcp.core.machine import return_freed_memory
from sgcp.core.terminal import answer, say
from sgcp.demo.model_cache import ModelCache, offered_models
from sgcp.demo.server import (
    address_of,
    is_everywhere,
    listen,
    serve,
    temporary_folder,
)
from sgcp.inference.segmenter import choose_device

MAX_MEGABYTES = 4096


@dataclass(frozen=True)
class Options:
    """Address of the page, and limits of dropped files."""

    host: str = "127.0.0.1"
    port: int = 7860
    """0: a free one."""
    max_megabytes: int = 200
    """Of a file."""
    max_seconds: float = 120
    """Of a video."""
    open_browser: bool = False


def demo(given: Sequence[str], project: Path | None, accelerator: str, options: Options) -> None:
    """Serve the page until Ctrl-C.

    Args:
        given: models that the user named, as ``sgcp.load`` takes them.
        project: root of the current project, if any.

    Raises:
        SgcpError: a package or a model is missing, an option is wrong, or the port is taken.
    """
    _check(options)
    for module in ("starlette", "uvicorn", "av"):
        require(module, "sgcp demo")
    models = ModelCache(offered_models(given, project), choose_device(accelerator))
    busy = False
    with (
        listen(options.host, options.port) as listening,
        suppress(KeyboardInterrupt),
        temporary_folder() as folder,
    ):
        return_freed_memory()
        from sgcp.demo.app import Demo

        max_bytes = options.max_megabytes * 2**20
        page = Demo(models, folder, max_bytes, options.max_seconds)
        address = address_of(options.host, listening)
        answer(f"{address} segments images, videos and the camera; Ctrl-C ends it")
        if is_everywhere(listening):
            answer("other machines reach it by this machine's address in the network")
        if options.open_browser:
            threading.Timer(0.5, webbrowser.open, [address]).start()
        try:
            serve(page.app(), listening, options.host, max_bytes)
        finally:
            busy = page.stop()
    say("ended; dropped files are removed")
    if busy:  # a running network cannot be stopped, and Python would wait for its thread
        sys.stdout.flush()
        os._exit(0)


def _check(options: Options) -> None:
    if not 0 <= options.port <= 65535:
        raise SgcpError(f"--port: expected 0 .. 65535, got {options.port}")
    if not 1 <= options.max_megabytes <= MAX_MEGABYTES:
        got = options.max_megabytes
        raise SgcpError(f"--max-megabytes: expected 1 .. {MAX_MEGABYTES}, got {got}")
    if not 0 < options.max_seconds < float("inf"):
        raise SgcpError(f"--max-seconds: expected more than 0, got {options.max_seconds}")
