"""``sgcp demo``: a local page that segments images, videos and the camera. Needs no project."""

import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.extras import require
from sgcp.core.machine import return_freed_memory
from sgcp.core.terminal import answer, say
from sgcp.demo.model_cache import ModelCache, offered_models
from sgcp.demo.server import address_of, is_everywhere, listen, serve, temporary_folder
from sgcp.inference.segmenter import choose_device

MAX_MEGABYTES = 4096


def demo(
    given: Sequence[str],
    project: Path | None,
    accelerator: str,
    host: str,
    port: int,
    max_megabytes: int,
    max_seconds: float,
    open_browser: bool,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        given: models that the user named, as ``sgcp.load`` takes them.
        project: root of the current project, if any.
        port: 0 takes a free one.
        max_megabytes: of a dropped file.
        max_seconds: of a video.

    Raises:
        SgcpError: a package or a model is missing, an option is wrong, or the port is taken.
    """
    if not 0 <= port <= 65535:
        raise SgcpError(f"--port: expected 0 .. 65535, got {port}")
    if not 1 <= max_megabytes <= MAX_MEGABYTES:
        raise SgcpError(f"--max-megabytes: expected 1 .. {MAX_MEGABYTES}, got {max_megabytes}")
    if not 0 < max_seconds < float("inf"):
        raise SgcpError(f"--max-seconds: expected more than 0, got {max_seconds}")
    for module in ("starlette", "uvicorn", "av"):
        require(module, "sgcp demo")
    models = ModelCache(offered_models(given, project), choose_device(accelerator))
    busy = False
    with listen(host, port) as listening, suppress(KeyboardInterrupt), temporary_folder() as folder:
        return_freed_memory()
        from sgcp.demo.app import Demo

        max_bytes = max_megabytes * 2**20
        page = Demo(models, folder, max_bytes, max_seconds)
        address = address_of(host, listening)
        answer(f"{address} segments images, videos and the camera; Ctrl-C ends it")
        if is_everywhere(listening):
            answer("other machines reach it by this machine's address in the network")
        if open_browser:
            threading.Timer(0.5, webbrowser.open, [address]).start()
        try:
            serve(page.app(), listening, host, max_bytes)
        finally:
            busy = page.stop()
    say("ended; dropped files are removed")
    if busy:  # a running network cannot be stopped, and Python would wait for its thread
        sys.stdout.flush()
        os._exit(0)
