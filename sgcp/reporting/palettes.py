"""Colours of classes: the official ones, and others that the colour-blind tell apart.

Okabe and Ito's eight colours are too few for Cityscapes' 19 classes, so the safe ones are computed:
of all colours of a grid, always the one that is furthest from those taken already, as trichromats
and as each of three kinds of dichromats see it. Whatever the number of classes, the first ones are
the most different. Nobody tells 19 colours apart by memory: pages name the classes as well.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sgcp.datasets.classes import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgcp.datasets.classes import SemanticClass
    from sgcp.media.images import UInt8

Float = NDArray[np.float64]

# Linear RGB as it looks to those who lack one kind of cone: Machado, Oliveira and Fernandes, "A
# Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE TVCG 15(6), 2009,
# severity 1.0.
SIGHTS: dict[str, Float] = {
    "trichromacy": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
# Ottosson, "A perceptual color space for image processing", 2020: linear RGB to cones, and the cube
# roots of those to OKLab. CSS Color 4 takes 0.02 there as a just noticeable difference.
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)

# Of Okabe and Ito's, those with a contrast of 3 to 1 on a white page and on a dark one: for the
# lines and bars of charts.
SERIES = ("#0072b2", "#d55e00", "#009e73")

GRID = 17  # steps between the levels of a channel: 16 of them
DARKEST = 0.33  # OKLab's lightness; below, colours look like the black of what is ignored
# To begin with; of the starts on the grid, one of the few that leave both 11 and 19 far apart.
FIRST = (255, 34, 17)


def official(classes: Sequence[SemanticClass]) -> UInt8:
    """Return the colours that the dataset publishes, (K, 3) uint8, in order of train id."""
    return np.array([item.color for item in classes], dtype=np.uint8)


@cache
def safe(count: int) -> UInt8:
    """Return colours (K, 3) uint8 that stay apart for the colour-blind, none of them near black.

    The least distance of any two, and of each to black, is 0.127 in OKLab for 11 and 0.090 for 19
    classes, in the worst of four sights; the official colours have 0.029 and 0.017.

    Args:
        count: K, up to a few hundred; fewer are a part of more.
    """
    levels = range(0, 256, GRID)
    colors = np.array(list(product(levels, repeat=3)), dtype=np.uint8)
    seen = appearance(colors)  # (G, 4, 3)
    taken = [colors.tolist().index(list(FIRST))]
    nearest = np.minimum(_distance(seen, seen[0]), _distance(seen, seen[taken[0]]))
    nearest[seen[:, 0, 0] < DARKEST] = 0
    while len(taken) < count:
        taken.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, _distance(seen, seen[taken[-1]]))
    chosen: UInt8 = colors[taken[:count]]
    chosen.flags.writeable = False  # it is kept and handed out again
    return chosen


def lookup(colors: UInt8) -> UInt8:
    """Return a table (256, 3) that paints train ids: ``lookup(safe(19))[label]``; 255 is black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: min(len(colors), IGNORE)] = colors[:IGNORE]
    return table


def appearance(colors: UInt8) -> Float:
    """Return what colours (K, 3) look like to each of ``SIGHTS``, in OKLab: (K, 4, 3)."""
    share = colors / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)  # IEC sRGB
    seen = np.stack([linear @ sight.T for sight in SIGHTS.values()], axis=1).clip(0, 1)
    lab: Float = np.cbrt(seen @ TO_CONES.T) @ TO_OKLAB.T
    return lab


def least_distance(colors: UInt8) -> float:
    """Return how far apart, in OKLab, the two most alike of (K, 3) are, in the worst sight."""
    seen = appearance(colors)
    between = [_distance(seen[place + 1 :], one) for place, one in enumerate(seen[:-1])]
    return float(np.concatenate(between).min())


def _distance(seen: Float, one: Float) -> Float:
    """Return each appearance's (K, 4, 3) distance from one (4, 3), in the worst sight: (K,)."""
    distance: Float = np.linalg.norm(seen - one, axis=-1).min(axis=-1)
    return distance
