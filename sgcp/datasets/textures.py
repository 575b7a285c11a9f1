"""Textures of the sample's street scenes: pattern tells the class, colour does not.

Each texture takes a generator, a size (h, w) and the length of one unit, and returns (h, w, 3)
float32 in about [0, 255].
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Patch = NDArray[np.float32]
Mask = NDArray[np.bool_]
Texture = Callable[[np.random.Generator, tuple[int, int], float], Patch]


def flat(
    rng: np.random.Generator, size: tuple[int, int], low: float = 50, high: float = 190
) -> Patch:
    """Fill with one greyish colour."""
    color = rng.uniform(low, high) + rng.uniform(-35, 35, 3)
    return np.broadcast_to(color.astype(np.float32), (*size, 3)).copy()


def _grain(rng: np.random.Generator, size: tuple[int, int], cell: float, strength: float) -> Patch:
    """Return smooth noise (h, w, 1) with features ``cell`` pixels wide."""
    small = (max(2, round(size[1] / cell)), max(2, round(size[0] / cell)))
    noise = Image.fromarray(rng.normal(0, strength, small[::-1]).astype(np.float32))
    return np.asarray(noise.resize((size[1], size[0]), Image.Resampling.BILINEAR))[..., None]


def grid(size: tuple[int, int]) -> tuple[Patch, Patch]:
    """Return row and column numbers, (h, 1) and (1, w)."""
    rows = np.arange(size[0], dtype=np.float32)[:, None]
    return rows, np.arange(size[1], dtype=np.float32)[None, :]


def _inlay(patch: Patch, mask: Mask, rng: np.random.Generator, contrast: float = 60) -> Patch:
    """Darken or brighten the masked pixels."""
    mean = float(patch.mean())
    shift = contrast if mean < 110 else -contrast
    patch[np.broadcast_to(mask, patch.shape[:2])] += shift + rng.uniform(-10, 10, 3)
    return patch


def sky(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """A smooth gradient."""
    rows, _ = grid(size)
    patch = flat(rng, size, 110, 200)
    return patch + (rows / size[0] * rng.uniform(-40, 40))[..., None].astype(np.float32)


def building(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """A grid of windows."""
    rows, columns = grid(size)
    step_y, step_x = rng.uniform(14, 22) * unit, rng.uniform(11, 18) * unit
    windows = (rows % step_y > 0.4 * step_y) & (columns % step_x > 0.45 * step_x)
    return _inlay(flat(rng, size), windows, rng, rng.uniform(35, 70))


def leaves(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Strong blotches."""
    return flat(rng, size) + _grain(rng, size, 4 * unit, 38) + _grain(rng, size, 9 * unit, 20)


