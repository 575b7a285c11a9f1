"""Street datasets as published: an image and a label map of the same name, in folders of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import CITYSCAPES_CLASSES, color_code
from sgcp.datasets.foreign_layouts import find_split
from sgcp.labelling.objects import ENDINGS, Export, LabelledImage, Painted, read_export_json

LABEL_IDS = {label_id: name for label_id, name, _ in CITYSCAPES_CLASSES}
TRAIN_IDS = {train_id: name for train_id, (_, name, _) in enumerate(CITYSCAPES_CLASSES)}
# Level 3 of the labels of AutoNUE's public code, each under the first of its names that are scored.
IDD_IDS = dict(enumerate((
    "road", "drivable fallback", "sidewalk", "non-drivable fallback", "person", "rider",
    "motorcycle", "bicycle", "autorickshaw", "car", "truck", "bus", "vehicle fallback", "curb",
    "wall", "fence", "guard rail", "billboard", "traffic sign", "traffic light", "pole",
    "obs-str-bar-fallback", "building", "bridge", "vegetation", "sky",
)))  # fmt: skip
Names = Mapping[int, str]


@dataclass(frozen=True)
class StreetDataset:
    """How a dataset's folder looks; a module of ``sgcp.labelling`` in form."""

    NAME: str
    image: str
    """Regular expression of an image's path below the folder; its groups name the label map's."""
    label: str
    """The label map's path, with the groups in braces."""
    names: Names | Callable[[Path], Names]
    """Class of each value, or how to read them from the folder that ``root`` names."""
    colored: bool = False

    def find(self, folder: Path, files: list[Path]) -> list[Path]:
        """Return the images that have a label map."""
        return [image for image, _, _ in self._pairs(folder, files)]

    def read(self, folder: Path, files: list[Path]) -> Export:
        """Read the dataset; images without a label map are left out."""
        export, tables = Export(), dict[str, Names]()
        for image, label, match in self._pairs(folder, files):
            root = match["root"]
            if root not in tables:
                tables[root] = self.names(folder / root) if callable(self.names) else self.names
                export.names = [*dict.fromkeys([*export.names, *tables[root].values()])]
            word = match.groupdict().get("split") or ""
            split = find_split(word.partition("_")[0])  # train_extra
            painted = Painted(label, tables[root], self.colored)
            export.images.append(LabelledImage(image, split, painted=painted))
        return export

    def _pairs(self, folder: Path, paths: list[Path]) -> Iterator[tuple[Path, Path, re.Match[str]]]:
        for path in paths:
            match = re.fullmatch(self.image, path.relative_to(folder).as_posix())
            if match and path.suffix.lower() in ENDINGS:
                label = folder / self.label.format(**match.groupdict())
                if label.is_file():
                    yield path, label, match


def _mapillary_names(root: Path) -> Names:
    """Return the class of each index: the order of the configuration beside the splits."""
    paths = (root / name for name in ("config_v1.2.json", "config.json"))
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise SgcpError(f"{root}: has no config_v1.2.json or config.json, which names the classes")
    try:
        return {i: str(item["name"]) for i, item in enumerate(read_export_json(path)["labels"])}
    except (KeyError, TypeError) as error:
        raise SgcpError(f"{path}: lacks {error} of Mapillary's form") from None


def _a2d2_names(root: Path) -> Names:
    """Return the class of each colour: ``class_list.json``, beside the drives or above them."""
    path = next((p / "class_list.json" for p in (root, root.parent)
                 if (p / "class_list.json").is_file()), None)  # fmt: skip
    if path is None:
        raise SgcpError(f"{root}: has no class_list.json in it or above. Copy it from the archive")
    try:
        return {
            color_code(*bytes.fromhex(color[1:])): str(name)
            for color, name in read_export_json(path).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise SgcpError(f'{path}: expected colours like "#ff0000" with names ({error})') from None


ROOT, SPLIT, NAME = r"(?P<root>(?:.*/)?)", r"(?P<split>train|val)", r"(?P<name>.+)"
CITYSCAPES = rf"{ROOT}leftImg8bit(?:_\w+)?/(?P<split>train|val|train_extra)/{NAME}_leftImg8bit.*"
DATASETS = {
    "bdd100k": StreetDataset(
        "BDD100K semantic segmentation", rf"{ROOT}images/10k/{SPLIT}/{NAME}\..+",
        "{root}labels/sem_seg/masks/{split}/{name}.png", TRAIN_IDS),
    "mapillary": StreetDataset(
        "Mapillary Vistas 1.2", rf"{ROOT}(?P<split>training|validation)/images/{NAME}\..+",
        "{root}{split}/v1.2/labels/{name}.png", _mapillary_names),
    "mapillary-1.1": StreetDataset(
        "Mapillary Vistas 1.2 as first published",
        rf"{ROOT}(?P<split>training|validation)/images/{NAME}\..+",
        "{root}{split}/labels/{name}.png", _mapillary_names),
    "kitti": StreetDataset(
        "KITTI semantics", rf"{ROOT}training/image_2/{NAME}\..+",
        "{root}training/semantic/{name}.png", LABEL_IDS),
    "idd": StreetDataset(
        "IDD", CITYSCAPES, "{root}gtFine/{split}/{name}_gtFine_labellevel3Ids.png", IDD_IDS),
    "a2d2": StreetDataset(
        "A2D2", rf"{ROOT}camera/(?P<camera>cam_\w+)/(?P<time>\d+)_camera_{NAME}\.png",
        "{root}label/{camera}/{time}_label_{name}.png", _a2d2_names, colored=True),
    "acdc": StreetDataset(
        "ACDC or Dark Zurich", rf"{ROOT}rgb_anon/(?P<name>(?:.+/)?{SPLIT}/.+)_rgb_anon\.png",
        "{root}gt/{name}_gt_labelTrainIds.png", TRAIN_IDS),
    "cityscapes": StreetDataset(
        "Cityscapes' form (also foggy, rainy or dark)", CITYSCAPES,
        "{root}gtFine/{split}/{name}_gtFine_labelIds.png", LABEL_IDS),
    "cityscapes-coarse": StreetDataset(
        "Cityscapes coarse", CITYSCAPES,
        "{root}gtCoarse/{split}/{name}_gtCoarse_labelIds.png", LABEL_IDS),
}  # fmt: skip
