"""What engines keep in the user's cache: graphs, compiled graphs, and the fastest precisions."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

from sgcp.core.environment import cache_folder
from sgcp.core.files import write_bytes

CHECKSUM = 32  # bytes
KEPT = 32  # files of a kind; graphs have 2 or 3 MB each


def read_cached(kind: str, key: str) -> bytes | None:
    """Return what is kept, unless there is none or its checksum, the first bytes, is wrong."""
    with suppress(OSError):
        file = cache_folder() / kind / key
        content = file.read_bytes()
        if content[:CHECKSUM] == hashlib.sha256(content[CHECKSUM:]).digest():
            with suppress(OSError):  # of another user
                os.utime(file)
            return content[CHECKSUM:]
    return None


def write_cached(kind: str, key: str, content: bytes) -> None:
    """Keep content, and of the others those used last; nothing where that cannot be written."""
    folder = cache_folder() / kind
    with suppress(OSError):
        write_bytes(folder / key, hashlib.sha256(content).digest() + content)
        by_age = sorted(folder.iterdir(), key=lambda old: old.stat().st_mtime)
        for old in by_age[:-KEPT]:
            old.unlink(missing_ok=True)
