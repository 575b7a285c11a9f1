"""CVAT: ``annotations.xml`` of "CVAT for images 1.1"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.labelling.objects import (
    MAX_EXPORT,
    Draw,
    Export,
    Images,
    LabelledImage,
    Shape,
    circle,
    polygon,
    runs,
    split_of,
    turned,
)

NAME = "CVAT for images 1.1"
NO_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")


def find(folder: Path) -> list[Path]:
    """Return the files of this form below a folder."""
    return [path for path in sorted(folder.rglob("*.xml")) if _is_ours(path)]


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return b"<annotations>" in file.read(2**12)


def read(folder: Path, files: list[Path]) -> Export:
    """Read an export; of overlapping shapes, a higher ``z_order`` lies above."""
    export, images = Export(), Images(folder)
    names: dict[str, None] = {}
    for path in files:
        root = _parse(path)
        names |= {item.findtext("name", ""): None for item in root.iterfind("./meta//labels/label")}
        for item in root.iterfind("image"):
            where = f"{path}: image {item.get('id')} ({item.get('name')})"
            shapes = []
            for number, shape in enumerate(item, start=1):
                place = f"{where}: {shape.tag} {number} ({shape.get('label')})"
                if shape.tag in NO_AREA:
                    export.left_out[shape.tag] += 1
                    continue
                try:
                    drawn = Shape(shape.attrib["label"], SHAPES[shape.tag](shape), place)
                    shapes.append((int(shape.get("z_order", 0)), drawn))
                except (KeyError, ValueError) as error:
                    raise SgcpError(f"{place}: {error}. Correct it in CVAT") from None
            try:
                size = int(item.attrib["height"]), int(item.attrib["width"])
                image = images.find(item.attrib["name"], path, where)
            except (KeyError, ValueError) as error:
                raise SgcpError(f"{where}: lacks {error}. Export it again") from None
            split = split_of(Path(item.get("subset") or "", "x"))
            split = split or split_of(image.relative_to(folder))
            ordered = [shape for _, shape in sorted(shapes, key=lambda pair: pair[0])]
            export.images.append(LabelledImage(image, split, ordered, size=size))
    export.names = [name for name in names if name]
    return export


def _parse(path: Path) -> ElementTree.Element:
    if path.stat().st_size > MAX_EXPORT:
        raise SgcpError(f"{path}: more than {MAX_EXPORT:,} bytes. Export fewer images at once")
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise SgcpError(f"{path}: defines entities, which CVAT does not. Export it again")
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise SgcpError(f"{path}: not valid XML ({error}). Export it again") from None


def _numbers(shape: ElementTree.Element, *keys: str) -> list[float]:
    return [float(shape.attrib[key]) for key in keys]


def _polygon(shape: ElementTree.Element) -> Draw:
    corners = shape.attrib["points"].replace(";", ",").split(",")
    return polygon([[float(value) for value in corners]])


def _box(shape: ElementTree.Element) -> Draw:
    left, top, right, bottom = _numbers(shape, "xtl", "ytl", "xbr", "ybr")
    center = np.array([(left + right) / 2, (top + bottom) / 2])
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) - center
    return polygon([turned(corners, center, float(shape.get("rotation", 0)))])


def _ellipse(shape: ElementTree.Element) -> Draw:
    across, down, wide, high = _numbers(shape, "cx", "cy", "rx", "ry")
    around = circle() * [wide, high]
    return polygon([turned(around, np.array([across, down]), float(shape.get("rotation", 0)))])


def _mask(shape: ElementTree.Element) -> Draw:
    left, top, width, height = map(int, _numbers(shape, "left", "top", "width", "height"))
    lengths = [int(value) for value in shape.attrib["rle"].split(",")]
    return runs(lengths, (left, top, width, height))


SHAPES: dict[str, Callable[[ElementTree.Element], Draw]] = {
    "polygon": _polygon, "box": _box, "ellipse": _ellipse, "mask": _mask,
}  # fmt: skip
