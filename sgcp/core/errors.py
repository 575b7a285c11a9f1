"""The one error that a user is meant to read, and text that can be shown."""

import errno
from collections.abc import Iterable, Sequence


class SgcpError(Exception):
    """Something the user can mend: the message says what was wrong, where, and what to do."""


def printable(text: object) -> str:
    r"""Return text that every terminal and file takes: what cannot be shown becomes ``\x1b``.

    File names are bytes; those that are no UTF-8, and control characters, would end the message or
    repaint the screen. Line ends stay.
    """
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode()
        for c in str(text)
    )


def encodable(text: str, encoding: str) -> str:
    r"""Return text with what an encoding lacks escaped: a class named in Chinese as ``\u8def``."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def first_lines(things: Sequence[object], most: int, indent: str = "") -> str:
    """Return the first few things, a line each, and a last line with the number of the rest."""
    more = [f"... and {len(things) - most} more"] if len(things) > most else []
    return "\n".join(f"{indent}{thing}" for thing in [*things[:most], *more])


def shorten(things: Iterable[object], most: int = 3) -> str:
    """Return the first few things and the number of the rest: ``a, b, c and 135 more``."""
    names = list(map(str, things))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


DEBUG_VARIABLE = "SGCP_DEBUG"


def explain_os_error(error: OSError) -> str:
    """Say what the system refused and what to do; disks fill and folders are read-only."""
    advice = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some space",
        errno.EFBIG: "the file system or a limit forbids files of this size",
        errno.EACCES: "check the permissions",
        errno.EROFS: "the file system is read-only",
        errno.ENAMETOOLONG: "give a shorter one",
    }.get(error.errno or 0)
    problem = (f"{error.filename}: " if error.filename else "") + (error.strerror or str(error))
    return f"{problem}; {advice} and run the command again" if advice else problem
