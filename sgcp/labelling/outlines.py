"""Polygons of label maps, in the forms that labelling tools import."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from sgcp.core.files import to_json, write_text
from sgcp.core.terminal import track
from sgcp.datasets.classes import IGNORE, SemanticClass
from sgcp.media.images import UInt8, read_label

ANNOTATIONS = {"coco": "annotations.json", "cvat": "annotations.xml"}  # of all images
POLYGON: dict[str, Any] = {  # of labelme, beside its class and corners
    "group_id": None, "description": "", "shape_type": "polygon", "flags": {},
}  # fmt: skip
TOLERANCE = 0.4  # pixels by which a simplified outline may differ from that of the label map
Corners = NDArray[np.float64]
Files = dict[Path, str]
"""Content by path."""


@dataclass(frozen=True)
class Labelled:
    """An image and its label map."""

    name: Path
    """Of the image, below the folder of all images."""
    image: Path
    labels: Path
    """``NAME_labels.png``."""


Maps = Iterable[tuple[Labelled, UInt8]]  # with the label map (H, W) itself


@dataclass(frozen=True)
class Outline:
    """A region of one class: connected pixels of a label map."""

    train_id: int
    corners: Corners
    """(N, 2) float64, x and y in pixels from the top left corner of the image."""
    area: float  # pixels


def trace(labels: UInt8, tolerance: float = TOLERANCE) -> Iterator[Outline]:
    """Yield the regions of a label map (H, W) by class; pixels without a class have none.

    A hole is joined to the outline around it by a seam: two edges in opposite directions, which
    enclose nothing. So one polygon describes a region in every tool, and no region covers another.
    """
    from contourpy import FillType, contour_generator
    from shapely import Polygon

    for train_id in np.unique(labels[labels != IGNORE]).tolist():
        inside = np.pad(labels == train_id, 1).astype(np.float32)
        contours = contour_generator(z=inside, fill_type=FillType.OuterOffset)
        for points, offsets in zip(*contours.filled(0.5, np.inf), strict=True):
            rings = np.split(points - 0.5, offsets[1:-1])  # the padding's centre lies at -0.5
            region = Polygon(rings[0], rings[1:]).simplify(tolerance)
            holes = [np.asarray(hole.coords) for hole in region.interiors]
            corners = _join(np.asarray(region.exterior.coords), holes)
            yield Outline(train_id, corners[:-1], region.area)


def _join(outline: Corners, holes: Sequence[Corners]) -> Corners:
    """Return a closed outline that goes to each closed hole, around it, and back."""
    from shapely import STRtree, points

    if not holes:
        return outline
    nearest = STRtree(points(outline)).nearest(points([hole[0] for hole in holes]))
    pieces, last = [], 0
    for place in np.argsort(nearest, kind="stable").tolist():
        pieces += [outline[last : nearest[place] + 1], holes[place]]
        last = nearest[place]
    return np.concatenate([*pieces, outline[last:]])


def to_labelme(images: Maps, classes: Sequence[SemanticClass], out: Path) -> Files:
    """Return a JSON file beside each label map, which labelme opens with the image."""
    files = {}
    for image, labels in images:
        shapes = [
            {"label": classes[one.train_id].name, "points": one.corners.tolist(), **POLYGON}
            for one in trace(labels)
        ]
        path = image.labels.with_name(f"{image.labels.stem.removesuffix('_labels')}.json")
        content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": Path(os.path.relpath(image.image, path.parent)).as_posix(),
            "imageData": None,
            "imageHeight": labels.shape[0],
            "imageWidth": labels.shape[1],
        }
        files[path] = to_json(content)
    return files


def to_coco(images: Maps, classes: Sequence[SemanticClass], out: Path) -> Files:
    """Return COCO's JSON of all images; categories count from 1."""
    listed: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, (one, labels) in enumerate(images, start=1):
        size = dict(zip(("height", "width"), labels.shape, strict=True))
        listed.append({"id": number, "file_name": one.name.as_posix(), **size})
        for outline in trace(labels):
            low, high = outline.corners.min(0), outline.corners.max(0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": outline.train_id + 1,
                    "segmentation": [outline.corners.ravel().tolist()],
                    "area": outline.area,
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "iscrowd": 0,
                }
            )
    categories = [
        {"id": item.train_id + 1, "name": item.name, "supercategory": ""} for item in classes
    ]
    content = {"images": listed, "annotations": annotations, "categories": categories}
    return {out / ANNOTATIONS["coco"]: json.dumps(content, ensure_ascii=False) + "\n"}


def to_cvat(images: Maps, classes: Sequence[SemanticClass], out: Path) -> Files:
    """Return the XML of all images that CVAT uploads as "CVAT 1.1"."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    listed = ElementTree.SubElement(task, "labels")
    for item in classes:
        label = ElementTree.SubElement(listed, "label")
        ElementTree.SubElement(label, "name").text = item.name
        ElementTree.SubElement(label, "color").text = "#{:02x}{:02x}{:02x}".format(*item.color)
    for number, (one, labels) in enumerate(images):
        height, width = map(str, labels.shape)
        attributes = {"id": str(number), "name": one.name.as_posix()}
        image = ElementTree.SubElement(root, "image", attributes, width=width, height=height)
        for outline in trace(labels):
            points = ";".join(f"{x:g},{y:g}" for x, y in outline.corners.tolist())
            ElementTree.SubElement(
                image, "polygon", label=classes[outline.train_id].name, source="auto",
                occluded="0", points=points, z_order="0",
            )  # fmt: skip
    ElementTree.indent(root)
    return {out / ANNOTATIONS["cvat"]: ElementTree.tostring(root, "unicode") + "\n"}


def annotate(
    form: str, images: Sequence[Labelled], classes: Sequence[SemanticClass], out: Path, force: bool
) -> list[Path]:
    """Write the polygons of label maps for a labelling tool, by a key of ``FORMATS``.

    Existing files, which may have been corrected in the tool, are kept without ``force``; returned
    are those that differ.
    """
    maps = ((one, read_label(one.labels)) for one in track(images, "polygons", len(images)))
    files = FORMATS[form](maps, classes, out)
    kept = []
    for path, content in files.items():
        if path.exists() and not force:
            if path.is_dir() or path.read_bytes() != content.encode():
                kept.append(path)
        else:
            write_text(path, content)
    return kept


FORMATS: dict[str, Callable[[Maps, Sequence[SemanticClass], Path], Files]] = {
    "labelme": to_labelme, "coco": to_coco, "cvat": to_cvat,
}  # fmt: skip
