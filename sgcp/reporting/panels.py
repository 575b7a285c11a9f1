"""Image panels: image, truth, prediction and error side by side, with a legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sgcp.datasets.classes import IGNORE
from sgcp.media.images import UInt8

if TYPE_CHECKING:
    from sgcp.datasets.classes import SemanticClass

MAX_WIDTH = 640  # of one image in a panel, pixels
LEGEND_ROW = 22
WRONG, RIGHT = (214, 39, 40), (225, 225, 225)


def colorize(label: UInt8, classes: tuple[SemanticClass, ...]) -> UInt8:
    """Paint train ids (H, W) in class colours (H, W, 3); ignored pixels are black."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    for item in classes:
        palette[item.train_id] = item.color
    return palette[label]


def error_map(label: UInt8, prediction: UInt8) -> UInt8:
    """Paint wrong pixels red, right ones grey, ignored ones black: (H, W, 3)."""
    painted = np.where((label == prediction)[..., None], RIGHT, WRONG).astype(np.uint8)
    painted[label == IGNORE] = 0
    return painted


def panel(
    image: UInt8, label: UInt8, prediction: UInt8, classes: tuple[SemanticClass, ...]
) -> UInt8:
    """Compose image, truth, prediction and errors in two rows over a legend: (h, w, 3) uint8."""
    titles = ("image", "ground truth", "prediction", "errors (red)")
    shown_images = (
        image,
        colorize(label, classes),
        colorize(prediction, classes),
        error_map(label, prediction),
    )
    height, width = label.shape
    if width > MAX_WIDTH:
        height, width = round(height * MAX_WIDTH / width), MAX_WIDTH
    present = [item for item in classes if (label == item.train_id).any()
               or (prediction == item.train_id).any()]  # fmt: skip
    columns = max(1, 2 * width // 130)
    rows = -(-len(present) // columns)
    sheet = Image.new("RGB", (2 * width, 2 * height + rows * LEGEND_ROW + 6), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for position, (title, picture) in enumerate(zip(titles, shown_images, strict=True)):
        corner = (position % 2 * width, position // 2 * height)
        photo = position == 0
        method = Image.Resampling.BILINEAR if photo else Image.Resampling.NEAREST
        sheet.paste(Image.fromarray(picture).resize((width, height), method), corner)
        box = draw.textbbox((corner[0] + 6, corner[1] + 4), title, font=font)
        draw.rectangle((box[0] - 4, box[1] - 3, box[2] + 4, box[3] + 3), fill="white")
        draw.text((corner[0] + 6, corner[1] + 4), title, fill="black", font=font)
    for position, item in enumerate(present):
        x, y = position % columns * 130 + 6, 2 * height + 6 + position // columns * LEGEND_ROW
        draw.rectangle((x, y, x + 14, y + 14), fill=item.color, outline="black")
        draw.text((x + 20, y), item.name, fill="black", font=font)
    return np.asarray(sheet)


def blend(image: UInt8, colors: UInt8, alpha: float) -> UInt8:
    """Lay colours over an image, both (H, W, 3); ``alpha`` is their share, in steps of 1/256."""
    share = np.uint16(round(alpha * 256))  # whole numbers: a fifth of the time of floats
    mixed = image * (np.uint16(256) - share) + colors * share
    return ((mixed + np.uint16(128)) >> 8).astype(np.uint8)
