"""Cityscapes: where its files belong, and polygons to label maps, drawn by cityscapesScripts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgcp.core.errors import SgcpError, printable, shorten
from sgcp.core.files import parse_json, read_text
from sgcp.core.parallel import map_parallel
from sgcp.core.terminal import warn
from sgcp.datasets.classes import CITYSCAPES_PROTOCOL, cityscapes_classes
from sgcp.datasets.foreign_layouts import SPLIT, explain_layout
from sgcp.datasets.ground_truth import ground_truth_of_instance_ids, write_segments
from sgcp.datasets.index import (
    SPLITS,
    Dataset,
    Item,
    digest_file,
    digest_pixels,
    refuse_collisions,
)  # fmt: skip
from sgcp.datasets.preparing import RawImage, check_counts, describe_image, pair_files
from sgcp.datasets.raw import OnlyOnce
from sgcp.datasets.source import DatasetSource, Inputs, read_edition
from sgcp.media.images import read_label, write_png

if TYPE_CHECKING:
    from cityscapesscripts.helpers.annotation import Annotation

FAR = 1e6  # pixels; no annotation reaches this far beyond its image
MAX_ANNOTATION = 2**24  # of an annotation; Cityscapes' longest are below a megabyte
MAX_POINTS = 100_000  # of an annotation; drawing takes seconds then
IMAGE_ENDING = "_leftImg8bit.png"
POLYGON_ENDING = "_gtFine_polygons.json"
LABEL_ENDING = "_gtFine_labelTrainIds.png"
SEGMENT_ENDING = "_gtFine_segments.png"
IMAGES, LABELS = "leftImg8bit", "gtFine"
PLACE = r"(?:train|val|test)/[^/]+/[^/.][^/]*"  # no `._NAME` of macOS
LABELLED = ("train", "val")  # splits whose polygons are published
LAYOUT = (
    f"{IMAGES}/train|val/CITY/NAME{IMAGE_ENDING} and {LABELS}/train|val/CITY/NAME{POLYGON_ENDING}"
)


def raw_path(name: str) -> Path | None:
    """Return where an image or polygons belong below the raw folder; label maps are made anew."""
    match = re.search(
        rf"(?:^|/)({IMAGES}/{PLACE}{IMAGE_ENDING}|{LABELS}/{PLACE}{POLYGON_ENDING})\Z", name
    )
    return Path(match[1]) if match else None


def _find_scenes(raw: Path, name: str, allow_missing: bool) -> list[RawImage]:
    """List the images of every split with their polygons; test polygons are dummies, left out."""
    if not (raw / IMAGES).is_dir():
        raise SgcpError(f"{raw}: has no leftImg8bit; run `sgcp download {name}` first")
    scenes = [
        RawImage(split, path, _polygons_of(path) if split in LABELLED else None, path.parent.name)
        for split in SPLITS
        for path in _list_files(raw, f"{IMAGES}/{split}/*/*{IMAGE_ENDING}")
    ]
    polygons = [p for s in LABELLED for p in _list_files(raw, f"{LABELS}/{s}/*/*{POLYGON_ENDING}")]
    return pair_files(name, raw, scenes, polygons, allow_missing, LAYOUT)


def _list_files(raw: Path, pattern: str) -> list[Path]:
    """Return the files below ``raw`` that match a pattern, sorted; dead links are no files."""
    return sorted(path.relative_to(raw) for path in raw.glob(pattern) if path.is_file())


def _polygons_of(image: Path) -> Path:
    return Path(LABELS, *image.parts[1:-1], image.name.removesuffix(IMAGE_ENDING) + POLYGON_ENDING)


def read_polygons(path: Path, size: tuple[int, int]) -> Annotation:
    """Read an annotation, refusing what cityscapesScripts cannot draw or misreads."""
    from cityscapesscripts.helpers.annotation import Annotation

    try:
        content: Any = parse_json(read_text(path, MAX_ANNOTATION))
        declared = (content["imgHeight"], content["imgWidth"])
        objects = [(i["label"], i["polygon"], i.get("deleted", 0)) for i in content["objects"]]
    except FileNotFoundError:
        raise SgcpError(f"{path}: no such annotation; get the data again") from None
    except ValueError as error:
        raise SgcpError(f"{path}: damaged ({error}); get it again") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise SgcpError(f"{path}: not a Cityscapes annotation ({error})") from None
    if declared != size:
        raise SgcpError(f"{path}: for an image of {declared}, but its image is {size}")
    for label, polygon, deleted in objects:
        if problem := _problem(label, polygon, deleted):
            raise SgcpError(f"{path}: {problem}")
    # Unchecked parts are left out: deleted polygons, camera, dates, users.
    kept = [
        {"label": label, "polygon": [] if deleted else polygon, "deleted": int(deleted or 0)}
        for label, polygon, deleted in objects
    ]
    if sum(len(item["polygon"]) for item in kept) > MAX_POINTS:
        raise SgcpError(f"{path}: more than {MAX_POINTS:,} points; Cityscapes' images have fewer")
    drawn = {"imgHeight": size[0], "imgWidth": size[1], "objects": kept}
    annotation = Annotation()
    annotation.fromJsonText(json.dumps(drawn))
    return annotation


def _problem(label: Any, polygon: Any, deleted: Any) -> str:
    """Return why cityscapesScripts cannot draw an object, nothing if it can or need not."""
    from cityscapesscripts.helpers.labels import name2label

    if type(deleted) not in (int, bool, type(None)) or deleted not in (0, 1, None):
        return f"'deleted' of a '{label}' is {str(deleted)[:80]!r}, expected 0 or 1"
    if deleted:  # never drawn: any label and polygon will do
        return ""
    known = isinstance(label, str) and (
        name2label.get(label) or name2label.get(label.removesuffix("group"))
    )
    if not known:
        return f"unlisted label {str(label)[:80]!r}; it is not a class of Cityscapes"
    if not isinstance(polygon, list) or not all(_is_point(point) for point in polygon):
        return f"a polygon of '{label}' is not a list of [x, y] within {FAR:,.0f} pixels"
    if len(polygon) < 2 and known.id >= 0:  # a negative id, of licence plates, is never drawn
        return f"a polygon of '{label}' has fewer than two points"
    return ""


def _is_point(value: Any) -> bool:
    """Return whether a value is a pair of finite numbers, of a size that images have."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(part) in (int, float) and abs(part) < FAR for part in value)
    )


