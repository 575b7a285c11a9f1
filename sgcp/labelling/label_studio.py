"""Label Studio: JSON or JSON_MIN, with polygons, brushes, rectangles and ellipses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.labelling import objects
from sgcp.media.images import UInt8

NAME = "Label Studio JSON"
IMAGE = re.compile(r"\.(?:png|jpe?g|bmp|tiff?|webp)\b", re.IGNORECASE)
LABELS = re.compile(r"(polygon|brush|rectangle|ellipse|keypoint)labels\Z")
UPLOADED = re.compile(r"\A[0-9a-f]{8}-")  # what the tool puts before the name of an upload
find = objects.files_like(".json", rb'\s*\[.*(?:"annotations"|"original_width"|labels)', 2**20)


def read(folder: Path, files: list[Path]) -> objects.Export:
    """Read an export; of annotations of one task, the newest that was not cancelled counts."""
    export, images = objects.Export(), objects.Images(folder)
    for path in files:
        for task in objects.read_export_json(path):
            if not isinstance(task, dict):
                raise SgcpError(f"{path}: not the form of {NAME}. Export it again")
            where = f"{path}: task {task.get('id')}"
            shapes, size = [], None
            for item in _results(task):
                match = LABELS.match(str(item.get("type")))
                if match is None:
                    export.left_out[str(item.get("type"))] += 1
                    continue
                place = f"{where}: object {item.get('id')}"
                try:
                    value = item["value"]
                    size = int(item["original_height"]), int(item["original_width"])
                    names = value[item["type"]]
                    if len(names) != 1:
                        raise ValueError(f"{len(names)} labels, expected 1")
                    if match[1] not in SHAPES:
                        export.left_out[match[1]] += 1
                        continue
                    draw = SHAPES[match[1]](value, size)
                    shapes.append(objects.Shape(str(names[0]), draw, f"{place} ({names[0]})"))
                except (KeyError, ValueError, TypeError) as error:
                    raise SgcpError(f"{place}: {error}. Correct it in Label Studio") from None
            image = _find_image(images, task, path, where)
            split = objects.split_of(image.relative_to(folder))
            export.images.append(objects.LabelledImage(image, split, shapes, size=size))
    return export


def _results(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects of a task in the form of JSON, also those of JSON_MIN."""
    if "annotations" in task:
        done = [one for one in task["annotations"] if not one.get("was_cancelled")]
        newest: dict[str, Any] = max(
            done, key=lambda one: str(one.get("updated_at") or ""), default={}
        )
        return [item for item in newest.get("result", []) if "value" in item]
    results = []
    for items in task.values():
        for item in items if isinstance(items, list) else []:
            kind = next((key for key in item if LABELS.match(key)), None)
            if kind:
                results.append({"type": kind, "value": item, **item})
    return results


def _find_image(images: objects.Images, task: Mapping[str, Any], path: Path, where: str) -> Path:
    data = task.get("data", task)
    for value in data.values() if isinstance(data, dict) else ():
        if isinstance(value, str) and IMAGE.search(value):
            reference = PurePosixPath(unquote(value.partition("?d=")[2] or value))
            if reference.name not in images.by_name:  # downloaded by its first name
                reference = reference.with_name(UPLOADED.sub("", reference.name))
            return images.find(str(reference), path, where)
    raise SgcpError(f"{where}: names no image. Export it again")


def _scaled(points: Any, size: tuple[int, int]) -> objects.Corners:
    """Return corners (N, 2) in pixels from those in per cent of the sides."""
    return np.asarray(points, float).reshape(-1, 2) * [size[1] / 100, size[0] / 100]


def _polygon(value: Mapping[str, Any], size: tuple[int, int]) -> objects.Draw:
    return objects.polygon([_scaled(value["points"], size).ravel().tolist()])


def _rectangle(value: Mapping[str, Any], size: tuple[int, int]) -> objects.Draw:
    wide, high = float(value["width"]), float(value["height"])
    return _around([[0, 0], [wide, 0], [wide, high], [0, high]], value, size)


def _ellipse(value: Mapping[str, Any], size: tuple[int, int]) -> objects.Draw:
    radii = float(value["radiusX"]), float(value["radiusY"])
    return _around(objects.circle() * radii, value, size)


def _around(corners: Any, value: Mapping[str, Any], size: tuple[int, int]) -> objects.Draw:
    """Return how to draw corners about a point, all in per cent of the sides, turned in pixels."""
    (origin,) = _scaled([float(value["x"]), float(value["y"])], size)
    return objects.turned(_scaled(corners, size), origin, float(value.get("rotation", 0)))


def _brush(value: Mapping[str, Any], size: tuple[int, int]) -> objects.Draw:
    if value.get("format") != "rle":
        raise ValueError(f"a brush of format {value.get('format')!r}, expected 'rle'")
    numbers = np.asarray(value["rle"], np.uint8)
    count = 4 * size[0] * size[1]
    return lambda height, width: decode_brush(numbers, count).reshape(*size, 4)[..., 3] > 0


SHAPES: dict[str, Callable[[Mapping[str, Any], tuple[int, int]], objects.Draw]] = {
    "polygon": _polygon, "rectangle": _rectangle, "ellipse": _ellipse, "brush": _brush,
}  # fmt: skip


def decode_brush(numbers: UInt8, expected: int) -> UInt8:
    """Return the bytes of an RGBA image that Label Studio packed (``@thi.ng/rle-pack``).

    A stream of bits: the count of values (32), the bits of a value - 1 (5), the bits of four run
    lengths - 1 (4 each). Then runs: whether one value is repeated (1), which of the four lengths
    (2), the run's length - 1, and its value or values. A ValueError tells that the stream ends
    early, or has another count of values than ``expected``.
    """
    bits = np.unpackbits(numbers).tolist()
    place = 0

    def take(count: int) -> int:
        nonlocal place
        if place + count > len(bits):
            raise ValueError("its brush ends early")
        value = 0
        for bit in bits[place : place + count]:
            value = value << 1 | bit
        place += count
        return value

    total = take(32)
    if total != expected:
        raise ValueError(f"its brush has {total:,} values, expected {expected:,}")
    width = take(5) + 1
    lengths = [take(4) + 1 for _ in range(4)]
    values, done = np.zeros(total, np.uint8), 0
    while done < total:
        repeated = take(1)
        count = take(lengths[take(2)]) + 1
        end = min(done + count, total)
        if repeated:
            values[done:end] = take(width)
        else:
            values[done:end] = [take(width) for _ in range(end - done)]
        done = end
    return values
