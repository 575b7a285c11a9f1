"""labelme: a JSON file beside each image."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.labelling.objects import (
    Draw,
    Export,
    Images,
    LabelledImage,
    Mask,
    Shape,
    circle,
    place,
    polygon,
    read_export_json,
    split_of,
)

NAME = "labelme JSON"


def find(folder: Path) -> list[Path]:
    """Return the files of this form below a folder."""
    return [path for path in sorted(folder.rglob("*.json")) if _is_ours(path)]


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(2**16)
    return b'"shapes"' in start and (b'"imagePath"' in start or b'"flags"' in start)


def read(folder: Path, files: list[Path]) -> Export:
    """Read an export; shapes that are no areas (points, lines) are left out and counted."""
    export, images = Export(), Images(folder)
    for path in files:
        content = read_export_json(path)
        shapes = []
        for number, item in enumerate(content["shapes"], start=1):
            where = f"{path}: shape {number} ({item.get('label')!r})"
            kind = item.get("shape_type") or "polygon"
            if kind not in SHAPES:
                export.left_out[kind] += 1
                continue
            try:
                shapes.append(Shape(str(item["label"]), SHAPES[kind](item), where))
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise SgcpError(f"{where}: {error}. Correct it in labelme") from None
        image = images.find(content.get("imagePath") or f"{path.stem}.jpg", path, str(path))
        split = split_of(image.relative_to(folder))
        size = content.get("imageHeight"), content.get("imageWidth")
        export.images.append(LabelledImage(image, split, shapes, size=size if all(size) else None))
    return export


def _polygon(item: dict[str, Any]) -> Draw:
    return polygon([np.asarray(item["points"], float).reshape(-1, 2).ravel().tolist()])


def _rectangle(item: dict[str, Any]) -> Draw:
    (left, top), (right, bottom) = item["points"]
    return polygon([[left, top, right, top, right, bottom, left, bottom]])


def _circle(item: dict[str, Any]) -> Draw:
    center, edge = np.asarray(item["points"], float).reshape(2, 2)
    return polygon([(center + np.hypot(*(edge - center)) * circle()).ravel().tolist()])


def _mask(item: dict[str, Any]) -> Draw:
    """Return how to draw a mask: a PNG in base64, laid with its corner on the first point."""
    left, top = (round(value) for value in item["points"][0])
    content = base64.b64decode(item["mask"], validate=True)

    def draw(height: int, width: int) -> Mask:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return place(np.asarray(image.convert("L")) > 0, left, top, height, width)

    return draw


SHAPES = {"polygon": _polygon, "rectangle": _rectangle, "circle": _circle, "mask": _mask}