def _convert_scene(scene: RawImage, raw: Path, out: Path) -> tuple[Item, int]:
    """Draw one scene's train-id map and map of segments; return its row and deleted objects."""
    item = describe_image(scene, raw)
    if scene.label is None:
        return item, 0
    stem = scene.label.name.removesuffix(POLYGON_ENDING)
    label = Path("labels", scene.split, scene.sequence, stem + LABEL_ENDING)
    segments = Path("segments", scene.split, scene.sequence, stem + SEGMENT_ENDING)
    deleted = 0
    if not ((out / label).is_file() and (out / segments).is_file()):
        annotation = read_polygons(raw / scene.label, (item.height, item.width))
        deleted = sum(bool(each.deleted) for each in annotation.objects)
        _draw_maps(annotation, out / label, out / segments)
    item = replace(item, label=label, label_digest=digest_pixels(read_label(out / label)))
    return replace(item, segments=segments, segments_digest=digest_file(out / segments)), deleted


def _draw_maps(annotation: Annotation, label: Path, segments: Path) -> None:
    """Draw an annotation: train ids pixel for pixel as ``csCreateTrainIdLabelImgs``, and objects.

    The objects are those that ``csCreateTrainIdInstanceImgs`` and the evaluator count: a group
    (``cargroup``) is none.
    """
    from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
    from cityscapesscripts.preparation.json2labelImg import createLabelImage

    drawn = np.array(createLabelImage(annotation, "trainIds"))
    instance_ids = np.array(createInstanceImage(annotation, "ids"))
    write_segments(segments, ground_truth_of_instance_ids(instance_ids, drawn))
    write_png(label, drawn)


def prepare_cityscapes(
    raw: Path,
    out: Path,
    name: str,
    edition: str,
    expected: Mapping[str, int],
    allow_missing: bool,
    workers: int | str,
) -> Dataset:
    """Convert every labelled scene into ``out/labels``."""
    scenes = _find_scenes(raw, name, allow_missing)
    refuse_collisions(scenes, raw)
    found = Counter(scene.split for scene in scenes)
    check_counts(name, {split: (found[split], n) for split, n in expected.items()}, allow_missing)
    converted = map_parallel(partial(_convert_scene, raw=raw, out=out), scenes, workers, "labels")
    items = tuple(item for item, _ in converted)
    if deleted := [count for _, count in converted if count]:
        warn(
            f"note: {raw}: {sum(deleted)} objects marked as deleted, in {len(deleted)} "
            "annotations, are not drawn, as in the official converter"
        )
    return Dataset(name, edition, CITYSCAPES_PROTOCOL, cityscapes_classes(), items)


