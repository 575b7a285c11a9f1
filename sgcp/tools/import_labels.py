"""``sgcp import-labels``: the export of a labelling tool becomes images, label maps and classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from sgcp.core.errors import SgcpError, printable, shorten
from sgcp.core.files import (
    building_folder,
    file_sha256,
    fingerprint,
    json_digest,
    write_bytes,
    write_text,
)
from sgcp.core.machine import usable_cores
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import answer, say, track, warn
from sgcp.datasets.class_maps import read_class_map
from sgcp.datasets.classes import IGNORE, color_code
from sgcp.datasets.custom import ENDINGS, IMAGES, LABELS
from sgcp.datasets.custom_classes import CLASSES, IGNORED, MAX_CLASSES, format_classes, means_void
from sgcp.datasets.foreign_layouts import OTHER_SPLITS
from sgcp.datasets.index import SPLITS
from sgcp.labelling import coco, cvat, label_studio, labelme, roboflow, voc, yolo
from sgcp.labelling.objects import Export, Form, LabelledImage, label_map, visible_files
from sgcp.labelling.street import DATASETS
from sgcp.media.images import read_image, read_photo, write_png
from sgcp.reporting.palettes import distinct

FORMATS: dict[str, Form] = {
    "coco": coco, "cvat": cvat, "label-studio": label_studio, "labelme": labelme,
    "roboflow": roboflow, "voc": voc, "yolo": yolo, **DATASETS,
}  # fmt: skip
NOT_NAMES = {*SPLITS, *OTHER_SPLITS, IMAGES, LABELS, "JPEGImages", "leftImg8bit", "train_extra",
             "rgb_anon", "image_2", "10k", "camera"}  # fmt: skip
MARK = ".imported"  # in what was written: its state, so that nothing of anybody else is replaced
# An image, where it goes below `images` and `labels`, and the number of each class.
Task = tuple[LabelledImage, Path, dict[str, int]]


def import_labels(
    sources: Sequence[Path],
    out: Path,
    forms: Sequence[str] = (),
    unlabelled: str | None = None,
    val: float = 0.2,
    class_maps: Sequence[str] = (),
) -> None:
    """Write the folder that ``sgcp init --custom`` and ``custom.download.root`` take.

    An SgcpError names what is no export, damaged or missing.

    Args:
        sources: folders of exports, with their images. Of several, each becomes a folder of the
            dataset, and classes of the same name become one.
        out: a new folder, or one that this wrote and nobody changed.
        forms: keys of ``FORMATS``: one for all sources or one for each; none: what a folder looks
            like.
        unlabelled: class of the pixels that no object covers; None: they are ignored.
        val: share of the images that becomes the validation split, if the export has no splits:
            the last ones by name, since neighbours resemble each other.
        class_maps: as ``read_class_map`` takes them, one for each source, or none at all: classes
            are renamed and joined by it. ``-``: those of this source keep their names.
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
    if any(out.glob("*")) and not _is_untouched(out):
        raise SgcpError(
            f"--out: {out} has files that import-labels did not write, or that changed since. "
            "Choose a new folder"
        )
    if unlabelled and unlabelled.casefold() == IGNORED:
        raise SgcpError(
            f"--unlabelled: '{IGNORED}' is no class; without the option they are ignored"
        )
    each: Sequence[str | None] = forms or [None]
    if len(each) == 1:  # for all
        each = [*each] * len(sources)
    maps = class_maps or ["-"] * len(sources)
    exports = [
        _read(source, form, class_map, unlabelled is None)
        for source, form, class_map in zip(sources, each, maps, strict=True)
    ]
    each_image = [image for images, _ in exports for image in images]
    if not any(image.shapes or image.painted for image in each_image):
        raise SgcpError("no image has an object with an area. Export polygons or masks")
    listed = [name for _, known in exports for name in known.values()]
    if unlabelled and unlabelled not in listed and not any(image.shapes for image in each_image):
        raise SgcpError(
            "--unlabelled: label maps have a value for each pixel, and none is called "
            f"'{unlabelled}'. Leave it out, or name one of {shorten(listed)}"
        )
    names, void = _classes(listed, unlabelled)
    numbers = {name: number for number, name in enumerate(names)} | dict.fromkeys(void, IGNORE)
    tasks: list[Task] = []
    for source, (images, known) in zip(sources, exports, strict=True):
        above = source.resolve().name if len(sources) > 1 else ""
        ids = {theirs: numbers[ours] for theirs, ours in known.items()}
        splits = _splits(images, val)
        pairs = zip(images, splits, strict=True)
        tasks += [(image, _target(image, split, source, above), ids) for image, split in pairs]
    targets = Counter(target for _, target, _ in tasks)
    if twice := [path for path, count in targets.items() if count > 1]:
        raise SgcpError(
            f"{out}: several images, or labels of one, become {shorten(twice, 2)}. Rename them"
        )
    rest = numbers[unlabelled] if unlabelled else IGNORE
    key = json_digest([[str(source.resolve()) for source in sources], names,
                       sorted(map(str, targets))])  # fmt: skip
    with building_folder(out, key) as folder:
        convert = partial(_convert, rest=rest, folder=folder)
        for _ in track(map_threads(convert, tasks, usable_cores()), "label maps", len(tasks)):
            pass
        colors = [color_code(*color) for color in distinct(len(names)).tolist()]
        values = map(str, range(len(names)))
        rows = [*zip(names, values, colors, strict=True), (IGNORED, str(IGNORE), None)]
        write_text(folder / CLASSES, format_classes(rows))
    write_text(out / MARK, _state(out))
    made = Counter(target.parts[0] for target in targets)
    counts = ", ".join(f"{made[split]} {split}" for split in SPLITS if split in made)
    answer(f"{out}: {counts}; classes {shorten(names, 8)}\nnext: sgcp init PROJECT --custom {out}")


