"""COCO: one JSON file with polygons and run lengths for all images of a split."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.labelling import objects

NAME = "COCO JSON"
KEYS = (b'"images"', b'"annotations"', b'"categories"')


def find(folder: Path, files: list[Path]) -> list[Path]:
    """Return the files of this form."""
    return [path for path in files if path.suffix == ".json" and _is_ours(path)]


def _is_ours(path: Path) -> bool:
    """Return whether a file has COCO's lists; a large one is not parsed for that."""
    found: set[bytes] = set()
    with path.open("rb") as file:
        while (piece := file.read(2**24)) and len(found) < len(KEYS):
            found |= {key for key in KEYS if key in piece}
    return len(found) == len(KEYS)


def read(folder: Path, files: list[Path]) -> objects.Export:
    """Read an export; objects with a box alone are left out and counted."""
    export, images = objects.Export(), objects.Images(folder)
    used: dict[str, None] = {}
    for path in files:
        content = objects.read_export_json(path)
        try:
            names = {item["id"]: str(item["name"]) for item in content["categories"]}
            shapes = _shapes(path, content["annotations"], names, export)
            for item in content["images"]:
                where = f"{path}: image {item['id']}"
                image = images.find(item["file_name"], path, where)
                split = objects.split_of(path.relative_to(folder), of_list=True)
                split = split or objects.split_of(image.relative_to(folder))
                size = (item["height"], item["width"]) if item.get("height") else None
                export.images.append(
                    objects.LabelledImage(image, split, shapes.pop(item["id"], []), size=size)
                )
        except (KeyError, TypeError) as error:
            raise SgcpError(f"{path}: lacks {error} of COCO's form. Export it again") from None
        if shapes:
            raise SgcpError(f"{path}: objects of an image that it does not list: {min(shapes)}")
        # Roboflow lists the project's name as a category of its own.
        above = {item.get("supercategory") for item in content["categories"]}
        having = {item["category_id"] for item in content["annotations"]}
        used |= {name: None for key, name in names.items() if key in having or name not in above}
    export.names = [*used]
    return export


def _shapes(
    path: Path, items: list[dict[str, Any]], names: dict[Any, str], export: objects.Export
) -> dict[Any, list[objects.Shape]]:
    """Return the objects of each image, in the order of the file."""
    shapes = defaultdict(list)
    for item in items:
        where = f"{path}: annotation {item.get('id')}"
        outline = item.get("segmentation")
        if "segments_info" in item:
            raise SgcpError(f"{path}: is panoptic. Export or name the file of instances")
        if not outline:
            export.left_out["box"] += 1
            continue
        if item["category_id"] not in names:
            raise SgcpError(f"{where}: category {item['category_id']} is not listed")
        try:
            draw = objects.polygon(outline) if isinstance(outline, list) else _run_lengths(outline)
        except (ValueError, TypeError, KeyError) as error:
            raise SgcpError(f"{where}: {error}. Correct it in the tool") from None
        shapes[item["image_id"]].append(objects.Shape(names[item["category_id"]], draw, where))
    return shapes


def _run_lengths(outline: dict[str, Any]) -> objects.Draw:
    """Return how to draw COCO's runs, column by column: numbers, or packed into text."""
    counts, (rows, columns) = outline["counts"], outline["size"]

    def draw(height: int, width: int) -> objects.Mask:
        from pycocotools import mask

        if (rows, columns) != (height, width):
            raise ValueError(f"its runs are of {rows}x{columns} pixels")
        if isinstance(counts, list):
            if min(counts, default=-1) < 0 or sum(counts) != rows * columns:
                raise ValueError(f"its runs do not fill {rows}x{columns} pixels")
            on = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
            return on.reshape(columns, rows).T
        return np.asarray(mask.decode({"size": [rows, columns], "counts": counts.encode()}), bool)

    return draw
