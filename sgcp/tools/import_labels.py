"""``sgcp import-labels``: the export of a labelling tool becomes images, label maps and classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sgcp.core.errors import SgcpError, printable, shorten
from sgcp.core.files import building_folder, json_digest, write_bytes, write_text
from sgcp.core.machine import usable_cores
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import answer, say, track, warn
from sgcp.datasets.class_maps import read_class_map
from sgcp.datasets.classes import IGNORE, color_code
from sgcp.datasets.custom import IMAGES, LABELS
from sgcp.datasets.custom_classes import (
    CLASSES,
    IGNORED,
    MAX_CLASSES,
    format_classes,
    means_void,
)
from sgcp.datasets.foreign_layouts import OTHER_SPLITS
from sgcp.datasets.index import SPLITS
from sgcp.labelling import coco, cvat, label_studio, labelme, roboflow, voc, yolo
from sgcp.labelling.objects import Export, Form, LabelledImage, label_map
from sgcp.labelling.street import DATASETS
from sgcp.media.images import read_photo, read_size, write_png
from sgcp.reporting.palettes import distinct

FORMATS: dict[str, Form] = {
    "coco": coco, "cvat": cvat, "label-studio": label_studio, "labelme": labelme,
    "roboflow": roboflow, "voc": voc, "yolo": yolo, **DATASETS,
}  # fmt: skip
COPIED = (".png", ".jpg", ".jpeg")
NOT_NAMES = {*SPLITS, *OTHER_SPLITS, IMAGES, LABELS, "JPEGImages", "leftImg8bit", "train_extra",
             "rgb_anon", "image_2", "10k", "camera"}  # fmt: skip


def import_labels(
    sources: Sequence[Path],
    out: Path,
    forms: Sequence[str] = (),
    unlabelled: str | None = None,
    val: float = 0.2,
    class_maps: Sequence[str] = (),
) -> None:
    """Write the folder that ``sgcp init --custom`` and ``custom.download.root`` take.

    Args:
        sources: folders of exports, with their images. Of several, each becomes a folder of the
            dataset, and classes of the same name become one.
        out: a new folder, or one that this wrote.
        forms: keys of ``FORMATS``: one for all sources or one for each; none: what a folder looks
            like.
        unlabelled: class of the pixels that no object covers; None: they are ignored.
        val: share of the images that becomes the validation split, if the export has no splits:
            the last ones by name, since neighbours resemble each other.
        class_maps: as ``read_class_map`` takes them, one for each source, or none at all: classes
            are renamed and joined by it. ``-``: those of this source keep their names.

    Raises:
        SgcpError: no export, a damaged one, or images are missing.
    """
    if not 0 <= val < 1:
        raise SgcpError(f"--val: expected 0 to below 1, got {val}")
    if class_maps and len(class_maps) != len(sources):
        raise SgcpError(f"--map: expected one for each of {len(sources)} folders, or none")
    if len(forms) not in (0, 1, len(sources)):
        raise SgcpError(f"--format: expected one for all or each of {len(sources)} folders")
    inside = out.resolve()
    for folder in (source.resolve() for source in sources):
        if inside.is_relative_to(folder) or folder.is_relative_to(inside):
            raise SgcpError(f"--out: {out} and the export contain each other. Choose a new folder")
    if foreign := {path.name for path in out.glob("*")} - {IMAGES, LABELS, CLASSES}:
        raise SgcpError(f"--out: {out} has other files ({shorten(foreign)}). Choose a new folder")
    each: Sequence[str | None] = [*forms] * (len(sources) if len(forms) == 1 else 1)
    exports = [
        _read(source, form, name, unlabelled is None)
        for source, form, name in zip(
            sources, each or [None] * len(sources), class_maps or ["-"] * len(sources), strict=True
        )
    ]
    if unlabelled and not any(image.shapes for export in exports for image in export.images):
        raise SgcpError("--unlabelled: label maps have a value for each pixel. Leave it out")
    names, void = _classes(exports, unlabelled)
    images: list[tuple[LabelledImage, Path]] = []
    for source, export in zip(sources, exports, strict=True):
        above = source.resolve().name if len(sources) > 1 else ""
        splits = _splits(export.images, val)
        images += [
            (image, _target(image, split, source, above))
            for image, split in zip(export.images, splits, strict=True)
        ]
    targets = Counter(target for _, target in images)
    if twice := [path for path, count in targets.items() if count > 1]:
        raise SgcpError(f"{out}: several images become {shorten(twice, 2)}. Rename them")
    ids = {name: number for number, name in enumerate(names)} | dict.fromkeys(void, IGNORE)
    rest = ids[unlabelled] if unlabelled else IGNORE

    def convert(pair: tuple[LabelledImage, Path]) -> None:
        _convert(*pair, ids, rest, folder)

    key = json_digest([[str(source.resolve()) for source in sources], names,
                       sorted(map(str, targets))])  # fmt: skip
    with building_folder(out, key) as folder:
        for _ in track(map_threads(convert, images, usable_cores()), "label maps", len(images)):
            pass
        colors = [color_code(*color) for color in distinct(len(names)).tolist()]
        numbers = map(str, range(len(names)))
        rows = [*zip(names, numbers, colors, strict=True), (IGNORED, str(IGNORE), None)]
        write_text(folder / CLASSES, format_classes(rows))
    made = Counter(target.parts[0] for target in targets)
    counts = ", ".join(f"{made[split]} {split}" for split in SPLITS if split in made)
    answer(f"{out}: {counts}; classes {shorten(names, 8)}\nnext: sgcp init PROJECT --custom {out}")


def _read(source: Path, form: str | None, class_map: str, without_empty: bool) -> Export:
    """Read an export, say what it is, and what of it is left out."""
    found, files = _recognise(source, form)
    export = FORMATS[found].read(source, files)
    say(
        f"{source}: {'' if form else 'looks like '}{FORMATS[found].NAME}, {len(export.images)} "
        f"images, {len(_named(export))} classes{'' if form else '; --format to say otherwise'}"
    )
    if class_map != "-":
        _rename(export, read_class_map(class_map), f"{class_map} for {source}")
    if without_empty:
        empty = [one for one in export.images if not one.shapes and one.painted is None]
        export.images = [one for one in export.images if one.shapes or one.painted]
        export.left_out["images without objects"] += len(empty)
    if left_out := [f"{count:,} {kind}" for kind, count in export.left_out.items() if count]:
        warn(f"note: left out, as they cover no area: {printable(shorten(left_out))}")
    return export


def _named(export: Export) -> list[str]:
    """Return the names of all classes, those of the tool's list first."""
    used = {shape.name for image in export.images for shape in image.shapes}
    used = used.union(*(one.painted.names.values() for one in export.images if one.painted))
    return [*dict.fromkeys([*export.names, *sorted(used)])]


