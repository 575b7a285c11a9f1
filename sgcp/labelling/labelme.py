"""labelme: a JSON file beside each image."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.labelling import objects

NAME = "labelme JSON"
find = objects.files_like(".json", b'(?=.*"shapes").*"(?:imagePath|flags)"', 2**16)


def read(folder: Path, files: list[Path]) -> objects.Export:
    """Read an export; shapes that are no areas (points, lines) are left out and counted."""
    export, images = objects.Export(), objects.Images(folder)
    for path in files:
        content = objects.read_export_json(path)
        shapes = []
        for number, item in enumerate(content["shapes"], start=1):
            where = f"{path}: shape {number} ({item.get('label')!r})"
            kind = item.get("shape_type") or "polygon"
            if kind not in SHAPES:
                export.left_out[kind] += 1
                continue
            try:
                shapes.append(objects.Shape(str(item["label"]), SHAPES[kind](item), where))
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise SgcpError(f"{where}: {error}. Correct it in labelme") from None
        image = images.find(content.get("imagePath") or f"{path.stem}.jpg", path, str(path))
        split = objects.split_of(image.relative_to(folder))
        stated = content.get("imageHeight"), content.get("imageWidth")
        size = stated if all(stated) else None
        export.images.append(objects.LabelledImage(image, split, shapes, size=size))
    return export


def _polygon(item: dict[str, Any]) -> objects.Draw:
    return objects.polygon([np.asarray(item["points"], float).reshape(-1, 2).ravel().tolist()])


def _rectangle(item: dict[str, Any]) -> objects.Draw:
    (left, top), (right, bottom) = item["points"]
    return objects.polygon([[left, top, right, top, right, bottom, left, bottom]])


def _circle(item: dict[str, Any]) -> objects.Draw:
    center, edge = np.asarray(item["points"], float).reshape(2, 2)
    return objects.turned(np.hypot(*(edge - center)) * objects.circle(), center, 0)


def _mask(item: dict[str, Any]) -> objects.Draw:
    """Return how to draw a mask: a PNG in base64, laid with its corner on the first point."""
    left, top = (round(value) for value in item["points"][0])
    content = base64.b64decode(item["mask"], validate=True)

    def draw(height: int, width: int) -> objects.Mask:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return objects.place(np.asarray(image.convert("L")) > 0, left, top, height, width)

    return draw


SHAPES = {"polygon": _polygon, "rectangle": _rectangle, "circle": _circle, "mask": _mask}
