"""A local server that answers as it is told, byte for byte."""

import itertools
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

USER, PASSWORD = "ada@example.org", "correct horse"


def answer(body: bytes, status: str = "200 OK", length: object = ..., **headers) -> bytes:
    """Return one HTTP answer, as wrong as its headers say."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length is ... else length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@contextmanager
def serving(*answers: bytes | Iterable[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Give each connection the next answer, the last one again and again, byte for byte.

    Yields:
        The address, and the requests so far.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    script = itertools.chain(answers, itertools.repeat(answers[-1]))
    requested: list[bytes] = []

    def serve() -> None:
        for reply in script:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            with connection:
                head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
                if length := re.search(rb"Content-Length: (\d+)", head):
                    while len(body) < int(length[1]):  # of a form
                        body += connection.recv(65536)
                requested.append(head + b"\r\n\r\n" + body)
                pieces = [reply] if isinstance(reply, bytes) else reply
                try:
                    for piece in pieces:
                        connection.sendall(piece.replace(b"ADDRESS", address.encode()))
                except OSError:  # the other side has had enough
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield address, requested
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