def _recognise(source: Path, form: str | None) -> tuple[str, list[Path]]:
    if not source.is_dir():
        raise SgcpError(f"{source}: is no folder. Unpack the export, and name its folder")
    if form is not None and form not in FORMATS:
        raise SgcpError(f"--format: '{form}' is none of {', '.join(FORMATS)}")
    found = {key: FORMATS[key].find(source) for key in ([form] if form else FORMATS)}
    found = {key: files for key, files in found.items() if files}
    # Datasets come with annotations in COCO's and other forms beside their label maps.
    found = {key: files for key, files in found.items() if key in DATASETS} or found
    if len(found) > 1:
        listed = "; ".join(f"{key}: {shorten(files, 1)}" for key, files in found.items())
        raise SgcpError(f"{source}: may be several exports ({listed}). Say which with --format")
    if not found:
        known = ", ".join(module.NAME for module in FORMATS.values())
        raise SgcpError(f"{source}: no export{f' of {form}' if form else ''} found. Known: {known}")
    return next(iter(found.items()))


def _rename(export: Export, names: dict[str, str], which: str) -> None:
    """Replace the names of all classes.

    Raises:
        SgcpError: the export has others.
    """
    used = {*_named(export)}
    if unknown := sorted(used - names.keys()):
        raise SgcpError(f"--map: {which}: does not list {shorten(unknown)}. Add the rows")
    export.names = [*dict.fromkeys(names[name] for name in names if name in used)]
    for index, image in enumerate(export.images):
        shapes = [replace(shape, name=names[shape.name]) for shape in image.shapes]
        painted = image.painted and replace(
            image.painted,
            names={code: names[name] for code, name in image.painted.names.items()},
        )
        export.images[index] = replace(image, shapes=shapes, painted=painted)


def _classes(exports: Sequence[Export], unlabelled: str | None) -> tuple[list[str], set[str]]:
    """Return the names of the classes in order, and the names that mean none."""
    every = dict.fromkeys(name for export in exports for name in _named(export))
    void = {name for name in every if means_void(name) and name != unlabelled}
    names = [name for name in every if name not in void]
    if unlabelled and unlabelled not in names:
        names.append(unlabelled)
    if not 2 <= len(names) <= MAX_CLASSES:
        raise SgcpError(
            f"{len(names)} classes ({shorten(names)}), expected 2 to {MAX_CLASSES}. What no object "
            "covers can be one: --unlabelled background"
        )
    return names, void


def _splits(images: Sequence[LabelledImage], val: float) -> list[str]:
    if not images:
        raise SgcpError("the export has no images")
    given = [image.split for image in images]
    if any(given):
        if missing := [image.image for image in images if not image.split]:
            raise SgcpError(f"in none of the splits: {shorten(missing, 2)}. Export all with splits")
        return [split or "" for split in given]
    order = sorted(range(len(images)), key=lambda index: images[index].image.as_posix())
    held = set(order[len(order) - round(val * len(order)) :])
    say(f"no splits in the export: the last {len(held)} images by name become val")
    return ["val" if index in held else "train" for index in range(len(images))]


def _target(labelled: LabelledImage, split: str, source: Path, above: str) -> Path:
    """Return where an image goes below ``images`` and ``labels``, without an ending."""
    inside = labelled.image.relative_to(source)
    parts = [part for part in inside.parts[:-1] if part not in NOT_NAMES]
    return Path(split, above, *parts, inside.stem)


def _convert(
    labelled: LabelledImage, target: Path, ids: dict[str, int], rest: int, folder: Path
) -> None:
    """Write one image and its label map."""
    path = labelled.image
    try:
        if path.suffix.lower() not in COPIED:
            raise SgcpError("not read as it is")
        size = read_size(path)
        place = folder / IMAGES / target.with_name(target.name + path.suffix.lower())
        write_bytes(place, path.read_bytes())
    except SgcpError:  # rotated by its EXIF data, or of another format: as a viewer shows it
        pixels = read_photo(path)
        size = pixels.shape[0], pixels.shape[1]
        write_png(folder / IMAGES / target.with_name(f"{target.name}.png"), pixels)
    label = label_map(labelled, size, ids, rest)
    write_png(folder / LABELS / target.with_name(f"{target.name}.png"), label)
