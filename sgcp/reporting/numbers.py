"""Numbers as people read them; a dash where there is none."""

import math
from typing import Any

NONE = "-"


def to_number(value: Any) -> float | None:
    """Return a finite number, or None for what a table or JSON has in its place."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def percent(share: Any, digits: int = 2) -> str:
    """Write a share in per cent, without the sign: ``0.5`` is ``50.00``."""
    number = to_number(share)
    return NONE if number is None else f"{100 * number:.{digits}f}"


def per_cent(share: Any) -> float | None:
    """Return a share in per cent for a table, to two decimals."""
    number = to_number(share)
    return None if number is None else round(100 * number, 2)


def points(share: Any, other: Any) -> str:
    """Write how far a share is above another, in percentage points: ``+1.20``."""
    one, two = to_number(share), to_number(other)
    return NONE if one is None or two is None else f"{100 * (one - two):+.2f}"


def file_size(size: int) -> str:
    """Write a number of bytes in the unit that suits it."""
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"