STRAY = rf"(?:^|/){IMAGES}/(?:train|val|test)/.+\.(?:png|jpe?g)\Z"  # images that are not read
LAYOUTS = (
    ("Foggy Cityscapes", r"leftImg8bit[^/]*/.+_foggy(?:DBF)?_.+\.png",
     "Its images are named after those of Cityscapes: link those of one beta to "
     "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png"),
    ("RainCityscapes", r"leftImg8bit[^/]*/.+_rain_.+\.png",
     "Its images are named after those of Cityscapes: link one of each to "
     "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png"),
    ("ACDC or Dark Zurich", r"rgb_anon/.+_rgb_anon\.png",
     "It has label maps, not polygons: `sgcp import-labels` makes a dataset of your own of it "
     "(docs/custom-dataset.md)"),
    ("Cityscapes' coarse annotations", r"gtCoarse/.+_gtCoarse_polygons\.json",
     "Get the fine ones too, gtFine_trainvaltest.zip; or make a dataset of your own of these with "
     "`sgcp import-labels` (docs/custom-dataset.md)"),
    ("Cityscapes' label maps without their polygons",
     r"gtFine/.+_gtFine_(?:labelTrainIds|labelIds|instanceIds|color)\.png",
     "Label maps are drawn from the polygons, which gtFine_trainvaltest.zip has too; or make a "
     "dataset of your own of them with `sgcp import-labels` (docs/custom-dataset.md)"),
    ("images in another format", r"leftImg8bit/.+\.(?:jpe?g|webp|bmp|tiff?)",
     "Images are PNG files: convert them, and keep their names "
     "(`mogrify -format png leftImg8bit/*/*/*.jpg`)"),
    ("images or polygons without a folder for their city",
     rf"(?:leftImg8bit|gtFine)/{SPLIT}/[^/]+\.(?:png|json)",
     "Put those of each city into a folder: leftImg8bit/train/aachen/..."),
    ("images of another camera or depth",
     r"(?:rightImg8bit|leftImg16bit|rightImg16bit|leftImg8bit_sequence|disparity)/.+\.png",
     "The images of leftImg8bit_trainvaltest.zip are needed"),
    ("a folder within leftImg8bit or gtFine",
     r".+_(?:leftImg8bit\.png|gtFine_polygons\.json)",
     "Name the folder that contains both leftImg8bit and gtFine"),
    ("images with other names", r"leftImg8bit/.+\.png",
     "Name them NAME_leftImg8bit.png, and their polygons NAME_gtFine_polygons.json"),
    ("archives that are not unpacked", r"[^/]*(?:leftImg8bit|gtFine)[^/]*\.zip",
     "Give them by `--archive FILE...`, or unpack them"),
)  # fmt: skip


def check_source(raw: Path, place: OnlyOnce, edition: str) -> None:
    """Refuse a source that lacks images or polygons; report images that are not read."""
    parts = {path.parts[0] for path in place.taken}
    wanted = {IMAGES: f"NAME{IMAGE_ENDING}", LABELS: f"NAME{POLYGON_ENDING}"}
    if lacks := [f"{part}/SPLIT/CITY/{name}" for part, name in wanted.items() if part not in parts]:
        found = explain_layout(LAYOUTS, place.skipped)
        raise SgcpError(
            f"cityscapes: the source lacks {' and '.join(lacks)}: {found}. Give both archives, or "
            f"the folder that contains {IMAGES} and {LABELS} (docs/datasets.md)"
        )
    strays = [name for name in place.skipped if re.search(STRAY, name, re.IGNORECASE)]
    if strays:
        warn(
            f"note: left out {len(strays)} images ({shorten(map(printable, strays))}): only "
            f"{IMAGES}/SPLIT/CITY/NAME{IMAGE_ENDING} are read"
        )


def _prepare(inputs: Inputs, out: Path, settings: Any, workers: int | str) -> Dataset:
    expected = read_edition(inputs.description, "fine").images
    return prepare_cityscapes(
        inputs.raw, out, "cityscapes", "fine", expected, settings.allow_missing, workers
    )


SOURCE = DatasetSource(
    _prepare,
    raw_path,
    check_source,
    layouts=LAYOUTS,
    root_variable="CITYSCAPES_DATASET",
    has_server=True,
)
