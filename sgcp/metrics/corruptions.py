"""Scores on corrupted images: other cameras, light, weather and files, of fixed strengths.

The same for every model and machine, so that their mean measures how much a model depends on the
camera that took its training images. Colour, brightness, contrast, noise, blur, JPEG, resizing and
fog follow *ImageNet-C* (Hendrycks and Dietterich, 2019) in kind, with strengths of our own.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter
from rich.table import Column, Table

from sgcp.core.parallel import map_threads
from sgcp.core.terminal import percent, track
from sgcp.media.images import UInt8, read_image
from sgcp.metrics.confusion import Counts, no_counts
from sgcp.metrics.iou import score_counts

if TYPE_CHECKING:
    from sgcp.datasets.index import Item
    from sgcp.metrics.scorer import Scorer

DAYLIGHT = 6504  # kelvin, the white of sRGB
FOG = 200  # its grey level
LEVELS = np.arange(256, dtype=np.float64)
# From CIE XYZ to linear red, green and blue of sRGB (IEC 61966-2-1).
XYZ_TO_RGB = np.array(
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
)


def map_levels(image: UInt8, levels: NDArray[np.float64]) -> UInt8:
    """Replace each level of (H, W, 3) by that of a table, (256,) or (3, 256) by channel."""
    table = np.broadcast_to(levels, (3, 256)).clip(0, 255).round().astype(int)
    return np.asarray(Image.fromarray(image).point(table.ravel().tolist()))


def multiply_levels(image: UInt8, gains: float | Sequence[float]) -> UInt8:
    """Multiply all levels: under- and overexposure; or red, green and blue: a colour cast."""
    return map_levels(image, np.multiply.outer(gains, LEVELS))


def apply_gamma(image: UInt8, power: float) -> UInt8:
    """Raise shares of white to a power; above 1 is darker."""
    return map_levels(image, 255 * (LEVELS / 255) ** power)


def add_fog(image: UInt8, share: float) -> UInt8:
    """Blend with light grey: fog of one thickness (Koschmieder, 1924)."""
    return map_levels(image, (1 - share) * LEVELS + share * FOG)


@cache
def light_color(kelvin: float) -> NDArray[np.float64]:
    """Return linear (3,) RGB of a black body at luminance 1.

    Cubic approximation of its chromaticity from 1667 to 25000 K (Kim et al., 2002, US 7024034).
    """
    t = 1000 / kelvin
    if kelvin < 4000:
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
    else:
        x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
    if kelvin < 2222:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif kelvin < 4000:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    return XYZ_TO_RGB @ np.array([x / y, 1, (1 - x - y) / y])


def light_by(image: UInt8, kelvin: float) -> UInt8:
    """Show an image of daylight as under light of another colour, without white balance."""
    share = LEVELS / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    lit = np.outer(light_color(kelvin) / light_color(DAYLIGHT), linear).clip(0, 1)
    coded = np.where(lit <= 0.0031308, 12.92 * lit, 1.055 * lit ** (1 / 2.4) - 0.055)
    return map_levels(image, 255 * coded)


def scale_contrast(image: UInt8, factor: float) -> UInt8:
    """Blend with the mean brightness."""
    return np.asarray(ImageEnhance.Contrast(Image.fromarray(image)).enhance(factor))


def remove_color(image: UInt8, _: object) -> UInt8:
    """Keep the brightness alone (ITU-R BT.601)."""
    return np.asarray(Image.fromarray(image).convert("L").convert("RGB"))


def add_noise(image: UInt8, deviation: float) -> UInt8:
    """Add Gaussian noise of a standard deviation in levels, the same to every image of a size."""
    noise = np.random.default_rng(0).standard_normal(image.shape, dtype=np.float32)
    return (image + deviation * noise).clip(0, 255).round().astype(np.uint8)


def blur(image: UInt8, radius: float) -> UInt8:
    """Blur by a Gaussian of a standard deviation in pixels."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def compress(image: UInt8, quality: int) -> UInt8:
    """Compress as JPEG and open again."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def lose_detail(image: UInt8, factor: float) -> UInt8:
    """Reduce both sides by a factor, and enlarge again."""
    height, width = image.shape[:2]
    small = max(1, round(width / factor)), max(1, round(height / factor))
    bilinear = Image.Resampling.BILINEAR
    return np.asarray(
        Image.fromarray(image).resize(small, bilinear).resize((width, height), bilinear)
    )


CORRUPTIONS: Mapping[str, tuple[Callable[[UInt8, Any], UInt8], Mapping[str, Any]]] = {
    "colour cast": (
        multiply_levels,
        {"red": (1.25, 1.0, 0.8), "green": (0.8, 1.25, 0.8), "blue": (0.8, 1.0, 1.25)},
    ),
    "white balance": (light_by, {"3000 K": 3000, "4500 K": 4500, "9000 K": 9000}),
    "gamma": (apply_gamma, {"0.6": 0.6, "1.6": 1.6}),
    "brightness": (multiply_levels, {"x0.25": 0.25, "x0.5": 0.5, "x2": 2.0}),
    "contrast": (scale_contrast, {"x0.3": 0.3, "x0.6": 0.6}),
    "grey": (remove_color, {"all": None}),
    "noise": (add_noise, {"10 of 255": 10, "25 of 255": 25}),
    "blur": (blur, {"1 pixel": 1, "2 pixels": 2}),
    "JPEG": (compress, {"quality 30": 30, "quality 10": 10}),
    "resize": (lose_detail, {"1/2": 2, "1/4": 4}),
    "fog": (add_fog, {"1/4": 0.25, "1/2": 0.5}),
}
"""By name: a function of an image and a strength, and its strengths by name."""


def score_corruptions(scorer: Scorer, items: Sequence[Item], workers: int) -> dict[str, Any]:
    """Return the mIoU of each strength of each corruption, and their mean.

    The mean is over the corruptions, each of which is the mean over its strengths.
    """
    ways = [
        (name, strength, change, value)
        for name, (change, strengths) in CORRUPTIONS.items()
        for strength, value in strengths.items()
    ]

    def count(item: Item) -> list[Counts]:
        image = read_image(scorer.layout.raw / item.image)
        truth = scorer.read_truth(item)
        return [scorer.count(truth, change(image, value)) for *_, change, value in ways]

    totals = [no_counts(scorer.protocol) for _ in ways]
    for counts in track(map_threads(count, items, workers), "corrupting", len(items)):
        totals = [total + one for total, one in zip(totals, counts, strict=True)]
    miou: dict[str, dict[str, float]] = {name: {} for name in CORRUPTIONS}
    for (name, strength, *_), total in zip(ways, totals, strict=True):
        miou[name][strength] = score_counts(total, scorer.protocol).miou
    return {"miou": mean_miou(miou), "by_strength": miou}


def mean_miou(by_strength: Mapping[str, Mapping[str, float]]) -> float:
    """Return the mean over corruptions of their means over strengths."""
    return float(np.mean([np.mean([*scores.values()]) for scores in by_strength.values()]))


def tabulate_corruptions(content: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, mean and scores by strength of each corruption, in per cent; their mean last."""
    scores = content["corruptions"]
    rows = [
        (
            name,
            percent(float(np.mean([*miou.values()]))),
            ", ".join(f"{strength}: {percent(value)}" for strength, value in miou.items()),
        )
        for name, miou in scores["by_strength"].items()
    ]
    unchanged = f"unchanged images: {percent(content['miou'])}"
    return [*rows, ("mean", percent(scores["miou"]), unchanged)]


def render_corruptions(content: Mapping[str, Any]) -> Table:
    """Return the table for the terminal."""
    columns = ("corruption", Column("mean", justify="right"), "by strength")
    view = Table(*columns, title="mIoU % on corrupted images", title_justify="left")
    *rows, mean = tabulate_corruptions(content)
    for row in rows:
        view.add_row(*row, end_section=row is rows[-1])
    view.add_row(*mean)
    return view
