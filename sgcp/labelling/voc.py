"""Pascal VOC, and CVAT's "Segmentation mask 1.1": painted label maps and a list of colours."""

from __future__ import annotations

from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_text
from sgcp.datasets.classes import color_code
from sgcp.labelling import objects

NAME = 'VOC or CVAT "Segmentation mask 1.1"'
MASKS, LIST = "SegmentationClass", "labelmap.txt"
PAINTED = {MASKS, "SegmentationObject"}  # folders without images
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip


def find(folder: Path, files: list[Path]) -> list[Path]:
    """Return the folders of label maps."""
    above = {parent for path in files for parent in path.relative_to(folder).parents}
    return sorted(folder / parent for parent in above if parent.name == MASKS)


def read(folder: Path, files: list[Path]) -> objects.Export:
    """Read an export; splits are those of ``ImageSets/Segmentation``."""
    export = objects.Export()
    for masks in files:
        root = masks.parent
        names = _names(root / LIST)
        export.names += [name for name in names.values() if name not in export.names]
        splits = {
            name.strip(): split
            for listed in sorted((root / "ImageSets" / "Segmentation").glob("*.txt"))
            if (split := objects.split_of(Path(listed.name), of_list=True))  # not trainval.txt
            for name in read_text(listed, objects.MAX_EXPORT).splitlines()
        }
        images = objects.Images(root)
        for found in images.by_name.values():
            found[:] = [path for path in found if not PAINTED & {*path.relative_to(root).parts}]
        by_name = {objects.same_name(path): path for path in images}
        for path in sorted(masks.rglob("*.png")):
            image = by_name.get(objects.same_name(path))
            if image is None:
                raise SgcpError(
                    f"{path}: no image of this name below {root}. CVAT exports images if 'Save "
                    "images' is on; or copy them into JPEGImages"
                )
            split = splits.get(path.relative_to(masks).with_suffix("").as_posix())
            painted = objects.Painted(path, names, colored=True)
            export.images.append(objects.LabelledImage(image, split, painted=painted))
    return export


def _names(path: Path) -> dict[int, str]:
    """Return the class of each colour: rows ``name:red,green,blue:parts:actions``, or VOC's own."""
    if not path.is_file():
        return {_voc_color(index): name for index, name in enumerate(VOC)}
    names = {}
    for number, line in enumerate(read_text(path, objects.MAX_EXPORT).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            name, color, *_ = line.split(":")
            red, green, blue = map(int, color.split(","))
        except ValueError:
            raise SgcpError(f"{path}: line {number}: expected name:red,green,blue::") from None
        names[color_code(red, green, blue)] = name
    return names


def _voc_color(index: int) -> int:
    """Return a colour of VOC's palette: bits of the index, dealt to red, green and blue."""
    red, green, blue = (
        sum((index >> (3 * place + channel) & 1) << (7 - place) for place in range(8))
        for channel in range(3)
    )
    return color_code(red, green, blue)
