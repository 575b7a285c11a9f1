"""YOLO: a text file of polygons for each image, beside a list of classes (``data.yaml``)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_text, read_yaml
from sgcp.labelling import objects

NAME = "YOLO segmentation"
BOX = 5  # numbers of a line that has no outline


def find(folder: Path, files: list[Path]) -> list[Path]:
    """Return the list of classes, if there is one beside text files."""
    texts = (path.relative_to(folder) for path in files if path.suffix == ".txt")
    if not any("labels" in path.parts for path in texts):
        return []
    lists = [path for suffix in (".yaml", ".yml") for path in files if path.suffix == suffix]
    return [path for path in lists if "names" in path.read_text("utf-8", "replace")][:1]


def read(folder: Path, files: list[Path]) -> objects.Export:
    """Read an export; boxes are left out and counted. Later lines lie over earlier ones."""
    export = objects.Export()
    try:
        listed = read_yaml(files[0])["names"]
        pairs = listed.items() if isinstance(listed, dict) else enumerate(listed)
        names = {int(number): str(name) for number, name in pairs}
        export.names = [names[number] for number in range(len(names))]
    except (ValueError, KeyError, TypeError) as error:
        raise SgcpError(f"{files[0]}: no list `names` of classes ({error})") from None
    for path in objects.visible_files(folder):
        relative = PurePosixPath(path.relative_to(folder))
        if path.suffix != ".txt" or "labels" not in relative.parts:
            continue
        image = _image_of(folder, relative)
        shapes = []
        for number, line in enumerate(read_text(path, objects.MAX_EXPORT).splitlines(), start=1):
            where = f"{path}: line {number}"
            try:
                kind, *corners = map(float, line.split())
                if len(corners) == BOX - 1:
                    export.left_out["box"] += 1
                    continue
                if kind not in names:
                    raise ValueError(f"class {kind:g}, of which {files[0].name} has no name")
                shapes.append(objects.Shape(names[int(kind)], _polygon(corners), where))
            except ValueError as error:
                if line.strip():
                    raise SgcpError(f"{where}: {error}. Export it again") from None
        export.images.append(objects.LabelledImage(image, objects.split_of(relative), shapes))
    known = {one.image: one.split for one in export.images}
    splits = {path.parent: split for path, split in known.items()}  # of folders with text files
    export.images += [  # an image without objects needs no text file
        objects.LabelledImage(image, splits[image.parent])
        for image in objects.Images(folder)
        if image not in known and image.parent in splits
    ]
    return export


def _image_of(folder: Path, relative: PurePosixPath) -> Path:
    """Return the image of a text file: in ``images`` where that one is in ``labels``."""
    parts = [*relative.parts]
    last = len(parts) - 1 - parts[::-1].index("labels")
    parts[last] = "images"
    stem = folder.joinpath(*parts[:-1], relative.stem)
    for ending in objects.ENDINGS:
        for spelling in (ending, ending.upper()):
            if (path := stem.with_name(stem.name + spelling)).is_file():
                return path
    raise SgcpError(f"{folder / relative}: no image {stem.name} in {stem.parent}")


def _polygon(corners: list[float]) -> objects.Draw:
    objects.polygon([corners])  # has enough corners
    shares = np.asarray(corners).reshape(-1, 2)
    return lambda height, width: objects.polygon([(shares * [width, height]).ravel().tolist()])(
        height, width
    )
