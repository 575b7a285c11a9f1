"""Roboflow's "Semantic Segmentation Masks": ``NAME_mask.png`` beside each image."""

from __future__ import annotations

import csv
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_text
from sgcp.labelling import objects

NAME = "Roboflow Semantic Segmentation Masks"
LIST, ENDING = "_classes.csv", "_mask.png"


def find(folder: Path, files: list[Path]) -> list[Path]:
    """Return the lists of classes."""
    return [path for path in files if path.name == LIST]


def read(folder: Path, files: list[Path]) -> objects.Export:
    """Read an export; each folder's ``_classes.csv`` names the values of its label maps."""
    export = objects.Export()
    for path in files:
        try:
            rows = list(csv.reader(read_text(path, objects.MAX_EXPORT).splitlines()[1:]))
            names = {int(row[0]): row[1].strip() for row in rows if row}
        except (ValueError, IndexError, csv.Error):
            raise SgcpError(f"{path}: expected rows `Pixel Value, Class`") from None
        export.names += [name for name in names.values() if name not in export.names]
        for mask in sorted(path.parent.glob(f"*{ENDING}")):
            stem = mask.name.removesuffix(ENDING)
            beside = (mask.with_name(stem + ending) for ending in objects.ENDINGS)
            image = next((file for file in beside if file.is_file()), None)
            if image is None:
                raise SgcpError(f"{mask}: no image {stem} beside it")
            split = objects.split_of(mask.relative_to(folder))
            painted = objects.Painted(mask, names, colored=False, listed_in=LIST)
            export.images.append(objects.LabelledImage(image, split, painted=painted))
    return export
