"""``sgcp demo``: a page on this machine that labels what is dropped on it. Needs no project."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.memory import return_freed_memory
from sgcp.core.terminal import answer, say
from sgcp.demo.folder import custom_folder
from sgcp.demo.model_cache import ModelCache, offered_models
from sgcp.demo.server import address_of, is_everywhere, listen, prepare_gradio, serve
from sgcp.inference.segmenter import choose_device

INSTALL = "pip install -c constraints.txt -e '.[demo]'"
MOST_MEGABYTES = 4096


@dataclass(frozen=True)
class Options:
    """Where the page is, and what may be dropped on it."""

    host: str = "127.0.0.1"
    port: int = 7860
    """0: any that is free."""
    max_megabytes: int = 200
    """Of one file."""
    max_seconds: float = 120
    """Of one video."""
    open_browser: bool = False

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            SgcpError: a number is out of range.
        """
        if not 0 <= self.port <= 65535:
            raise SgcpError(f"--port: 0 .. 65535, got {self.port}")
        if not 1 <= self.max_megabytes <= MOST_MEGABYTES:
            raise SgcpError(f"--max-megabytes: 1 .. {MOST_MEGABYTES}, got {self.max_megabytes}")
        if not 0 < self.max_seconds < float("inf"):
            raise SgcpError(f"--max-seconds: more than 0, got {self.max_seconds}")


def bounds_of(options: Options) -> str:
    """Return in words what may be dropped on the page."""
    from sgcp.demo.images import MOST_PIXELS
    from sgcp.demo.videos import LIMITS

    return (
        f"Up to {options.max_megabytes} MB. Images up to {MOST_PIXELS / 1e6:.0f} megapixels; "
        f"videos up to {LIMITS.pixels / 1e6:.0f} megapixels and {options.max_seconds:g} seconds."
    )


def demo(given: Sequence[str], project: Path | None, accelerator: str, options: Options) -> None:
    """Serve the page until Ctrl-C.

    Args:
        given: models that the user named; as ``sgcp.load`` takes them.
        project: the root of the project one stands in, if any.

    Raises:
        SgcpError: Gradio is not installed, an option is wrong, a model is missing, or the port is
            taken.
    """
    options.check()
    if find_spec("gradio") is None:
        raise SgcpError(f"sgcp demo needs Gradio, which is not installed; {INSTALL}")
    shelf = ModelCache(offered_models(given, project), choose_device(accelerator))
    busy = False
    with (
        listen(options.host, options.port) as listening,
        suppress(KeyboardInterrupt),
        custom_folder() as folder,
    ):
        return_freed_memory()
        prepare_gradio(folder)
        from sgcp.demo.actions import Actions
        from sgcp.demo.page import build_page

        actions = Actions(shelf, folder, options.max_seconds)
        page = build_page(actions, bounds_of(options))
        address = address_of(options.host, listening)
        answer(f"{address} labels what is dropped on it; Ctrl-C ends it")
        if is_everywhere(listening):
            answer("other machines open it too, by this machine's address in the network")
        if options.open_browser:
            threading.Timer(0.5, webbrowser.open, [address]).start()
        try:
            most_bytes = options.max_megabytes * 2**20
            serve(page, listening, options.host, most_bytes, folder)
        finally:
            actions.stop()
            busy = actions.busy
    say("ended; what was dropped on the page is removed")
    if busy:  # a thread inside a network cannot be stopped, and Python would wait for it
        sys.stdout.flush()
        os._exit(0)