def grass(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Fine vertical streaks."""
    streaks = np.repeat(rng.normal(0, 26, (size[0] // 6 + 1, size[1])), 6, axis=0)[: size[0]]
    return flat(rng, size) + streaks[..., None].astype(np.float32)


def asphalt(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Nearly plain, with dashes down the middle."""
    rows, columns = grid(size)
    patch = flat(rng, size) + _grain(rng, size, 2 * unit, 6)
    dashes = (np.abs(columns - size[1] / 2) < 2 + rows / size[0] * 4) & (rows % 28 < 16)
    return _inlay(patch, dashes, rng, 70)


def paving(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Square slabs with dark joints."""
    rows, columns = grid(size)
    step = rng.uniform(8, 12) * unit
    return _inlay(flat(rng, size), (rows % step < 2 * unit) | (columns % step < 2 * unit), rng, 45)


def bricks(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Courses of bricks, each shifted by half a brick."""
    rows, columns = grid(size)
    tall, wide = 6 * unit, 14 * unit
    shifted = columns + (rows // tall % 2) * wide / 2
    return _inlay(flat(rng, size), (rows % tall < 1.6 * unit) | (shifted % wide < 1.6 * unit), rng)


def bars(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Upright bars under two rails."""
    rows, columns = grid(size)
    rails = (np.abs(rows - size[0] * 0.2) < 2 * unit) | (np.abs(rows - size[0] * 0.8) < 2 * unit)
    return _inlay(flat(rng, size), (columns % (8 * unit) < 3.5 * unit) | rails, rng, 80)


def metal(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """A round bar's shading, dark to bright and back across the width."""
    _, columns = grid(size)
    shade = np.sin((columns + 0.5) / size[1] * np.pi) * 60 - 30
    return flat(rng, size, 40, 160) + shade[..., None].astype(np.float32)


def emblem(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Rings of contrast around a centre."""
    rows, columns = grid(size)
    radius = np.hypot((rows / size[0] - 0.5) * 2, (columns / size[1] - 0.5) * 2)
    return _inlay(flat(rng, size), (radius < 0.35) | (radius > 0.7), rng, 95)


def lamps(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Three discs, one of them lit."""
    rows, columns = grid(size)
    patch = flat(rng, size, 30, 150)
    lit = rng.integers(0, 3)
    for position in range(3):
        centre = size[0] * (position + 0.5) / 3
        disc = np.hypot(rows - centre, columns - size[1] / 2) < min(size[1] * 0.38, size[0] / 7)
        patch[disc] += 120 if position == lit else -40
    return patch


def stripes(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Slanted bands, as on a rider's jacket."""
    rows, columns = grid(size)
    return _inlay(flat(rng, size), (rows + columns) % (9 * unit) < 4.5 * unit, rng, 75)


def clothes(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Head, coat and trousers of three tones."""
    rows, _ = grid(size)
    patch = flat(rng, size)
    patch[np.broadcast_to(rows < 0.17 * size[0], size)] = flat(rng, (1, 1), 130, 200)[0, 0]
    return _inlay(patch, np.broadcast_to(rows > 0.55 * size[0], size), rng, 65)


def _wheels(patch: Patch, radius: float, rng: np.random.Generator, spokes: bool = False) -> Patch:
    """Draw two wheels at the foot of a vehicle."""
    rows, columns = grid((patch.shape[0], patch.shape[1]))
    tone = rng.uniform(10, 60)
    for x in (0.22, 0.78):
        distance = np.hypot(rows - (patch.shape[0] - radius), columns - x * patch.shape[1])
        tyre = (distance < radius) & ((distance > 0.7 * radius) if spokes else True)
        patch[tyre] = tone
    return patch


def car(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """A window band over two wheels."""
    rows, columns = grid(size)
    band = (rows > 0.1 * size[0]) & (rows < 0.42 * size[0]) & (columns % (size[1] / 3) > 4 * unit)
    patch = _inlay(flat(rng, size), band, rng, 85)
    return _wheels(patch, 0.24 * size[0], rng)


def truck(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """A plain box with upright ribs, wheels under it."""
    _, columns = grid(size)
    patch = _inlay(flat(rng, size), columns % (13 * unit) < 2.5 * unit, rng, 45)
    return _wheels(patch, 0.16 * size[0], rng)


def bus(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """One row of large windows."""
    rows, columns = grid(size)
    step = 18 * unit
    row = (rows > 0.15 * size[0]) & (rows < 0.5 * size[0]) & (columns % step > 4 * unit)
    return _wheels(_inlay(flat(rng, size), row, rng, 90), 0.15 * size[0], rng)


def train(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Stripes along the whole length, small round windows above."""
    rows, columns = grid(size)
    patch = _inlay(
        flat(rng, size), (rows > 0.5 * size[0]) & (rows % (8 * unit) < 4 * unit), rng, 80
    )
    ports = np.hypot(rows - 0.28 * size[0], columns % (14 * unit) - 7 * unit) < 4.5 * unit
    return _inlay(patch, ports, rng, 80)


def spokes(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Two open wheels and a thin frame."""
    rows, columns = grid(size)
    patch = _wheels(flat(rng, size, 90, 190), 0.3 * size[0], rng, spokes=True)
    frame = np.abs(rows - size[0] * (0.25 + 0.5 * columns / size[1])) < 2 * unit
    return _inlay(patch, frame, rng, 80)


def engine(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Patch:
    """Two solid wheels and a checkered block between them."""
    rows, columns = grid(size)
    checks = (rows // (4 * unit) + columns // (4 * unit)) % 2 == 0
    return _wheels(_inlay(flat(rng, size), checks, rng, 70), 0.28 * size[0], rng)
