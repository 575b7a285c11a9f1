"""CVAT: ``annotations.xml`` of "CVAT for images 1.1"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.labelling import objects

NAME = "CVAT for images 1.1"
NO_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")
find = objects.files_like(".xml", b".*<annotations>", 2**12)


def read(folder: Path, files: list[Path]) -> objects.Export:
    """Read an export; of overlapping shapes, a higher ``z_order`` lies above."""
    export, images = objects.Export(), objects.Images(folder)
    names: dict[str, None] = {}
    for path in files:
        root = _parse(path)
        names |= {item.findtext("name", ""): None for item in root.iterfind("./meta//labels/label")}
        for item in root.iterfind("image"):
            where = f"{path}: image {item.get('id')} ({item.get('name')})"
            shapes = []
            for number, shape in enumerate(item, start=1):
                what = f"{where}: {shape.tag} {number} ({shape.get('label')})"
                if shape.tag in NO_AREA:
                    export.left_out[shape.tag] += 1
                    continue
                try:
                    drawn = objects.Shape(shape.attrib["label"], SHAPES[shape.tag](shape), what)
                    shapes.append((int(shape.get("z_order", 0)), drawn))
                except (KeyError, ValueError) as error:
                    raise SgcpError(f"{what}: {error}. Correct it in CVAT") from None
            try:
                size = int(item.attrib["height"]), int(item.attrib["width"])
                image = images.find(item.attrib["name"], path, where)
            except (KeyError, ValueError) as error:
                raise SgcpError(f"{where}: lacks {error}. Export it again") from None
            split = objects.split_of(Path(item.get("subset") or "", "x"))
            split = split or objects.split_of(image.relative_to(folder))
            ordered = [shape for _, shape in sorted(shapes, key=lambda pair: pair[0])]
            export.images.append(objects.LabelledImage(image, split, ordered, size=size))
    export.names = [name for name in names if name]
    return export


def _parse(path: Path) -> ElementTree.Element:
    if path.stat().st_size > objects.MAX_EXPORT:
        raise SgcpError(
            f"{path}: more than {objects.MAX_EXPORT:,} bytes. Export fewer images at once"
        )
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise SgcpError(f"{path}: defines entities, which CVAT does not. Export it again")
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise SgcpError(f"{path}: not valid XML ({error}). Export it again") from None


def _numbers(shape: ElementTree.Element, *keys: str) -> list[float]:
    return [float(shape.attrib[key]) for key in keys]


def _polygon(shape: ElementTree.Element) -> objects.Draw:
    corners = shape.attrib["points"].replace(";", ",").split(",")
    return objects.polygon([[float(value) for value in corners]])


def _box(shape: ElementTree.Element) -> objects.Draw:
    left, top, right, bottom = _numbers(shape, "xtl", "ytl", "xbr", "ybr")
    center = np.array([(left + right) / 2, (top + bottom) / 2])
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) - center
    return objects.turned(corners, center, float(shape.get("rotation", 0)))


def _ellipse(shape: ElementTree.Element) -> objects.Draw:
    center, radii = np.array(_numbers(shape, "cx", "cy", "rx", "ry")).reshape(2, 2)
    return objects.turned(objects.circle() * radii, center, float(shape.get("rotation", 0)))


def _mask(shape: ElementTree.Element) -> objects.Draw:
    """Return how to draw runs of off and on pixels, row by row, of a box."""
    left, top, width, height = map(int, _numbers(shape, "left", "top", "width", "height"))
    lengths = [int(value) for value in shape.attrib["rle"].split(",")]

    def draw(rows: int, columns: int) -> objects.Mask:
        counts = np.asarray(lengths, np.int64)
        if width < 1 or height < 1 or (counts < 0).any() or counts.sum() != width * height:
            raise ValueError(f"its runs are not those of {width}x{height} pixels")
        inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
        return objects.place(inside, left, top, rows, columns)

    return draw


SHAPES: dict[str, Callable[[ElementTree.Element], objects.Draw]] = {
    "polygon": _polygon, "box": _box, "ellipse": _ellipse, "mask": _mask,
}  # fmt: skip
