"""Where the files of an archive or folder belong in the raw data."""

from collections.abc import Callable
from pathlib import Path

from sgcp.errors import SgcpError, printable

Placement = Callable[[str], Path | None]  # a file's name -> where it belongs, None: not needed


def only_once(place: Placement) -> Placement:
    """Wrap a placement so that a second file for one place is refused, from whichever source.

    Raises:
        SgcpError: when called with a second such name, or one that no index can hold.
    """
    taken: dict[Path, str] = {}

    def checked(name: str) -> Path | None:
        target = place(name)
        if target is None:
            return None
        if "\n" in name or printable(name) != name:
            raise SgcpError(f"{name!r}: rename it, it holds control characters or is no UTF-8")
        if target in taken:
            raise SgcpError(
                f"{name!r} and {taken[target]!r} are the same file {target}; give each file once"
            )
        taken[target] = name
        return target

    return checked
