"""Pascal VOC, CVAT's "Segmentation mask 1.1", labelme2voc: label maps and a list of classes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_text
from sgcp.datasets.classes import IGNORE, color_code
from sgcp.labelling import objects
from sgcp.media.images import read_mode

NAME = 'VOC or CVAT "Segmentation mask 1.1"'
IMAGES, MASKS = "JPEGImages", "SegmentationClass"
COLORS, WORDS = "labelmap.txt", "class_names.txt"  # lists of CVAT and of labelme2voc
OWN = ("Annotations", "ImageSets")  # folders of VOC itself, which has no list
PAINTED = (MASKS, "SegmentationObject")  # how the names of folders without images begin
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip


def find(folder: Path, files: list[Path]) -> list[Path]:
    """Return the folders of label maps."""
    above = {parent for path in files for parent in path.relative_to(folder).parents}
    return sorted(folder / parent for parent in above if parent.name == MASKS)


def read(_folder: Path, files: list[Path]) -> objects.Export:
    """Read an export; splits are those of ``ImageSets/Segmentation``."""
    export = objects.Export()
    for masks in files:
        root = masks.parent
        names, source = _names(root)
        export.names += [name for name in names.values() if name not in export.names]
        splits = {
            name.strip(): split
            for listed in sorted((root / "ImageSets" / "Segmentation").glob("*.txt"))
            if (split := objects.split_of(Path(listed.name), of_list=True))  # not trainval.txt
            for name in read_text(listed, objects.MAX_EXPORT).splitlines()
        }
        folder = root / IMAGES if (root / IMAGES).is_dir() else root
        images = defaultdict(list)
        for path in objects.Images(folder):
            if not any(part.startswith(PAINTED) for part in path.relative_to(root).parts):
                images[objects.same_name(path)].append(path)
        for path in objects.visible_files(masks):
            if path.suffix != ".png":
                continue
            inside = path.relative_to(masks)
            above = inside.parts[:-1]
            same = images[objects.same_name(path)]
            found = [image for image in same if image.parts[-1 - len(above) : -1] == above]
            if len(found) != 1:
                raise SgcpError(
                    f"{path}: {len(found) or 'no'} images below {folder} have its name and folder, "
                    "expected one. CVAT exports images if 'Save images' is on; or copy them into "
                    f"{IMAGES}"
                )
            split = splits.get(inside.with_suffix("").as_posix())
            colored = read_mode(path) != "L"
            known = names if colored else dict(enumerate(names.values()))
            border = _voc_color(IGNORE) if colored else IGNORE
            painted = objects.Painted(path, known, colored, {border} - known.keys(), source)
            export.images.append(objects.LabelledImage(found[0], split, painted=painted))
    return export


def _names(root: Path) -> tuple[dict[int, str], str]:
    """Return the class of each colour, in the order of their indices, and the list they are in."""
    if (path := root / COLORS).is_file():
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
        return names, COLORS
    if (path := root / WORDS).is_file():
        lines = read_text(path, objects.MAX_EXPORT).splitlines()
        words, source = [line.strip() for line in lines if line.strip()], WORDS
    elif any((root / name).is_dir() for name in OWN):
        words, source = list(VOC), "Pascal VOC"
    else:
        raise SgcpError(
            f"{root}: has no list of its classes. Write {COLORS} there, with a row "
            "name:red,green,blue:: for each colour"
        )
    return {_voc_color(index): name for index, name in enumerate(words)}, source


def _voc_color(index: int) -> int:
    """Return a colour of VOC's palette: bits of the index, dealt to red, green and blue."""
    red, green, blue = (
        sum((index >> (3 * place + channel) & 1) << (7 - place) for place in range(8))
        for channel in range(3)
    )
    return color_code(red, green, blue)
