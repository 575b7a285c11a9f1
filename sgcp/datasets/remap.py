"""Labels of one numbering to those of another, by a table with an entry for each value."""

import numpy as np
from numpy.typing import NDArray

from sgcp.datasets.images import UInt8

UNLISTED = 254  # marks a colour or id that no table names


def color_code(red: int, green: int, blue: int) -> int:
    """Return a colour as one number of 24 bits."""
    return red << 16 | green << 8 | blue


def color_codes(rgb: UInt8) -> NDArray[np.intp]:
    """Return the number of each colour of a picture (H, W, 3): (H, W)."""
    # In place, and of numpy's own index type: half the time, as benchmarks/camvid_remap.py shows.
    codes = rgb[..., 0].astype(np.intp)
    for channel in (1, 2):
        codes <<= 8
        codes |= rgb[..., channel]
    return codes
