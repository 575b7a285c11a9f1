"""Textures of the sample's street scenes: pattern tells the class, colour does not."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Patch = NDArray[np.float32]  # (h, w, 3), in about [0, 255]
Mask = NDArray[np.bool_]  # broadcasts to (h, w)


@dataclass(frozen=True)
class Brush:
    """Draw one patch."""

    rng: np.random.Generator
    size: tuple[int, int]
    """(height, width) in pixels."""
    unit: float
    """Pixels to a pixel of the 256-row original."""

    @cached_property
    def rows(self) -> Patch:
        """Row numbers (h, 1)."""
        return np.arange(self.size[0], dtype=np.float32)[:, None]

    @cached_property
    def columns(self) -> Patch:
        """Column numbers (1, w)."""
        return np.arange(self.size[1], dtype=np.float32)[None, :]

    def color(self, low: float, high: float) -> Patch:
        """Draw one greyish colour (3,)."""
        return (self.rng.uniform(low, high) + self.rng.uniform(-35, 35, 3)).astype(np.float32)

    def flat(self, low: float = 50, high: float = 190) -> Patch:
        """Fill with one greyish colour."""
        return np.broadcast_to(self.color(low, high), (*self.size, 3)).copy()

    def grain(self, cell: float, strength: float) -> Patch:
        """Return smooth noise (h, w, 1) with features ``cell`` pixels wide."""
        height, width = self.size
        small = (max(2, round(height / cell)), max(2, round(width / cell)))
        noise = Image.fromarray(self.rng.normal(0, strength, small).astype(np.float32))
        return np.asarray(noise.resize((width, height), Image.Resampling.BILINEAR))[..., None]

    def inlay(self, patch: Patch, mask: Mask, contrast: float = 60) -> Patch:
        """Darken or brighten the masked pixels."""
        shift = contrast if float(patch.mean()) < 110 else -contrast
        patch[np.broadcast_to(mask, self.size)] += shift + self.rng.uniform(-10, 10, 3)
        return patch

    def wheels(self, patch: Patch, radius: float, hollow: bool = False) -> Patch:
        """Draw two wheels at the foot of a vehicle."""
        tone = self.rng.uniform(10, 60)
        for x in (0.22, 0.78):
            distance = np.hypot(
                self.rows - (self.size[0] - radius), self.columns - x * self.size[1]
            )
            patch[(distance < radius) & (not hollow or distance > 0.7 * radius)] = tone
        return patch


def _sky(b: Brush) -> Patch:
    patch = b.flat(110, 200)
    return patch + (b.rows / b.size[0] * b.rng.uniform(-40, 40))[..., None].astype(np.float32)


def _windows(b: Brush) -> Patch:
    step_y, step_x = b.rng.uniform(14, 22) * b.unit, b.rng.uniform(11, 18) * b.unit
    windows = (b.rows % step_y > 0.4 * step_y) & (b.columns % step_x > 0.45 * step_x)
    return b.inlay(b.flat(), windows, b.rng.uniform(35, 70))


def _leaves(b: Brush) -> Patch:
    return b.flat() + b.grain(4 * b.unit, 38) + b.grain(9 * b.unit, 20)


def _grass(b: Brush) -> Patch:
    height, width = b.size
    streaks = np.repeat(b.rng.normal(0, 26, (height // 6 + 1, width)), 6, axis=0)[:height]
    return b.flat() + streaks[..., None].astype(np.float32)


def _asphalt(b: Brush) -> Patch:
    patch = b.flat() + b.grain(2 * b.unit, 6)
    dashes = np.abs(b.columns - b.size[1] / 2) < 2 + b.rows / b.size[0] * 4
    return b.inlay(patch, dashes & (b.rows % 28 < 16), 70)


def _slabs(b: Brush) -> Patch:
    step = b.rng.uniform(8, 12) * b.unit
    return b.inlay(b.flat(), (b.rows % step < 2 * b.unit) | (b.columns % step < 2 * b.unit), 45)


def _bricks(b: Brush) -> Patch:
    tall, wide, joint = 6 * b.unit, 14 * b.unit, 1.6 * b.unit
    shifted = b.columns + (b.rows // tall % 2) * wide / 2
    return b.inlay(b.flat(), (b.rows % tall < joint) | (shifted % wide < joint))


def _bars_under_rails(b: Brush) -> Patch:
    rails = [np.abs(b.rows - b.size[0] * place) < 2 * b.unit for place in (0.2, 0.8)]
    return b.inlay(b.flat(), (b.columns % (8 * b.unit) < 3.5 * b.unit) | rails[0] | rails[1], 80)


def _round_metal(b: Brush) -> Patch:
    shade = np.sin((b.columns + 0.5) / b.size[1] * np.pi) * 60 - 30
    return b.flat(40, 160) + shade[..., None].astype(np.float32)


def _rings(b: Brush) -> Patch:
    radius = np.hypot((b.rows / b.size[0] - 0.5) * 2, (b.columns / b.size[1] - 0.5) * 2)
    return b.inlay(b.flat(), (radius < 0.35) | (radius > 0.7), 95)


def _three_lamps(b: Brush) -> Patch:
    height, width = b.size
    patch = b.flat(30, 150)
    lit = b.rng.integers(0, 3)
    for position in range(3):
        centre = height * (position + 0.5) / 3
        disc = np.hypot(b.rows - centre, b.columns - width / 2) < min(width * 0.38, height / 7)
        patch[disc] += 120 if position == lit else -40
    return patch


def _slanted_stripes(b: Brush) -> Patch:
    return b.inlay(b.flat(), (b.rows + b.columns) % (9 * b.unit) < 4.5 * b.unit, 75)


def _head_coat_and_trousers(b: Brush) -> Patch:
    patch = b.flat()
    patch[np.broadcast_to(b.rows < 0.17 * b.size[0], b.size)] = b.color(130, 200)
    return b.inlay(patch, b.rows > 0.55 * b.size[0], 65)


def _car(b: Brush) -> Patch:
    height, width = b.size
    band = (b.rows > 0.1 * height) & (b.rows < 0.42 * height)
    panes = band & (b.columns % (width / 3) > 4 * b.unit)
    return b.wheels(b.inlay(b.flat(), panes, 85), 0.24 * height)


def _truck(b: Brush) -> Patch:
    ribs = b.columns % (13 * b.unit) < 2.5 * b.unit
    return b.wheels(b.inlay(b.flat(), ribs, 45), 0.16 * b.size[0])


def _bus(b: Brush) -> Patch:
    height = b.size[0]
    row = (b.rows > 0.15 * height) & (b.rows < 0.5 * height)
    panes = row & (b.columns % (18 * b.unit) > 4 * b.unit)
    return b.wheels(b.inlay(b.flat(), panes, 90), 0.15 * height)


def _train(b: Brush) -> Patch:
    height = b.size[0]
    stripes = (b.rows > 0.5 * height) & (b.rows % (8 * b.unit) < 4 * b.unit)
    patch = b.inlay(b.flat(), stripes, 80)
    ports = np.hypot(b.rows - 0.28 * height, b.columns % (14 * b.unit) - 7 * b.unit) < 4.5 * b.unit
    return b.inlay(patch, ports, 80)


def _bicycle(b: Brush) -> Patch:
    patch = b.wheels(b.flat(90, 190), 0.3 * b.size[0], hollow=True)
    frame = np.abs(b.rows - b.size[0] * (0.25 + 0.5 * b.columns / b.size[1])) < 2 * b.unit
    return b.inlay(patch, frame, 80)


def _motorcycle(b: Brush) -> Patch:
    checks = (b.rows // (4 * b.unit) + b.columns // (4 * b.unit)) % 2 == 0
    return b.wheels(b.inlay(b.flat(), checks, 70), 0.28 * b.size[0])


TEXTURES: dict[str, Callable[[Brush], Patch]] = {
    "sky": _sky, "building": _windows, "vegetation": _leaves, "terrain": _grass, "road": _asphalt,
    "sidewalk": _slabs, "wall": _bricks, "fence": _bars_under_rails, "pole": _round_metal,
    "static": _round_metal, "ego vehicle": _round_metal, "traffic sign": _rings,
    "traffic light": _three_lamps, "rider": _slanted_stripes, "person": _head_coat_and_trousers,
    "car": _car, "cargroup": _car, "truck": _truck, "bus": _bus, "train": _train,
    "bicycle": _bicycle, "motorcycle": _motorcycle,
}  # fmt: skip
