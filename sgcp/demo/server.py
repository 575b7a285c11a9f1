"""Serve the page until Ctrl-C."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

from sgcp.core.errors import SgcpError

GRACE = 1  # seconds that open connections are given at the end
BACKLOG = 64


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 is any that is free.

    Raises:
        SgcpError: the port is taken, not allowed, or the host is none of this machine's.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, proto)
    except (OSError, UnicodeError) as error:
        raise SgcpError(f"--host: '{host}' is no address of this machine ({error})") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise SgcpError(
                f"--port: {port} is taken by another program; --port 0 takes any that is free"
            ) from None
        what = f"--host {host} --port {port}"
        raise SgcpError(f"{what}: cannot listen there ({error.strerror or error})") from None
    return listening


def is_everywhere(listening: socket.socket) -> bool:
    """Tell whether a socket listens on all of this machine's addresses: 0.0.0.0 or ::."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_unspecified


def address_of(host: str, listening: socket.socket) -> str:
    """Return the address to type into a browser, on this machine."""
    if is_everywhere(listening):
        host = "127.0.0.1"  # what stands for all addresses is none that a browser can open
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}/"


def prepare_gradio(folder: Path) -> None:
    """Set what Gradio reads when it is imported: no word to its makers, files in our folder."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["HF_HUB_OFFLINE"] = "1"


def serve(page: Any, listening: socket.socket, host: str, most_bytes: int, folder: Path) -> None:
    """Serve until Ctrl-C or SIGTERM, and then end within moments.

    Args:
        host: as the user named it.
        most_bytes: of one upload.
        folder: that of ``prepare_gradio``; only its files are served.

    Raises:
        KeyboardInterrupt: that is how it ends.
    """
    import gradio
    import uvicorn
    from fastapi import FastAPI

    from sgcp.demo.access_middleware import Gate
    from sgcp.demo.page import is_call
    from sgcp.demo.style import CSS, theme
    from sgcp.demo.uploads import upload_routes

    routes = upload_routes(folder, page.upload_file_set.add)  # Gradio removes them when old
    app = gradio.mount_gradio_app(
        FastAPI(openapi_url=None, routes=routes), page, "/", footer_links=[], run_history=False,
        show_error=True, max_file_size=most_bytes, ssr_mode=False, enable_monitoring=False,
        mcp_server=False,
        pwa=False, theme=theme(), css=CSS, app_kwargs={"openapi_url": None},
    )  # fmt: skip
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # of malformed uploads
    gate = Gate(app, host, most_bytes, folder, partial(is_call, page))
    config = uvicorn.Config(
        gate, log_config=None, log_level="critical", access_log=False,
        proxy_headers=False, server_header=False, ws="none", timeout_graceful_shutdown=GRACE,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listening])