def _state(out: Path) -> str:
    """Digest what was written to a folder: equal while the files are untouched."""
    return json_digest([
        *(fingerprint(out / name) for name in (IMAGES, LABELS)),
        file_sha256(out / CLASSES),
        sorted(path.name for path in out.iterdir() if path.name != MARK),
    ])  # fmt: skip


def _is_untouched(out: Path) -> bool:
    try:
        return (out / MARK).read_text("utf-8") == _state(out)
    except OSError:
        return False


def _read(
    source: Path, form: str | None, class_map: str, without_empty: bool
) -> tuple[list[LabelledImage], dict[str, str]]:
    """Return the images of an export, and what each of its classes becomes, in their order."""
    found, files = _recognise(source, form)
    export = FORMATS[found].read(source, files)
    classes = _named(export)
    say(
        f"{source}: {'' if form else 'looks like '}{FORMATS[found].NAME}, {len(export.images)} "
        f"images, {len(classes)} classes{'' if form else '; --format to say otherwise'}"
    )
    names = {name: name for name in classes} if class_map == "-" else read_class_map(class_map)
    if unknown := sorted({*classes} - names.keys()):
        raise SgcpError(
            f"--map: {class_map} for {source}: does not list {shorten(unknown)}. Add the rows"
        )
    if without_empty:
        kept = [one for one in export.images if one.shapes or one.painted]
        if empty := len(export.images) - len(kept):
            warn(f"note: {empty:,} images without objects are left out; --unlabelled keeps them")
        export.images = kept
    if left_out := [f"{count:,} {kind}" for kind, count in export.left_out.items() if count]:
        warn(f"note: left out, as they cover no area: {printable(shorten(left_out))}")
    return export.images, {theirs: ours for theirs, ours in names.items() if theirs in classes}


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
    below = visible_files(source)
    found = {key: FORMATS[key].find(source, below) for key in ([form] if form else FORMATS)}
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


def _classes(given: Iterable[str], unlabelled: str | None) -> tuple[list[str], set[str]]:
    """Return the names of the classes in order, and the names that mean none."""
    every = dict.fromkeys(given)
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
    missing = [image.image for image in images if not image.split]
    if 0 < len(missing) < len(images):
        raise SgcpError(f"in none of the splits: {shorten(missing, 2)}. Export all with splits")
    splits = [image.split or "train" for image in images]
    if "val" not in splits:
        train = (index for index, split in enumerate(splits) if split == "train")
        order = sorted(train, key=lambda index: images[index].image.as_posix())
        held = order[len(order) - round(val * len(order)) :]
        for index in held:
            splits[index] = "val"
        if held:
            kind = "splits" if missing else "val"
            say(f"no {kind} in the export: the last {len(held)} images by name become val")
    return splits


def _target(labelled: LabelledImage, split: str, source: Path, above: str) -> Path:
    inside = labelled.image.relative_to(source)
    parts = [part for part in inside.parts[:-1] if part not in NOT_NAMES]
    return Path(split, above, *parts, inside.stem)


def _convert(task: Task, rest: int, folder: Path) -> None:
    labelled, target, ids = task
    path = labelled.image
    try:
        if path.suffix.lower() not in ENDINGS:
            raise SgcpError("not read as it is")
        height, width, _ = read_image(path).shape
        place = folder / IMAGES / target.with_name(target.name + path.suffix.lower())
        write_bytes(place, path.read_bytes())
    except SgcpError:  # rotated by EXIF data, with alpha, of another format: as a viewer shows it
        pixels = read_photo(path)
        height, width, _ = pixels.shape
        write_png(folder / IMAGES / target.with_name(f"{target.name}.png"), pixels)
    label = label_map(labelled, (height, width), ids, rest)
    write_png(folder / LABELS / target.with_name(f"{target.name}.png"), label)
