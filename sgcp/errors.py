"""The one error that a user is meant to read, and text that can be shown."""

import re


class SgcpError(Exception):
    """Something the user can mend: the message says what was wrong, where, and what to do."""


def printable(text: object) -> str:
    r"""Return text that every terminal and file takes: what is no character becomes ``\xff``.

    File names are bytes; those that are no UTF-8, and control characters, would end the message or
    repaint the screen.
    """
    clean = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", lambda m: f"\\x{ord(m[0]):02x}", clean)
