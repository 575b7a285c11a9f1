"""Where the files of an archive or folder belong in the raw data."""

from collections.abc import Callable
from pathlib import Path

from sgcp.errors import SgcpError, printable

Placement = Callable[[str], Path | None]  # a file's name -> where it belongs, None: not needed


class OnlyOnce:
    """A placement that refuses a second file for one place, from whichever source.

    Raises:
        SgcpError: when called with a second such name, or one that no index can hold.
    """

    def __init__(self, place: Placement) -> None:
        self.place = place
        self.taken: dict[Path, str] = {}
        self.skipped: list[str] = []
        """Names that have no place, to be looked at where something is missing."""

    def __call__(self, name: str) -> Path | None:
        """Return where a file belongs, None if it is not needed."""
        target = self.place(name)
        if target is None:
            self.skipped.append(name)
            return None
        if "\n" in name or printable(name) != name:
            raise SgcpError(f"{name!r}: rename it, it holds control characters or is no UTF-8")
        if target in self.taken:
            raise SgcpError(
                f"{name!r} and {self.taken[target]!r} are the same file {target}; give each file "
                "once"
            )
        self.taken[target] = name
        return target
