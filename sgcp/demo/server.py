"""Serve the page until Ctrl-C, with a temporary folder of its own."""

import errno
import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.files import try_lock
from sgcp.demo.access_middleware import AccessMiddleware, App

GRACE = 1  # seconds for open connections at the end
BACKLOG = 64
CONNECTIONS = 64  # at once; a tab has a few
PREFIX = "sgcp-demo-"  # of the temporary folder


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        SgcpError: the port is taken or not allowed, or the host is not an address of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise SgcpError(f"--host: '{host}' is not an address of this machine ({error})") from None
    dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # :: means 0.0.0.0 too
    try:
        return socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SgcpError(
                f"--port: {port} is taken by another program. --port 0 takes a free one"
            ) from None
        what = f"--host {host} --port {port}"
        raise SgcpError(f"{what}: cannot listen there ({error.strerror or error})") from None


def is_everywhere(listening: socket.socket) -> bool:
    """Return whether a socket listens on all addresses of this machine: 0.0.0.0 or ::."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_unspecified


def address_of(host: str, listening: socket.socket) -> str:
    """Return the address for a browser on this machine."""
    if is_everywhere(listening):
        host = "127.0.0.1"  # a browser cannot open 0.0.0.0
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}/"


def serve(app: App, listening: socket.socket, host: str, max_bytes: int) -> None:
    """Serve until Ctrl-C or SIGTERM, then raise KeyboardInterrupt within moments.

    Args:
        app: an ASGI application.
        host: as the user gave it.
        max_bytes: of one upload.
    """
    import uvicorn

    config = uvicorn.Config(
        AccessMiddleware(app, host, max_bytes), log_config=None, log_level="critical",
        access_log=False, proxy_headers=False, server_header=False, ws="none", lifespan="off",
        timeout_graceful_shutdown=GRACE, limit_concurrency=CONNECTIONS,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder for this user only; remove it at the end, and those of killed servers now.

    A server locks its folder, and the system releases the lock however the server ends.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_unlocked(left)
    folder, descriptor = _make_locked()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _make_locked() -> tuple[Path, int]:
    while True:  # until no other starting server has removed the folder before it was locked
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            if try_lock(descriptor) is not False and folder.exists():
                return folder, descriptor
            os.close(descriptor)


def _remove_unlocked(folder: Path) -> None:
    with suppress(OSError):  # another user's, or just removed
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_uid == os.geteuid() and try_lock(descriptor):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)
