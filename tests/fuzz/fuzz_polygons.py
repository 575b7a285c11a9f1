"""Annotations in JSON, to a drawn label map."""

import json
from pathlib import Path

import atheris
from harness import fuzz

with atheris.instrument_imports(include=["json", "sgcp.core.files", "sgcp.datasets.cityscapes"]):
    from sgcp.datasets.cityscapes import read_polygons

from cityscapesscripts.preparation.json2labelImg import createLabelImage

SQUARE = {"label": "car", "polygon": [[0, 0], [7, 0], [7.5, 7]], "deleted": 0}
SEED = {"imgHeight": 8, "imgWidth": 8, "objects": [SQUARE, SQUARE | {"label": "cargroup"}]}


def read(path: Path) -> None:
    label = createLabelImage(read_polygons(path, (8, 8)), "trainIds")
    assert label.size == (8, 8)


fuzz(read, "a.json", [json.dumps(SEED).encode()])
