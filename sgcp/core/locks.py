"""One writer at a time: a lock that ends with its process and the workers that it forked."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sgcp.core.errors import SgcpError

PATIENCE = 10.0  # seconds to wait for another process that writes the same
LOCK = ".lock"


class HeldError(SgcpError):
    """Another process writes there."""


@contextmanager
def only_writer(target: Path, patience: float | None = None) -> Iterator[None]:
    """Hold ``target`` for this process and the workers that it forks.

    A killed run's workers may live on for a moment; until they are gone, a new run waits. The lock
    is an empty file beside ``target``, which stays there.

    Args:
        patience: seconds to wait for another process; None: ``PATIENCE``.

    Raises:
        HeldError: it is still held then.
    """
    path = target.with_name(f".{target.name}{LOCK}")
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + (PATIENCE if patience is None else patience)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise HeldError(
                    f"{target}: another sgcp is writing there; wait for it, or stop it "
                    f"(`fuser {path}` tells its process)"
                )
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Some network file systems have no locks; then there is none to wait for.
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
    return True
