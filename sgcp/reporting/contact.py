"""A contact sheet: pictures and their truth side by side, split by split, over a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sgcp.datasets.classes import IGNORE, SemanticClass
from sgcp.datasets.images import UInt8
from sgcp.errors import printable
from sgcp.reporting.overlay import blend
from sgcp.reporting.palettes import lookup, official

WIDTH = 1600  # of the sheet, pixels
COLUMNS = 3  # pictures with their truth in a row
GAP = 16
LINE = 22
LEGEND_WIDTH = 160
TITLE, TEXT = ImageFont.load_default(18), ImageFont.load_default(13)


@dataclass(frozen=True)
class Cell:
    """One picture of the sheet."""

    name: str
    photo: UInt8
    """(h, w, 3)."""
    label: UInt8 | None
    """(h, w) train ids; None where none are published."""


def contact_sheet(
    splits: Mapping[str, Sequence[Cell]], classes: Sequence[SemanticClass], share: float
) -> UInt8:
    """Draw the pictures of each split in rows: (h, w, 3) uint8.

    Args:
        share: of the class colours in the truth, the rest is the picture.
    """
    column = (WIDTH - GAP) // COLUMNS - GAP
    width = column // 2
    heights = [
        _cell_height(cells[start : start + COLUMNS], width)
        for cells in splits.values()
        for start in range(0, len(cells), COLUMNS)
    ]
    per_row = (WIDTH - GAP) // LEGEND_WIDTH
    legend = LINE * -(-(len(classes) + 1) // per_row)
    total = sum(heights) + len(splits) * (LINE + 2 * GAP) + legend + 2 * GAP
    sheet = Image.new("RGB", (WIDTH, total), "white")
    draw = ImageDraw.Draw(sheet)
    colors, y = official(classes), GAP
    rows = iter(heights)
    for split, cells in splits.items():
        draw.text((GAP, y), f"{split}: {len(cells)} shown", fill="black", font=TITLE)
        y += LINE + GAP
        for start in range(0, len(cells), COLUMNS):
            for place, cell in enumerate(cells[start : start + COLUMNS]):
                _draw_cell(sheet, cell, (GAP + place * (column + GAP), y), width, colors, share)
            y += next(rows)
        y += GAP
    _draw_legend(draw, classes, y)
    return np.asarray(sheet)


def _cell_height(cells: Sequence[Cell], width: int) -> int:
    return max(_fitted(cell.photo, width)[1] for cell in cells) + LINE + GAP


def _fitted(photo: UInt8, width: int) -> tuple[int, int]:
    """Return width and height of a picture that fills a width, or twice that height at most."""
    height = max(1, round(photo.shape[0] * width / photo.shape[1]))
    if height <= 2 * width:
        return width, height
    return max(1, round(width * 2 * width / height)), 2 * width


def _draw_cell(
    sheet: Image.Image,
    cell: Cell,
    corner: tuple[int, int],
    width: int,
    colors: UInt8,
    share: float,
) -> None:
    wh = _fitted(cell.photo, width)
    photo = Image.fromarray(cell.photo).resize(wh, Image.Resampling.LANCZOS)
    sheet.paste(photo, corner)
    if cell.label is not None:
        label = Image.fromarray(cell.label).resize(wh, Image.Resampling.NEAREST)
        truth = blend(np.asarray(photo), lookup(colors)[np.asarray(label)], share)
        sheet.paste(Image.fromarray(truth), (corner[0] + width, corner[1]))
    name = _shortened(cell.name if cell.label is not None else f"{cell.name} (no label)", 2 * width)
    ImageDraw.Draw(sheet).text((corner[0], corner[1] + wh[1] + 3), name, fill="black", font=TEXT)


def _shortened(name: str, width: int) -> str:
    """Return a name that fits a width, its middle left out if need be."""
    name = printable(name).replace("\n", "\\n")
    kept = len(name)
    text = name
    while TEXT.getlength(text) > width and kept > 8:
        kept -= 4
        text = f"{name[: kept // 2]}...{name[-(kept // 2) :]}"
    return text


def _draw_legend(draw: ImageDraw.ImageDraw, classes: Sequence[SemanticClass], y: int) -> None:
    entries = [(item.name, item.color) for item in classes] + [(f"{IGNORE}: ignored", (0, 0, 0))]
    per_row = (WIDTH - GAP) // LEGEND_WIDTH
    for place, (name, color) in enumerate(entries):
        x, top = GAP + place % per_row * LEGEND_WIDTH, y + place // per_row * LINE
        draw.rectangle((x, top, x + 14, top + 14), fill=color, outline="black")
        draw.text((x + 20, top), _shortened(name, LEGEND_WIDTH - 26), fill="black", font=TEXT)
