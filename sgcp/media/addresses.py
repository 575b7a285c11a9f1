"""Cameras and addresses of streams as the user writes them; passwords in them are never shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sgcp.core.errors import SgcpError, printable

SCHEMES = ("rtsp", "udp", "http", "https")
CAMERA = "camera:"


@dataclass(frozen=True)
class Stream:
    """A camera, ``camera:0``, or the address of a stream."""

    address: str = field(repr=False)
    """As the user wrote it, perhaps with a password."""

    @property
    def scheme(self) -> str:
        """Rtsp, udp or http, which includes https; empty of a camera."""
        scheme = self.address.partition("://")[0].lower()
        return "" if self.is_camera else scheme.removesuffix("s")

    @property
    def is_camera(self) -> bool:
        """Whether it is a device of this machine."""
        return self.address.lower().startswith(CAMERA)

    def __str__(self) -> str:
        """Return the address without user, password, and the values of parameters."""
        if self.is_camera:
            return printable(self.address.lower())
        scheme, _, rest = self.address.partition("://")
        if _has_split_password(rest):
            return f"{scheme.lower()}://..."
        place, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
        path = re.sub(r"[=@][^/&;]*", "=...", path)
        return printable(f"{scheme.lower()}://{place.rpartition('@')[2]}{slash}{path}")

    @property
    def stem(self) -> str:
        """A name for files: ``camera-0``, ``192.168.1.20-8554-street``."""
        words = re.findall(r"[\w.]+", str(self).partition("://")[2] or str(self), re.ASCII)
        return "-".join(words).strip(".")[:80] or self.scheme


def _has_split_password(rest: str) -> bool:
    """Return whether what follows ``://`` ends its host within a password: ``me:a/b@host``."""
    host, *path = re.split(r"[/?#]", rest, maxsplit=1)
    return "@" not in host and "@" in "".join(path)


def parse_stream(text: str) -> Stream | None:
    """Return the stream that an argument names; None if it is a path.

    Raises:
        SgcpError: an address without a host, or of a scheme that is not read.
    """
    if text.lower().startswith(CAMERA):
        return Stream(text)
    scheme = re.match(r"([a-z][a-z0-9+.-]+)://", text, re.IGNORECASE)
    if not scheme:
        return None
    stream = Stream(text)
    if scheme[1].lower() not in SCHEMES:
        kinds = ", ".join(f"{kind}://" for kind in SCHEMES)
        raise SgcpError(f"{stream}: not a stream that is read; expected {kinds} or camera:N")
    if _has_split_password(text.partition("://")[2]):
        raise SgcpError(
            f"{stream}: has an @ behind its host. In a password write / ? # @ as %2F %3F %23 %40, "
            "in a path @ as %40"
        )
    try:
        host = urlsplit(text).port is not None or urlsplit(text).hostname
    except ValueError:
        host = None
    if not host:
        raise SgcpError(f"{stream}: not an address; expected {scheme[1].lower()}://HOST:PORT/PATH")
    return stream


def find_stream(arguments: Sequence[str]) -> Stream | None:
    """Return the stream among arguments; None if all are paths.

    Raises:
        SgcpError: a stream beside other arguments, or as ``parse_stream``.
    """
    streams = [stream for stream in map(parse_stream, arguments) if stream]
    if streams and len(arguments) > 1:
        raise SgcpError(f"{streams[0]}: a stream is played alone. Run the command once for each")
    return streams[0] if streams else None
