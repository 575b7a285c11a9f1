"""Image panels: image, ground truth, prediction and errors side by side, with a legend."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from sgcp.core.files import write_bytes
from sgcp.datasets.classes import IGNORE, SemanticClass
from sgcp.datasets.label_files import KEYWORD, Meaning
from sgcp.media.images import NO_TEXT, UInt8
from sgcp.reporting.palettes import WRONG, lookup, official

if TYPE_CHECKING:
    from sgcp.metrics.iou import ImageScore

MAX_WIDTH = 640  # of one image in a panel, pixels
LEGEND_ROW, LEGEND_COLUMN = 22, 130  # pixels
BAND = 32  # rows to blend at once: their sums stay in the processor's cache
LEGEND_WIDTH = 960  # of an image whose legend has text of its natural size
FONT_SIZE = 13
FONT = ImageFont.load_default(FONT_SIZE)
RIGHT = (225, 225, 225)


def choose_images(images: Sequence[ImageScore], count: int) -> list[tuple[str, ImageScore]]:
    """Choose the best, median and worst images by mIoU, ``count`` of each.

    No image is chosen twice: of few images, best and worst come before the median.

    Returns:
        Pairs of place (``best``, ``median-2``, ...) and image, from best to worst.
    """
    labelled = [image for image in images if not np.isnan(image.miou)]
    ranked = sorted(labelled, key=lambda image: (-image.miou, image.image))
    start = (len(ranked) - count) // 2
    ranks = {
        "best": range(count),
        "worst": range(len(ranked) - 1, len(ranked) - 1 - count, -1),
        "median": range(start, start + count),
    }
    places: dict[int, str] = {}
    for kind, chosen in ranks.items():
        for number, rank in enumerate(chosen, start=1):
            if 0 <= rank < len(ranked):
                places.setdefault(rank, f"{kind}-{number}" if count > 1 else kind)
    return [(places[rank], ranked[rank]) for rank in sorted(places)]


def colorize(label: UInt8, classes: tuple[SemanticClass, ...]) -> UInt8:
    """Paint train ids (H, W) in class colours (H, W, 3); ignored pixels are black."""
    return np.take(lookup(official(classes)), label, axis=0)  # a third of the time of table[label]


def encode_palette(label: UInt8, colors: UInt8, text: Mapping[str, str] = NO_TEXT) -> bytes:
    """Encode train ids (H, W) as a PNG whose palette shows them in colours (K, 3).

    Args:
        text: stands in the file, by keyword.
    """
    image = Image.fromarray(label)
    image.putpalette(lookup(colors).tobytes())
    info = PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, pnginfo=info)
    return buffer.getvalue()


def write_prediction(
    path: Path, prediction: UInt8, classes: tuple[SemanticClass, ...], meaning: Meaning
) -> None:
    """Write train ids (H, W) in class colours with their meaning, whole or not at all."""
    content = encode_palette(prediction, official(classes), {KEYWORD: meaning.to_text()})
    write_bytes(path, content, flush=False)


def error_map(label: UInt8, prediction: UInt8) -> UInt8:
    """Paint wrong pixels orange, right ones grey, ignored ones black: (H, W, 3)."""
    painted = np.where((label == prediction)[..., None], RIGHT, WRONG).astype(np.uint8)
    painted[label == IGNORE] = 0
    return painted


def panel(
    image: UInt8, label: UInt8, prediction: UInt8, classes: tuple[SemanticClass, ...]
) -> UInt8:
    """Compose image, ground truth, prediction and errors over a legend: (h, w, 3) uint8."""
    parts = {
        "image": image,
        "ground truth": colorize(label, classes),
        "prediction": colorize(prediction, classes),
        "errors": error_map(label, prediction),
    }
    height, width = label.shape
    if width > MAX_WIDTH:
        height, width = round(height * MAX_WIDTH / width), MAX_WIDTH
    sheet = Image.new("RGB", (2 * width, 2 * height), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (title, part) in enumerate(parts.items()):
        x, y = place % 2 * width, place // 2 * height
        method = Image.Resampling.NEAREST if place else Image.Resampling.BILINEAR
        sheet.paste(Image.fromarray(part).resize((width, height), method), (x, y))
        left, top, right, bottom = draw.textbbox((x + 6, y + 4), title, font=FONT)
        draw.rectangle((left - 4, top - 3, right + 4, bottom + 3), fill="white")
        draw.text((x + 6, y + 4), title, fill="black", font=FONT)
    present = {*np.unique(label).tolist(), *np.unique(prediction).tolist()}
    named = [(item.name, item.color) for item in classes if item.train_id in present]
    legend = draw_legend(named, 2 * width, LEGEND_COLUMN)
    return np.concatenate([np.asarray(sheet), np.asarray(legend)])


def draw_legend(
    named: Sequence[tuple[str, tuple[int, int, int]]], width: int, column: int, scale: int = 1
) -> Image.Image:
    """Draw names with their colours in columns ``column`` pixels wide, ``scale`` times as large."""
    columns = max(1, width // (column * scale))
    height = (-(-len(named) // columns) * LEGEND_ROW + 6) * scale
    legend = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(legend)
    font = FONT if scale == 1 else ImageFont.load_default(FONT_SIZE * scale)
    for place, (name, color) in enumerate(named):
        x = (place % columns * column + 6) * scale
        y = (place // columns * LEGEND_ROW + 6) * scale
        draw.rectangle((x, y, x + 14 * scale, y + 14 * scale), fill=color, outline="black")
        draw.text((x + 20 * scale, y), name, fill="black", font=font)
    return legend


def add_legend(image: UInt8, labels: UInt8, classes: tuple[SemanticClass, ...]) -> UInt8:
    """Put the names and colours of the classes in ``labels`` (H, W) below an image (H, W, 3).

    Text grows with the image's width, and columns with the longest name.
    """
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    named = [(item.name, item.color) for item in classes if item.train_id in present]
    width = image.shape[1]
    column = 32 + round(max((FONT.getlength(name) for name, _ in named), default=0))
    legend = draw_legend(named, width, column, max(1, round(width / LEGEND_WIDTH)))
    return np.concatenate([image, np.asarray(legend)])


def blend(image: UInt8, colors: UInt8, alpha: float) -> UInt8:
    """Lay colours over an image, both (H, W, 3); ``alpha`` is their share, in steps of 1/256."""
    share = np.uint16(round(alpha * 256))  # whole numbers: a fifth of the time of floats
    mixed = np.empty(image.shape, np.uint8)
    for top in range(0, len(image), BAND):  # half of the time of the whole image at once
        rows = slice(top, top + BAND)
        sums = image[rows] * (np.uint16(256) - share) + colors[rows] * share
        mixed[rows] = (sums + np.uint16(128)) >> 8
    return mixed
