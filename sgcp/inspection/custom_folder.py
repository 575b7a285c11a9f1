"""A user's folder of images and label maps before it is a dataset: what it has, what to set."""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from rich.table import Column, Table
from ruamel.yaml import YAML

from sgcp.core.errors import SgcpError, printable, shorten
from sgcp.core.files import write_text
from sgcp.core.layout import Layout
from sgcp.core.machine import usable_cores
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import answer, percent, say, track, warn
from sgcp.datasets.classes import IGNORE, color_code, color_codes
from sgcp.datasets.custom import CLASS_LIST, IMAGES, LABELLED, LABELS, SOURCE, name_of, raw_path
from sgcp.datasets.custom_classes import (
    CLASSES,
    IGNORED,
    MAX_CLASSES,
    REST,
    format_classes,
    means_void,
    read_classes,
)
from sgcp.datasets.index import SPLITS
from sgcp.datasets.raw import OnlyOnce, find_files, resolve_source
from sgcp.inspection.class_lists import read_names
from sgcp.media.images import read_label, read_label_colors, read_mode, read_palette, read_size
from sgcp.models.card import whole_cells
from sgcp.reporting.palettes import distinct

Size = tuple[int, int]

KINDS = ("values", "colours")  # of label maps, by whether they are coloured
FEW_SHADES = 8  # so many values without an area of their own may still be thin classes
AREA = 0.1  # share of a class's pixels that lie in squares of 2 x 2
MOST_CODES = 4096  # colours of one file; photographs have more
MOST_EQUAL = 0.9  # share of images from which their size counts as that of all
SQUARE = {"quick": (256, 256), "strong": (512, 384)}  # short side and crop of params.yaml


@dataclass(frozen=True)
class LabelValues:
    """The values or colours of one label file."""

    size: Size
    colored: bool
    pixels: Mapping[int, int]
    """Pixels of each value, or ``color_code`` of a colour."""
    solid: Mapping[int, int]
    """The same, of pixels that are the corner of a square of 2 x 2 alike."""
    paint: Mapping[int, int]
    """Colour of each value in the file's palette, if it has one."""


@dataclass
class Proposal:
    """What a folder of images and label maps has, and what follows for the project."""

    folder: Path
    counts: dict[str, int] = field(default_factory=dict)
    """Images of each split."""
    sizes: Counter[Size] = field(default_factory=Counter)
    """Images by (height, width)."""
    pairs: int = 0
    """Training images with a label map."""
    incomplete: bool = False
    """Whether images or label maps lack their counterpart."""
    colored: bool = False
    shares: dict[int, float] = field(default_factory=dict)
    """Share of the pixels of each value or colour that is a class or ignored."""
    blended: tuple[int, float] = (0, 0.0)
    """Further values without an area of their own: their number, and their share of pixels."""
    rows: list[tuple[str, list[str], float, int | None]] = field(default_factory=list)
    """Name, values, share and colour of each row of ``classes.csv``; no colour: ignored."""
    named_by: str = ""
    """The file that names the classes, below the folder."""
    problems: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Files by what is wrong with them; none where it is not about files."""

    def write(self, code: int) -> str:
        """Return a value or colour as in ``classes.csv``: ``7``, or ``#804080``."""
        return f"#{code:06x}" if self.colored else str(code)

    def add_row(self, name: str, codes: list[int], color: int | None) -> None:
        """Add a row of ``classes.csv``; blended values are ignored."""
        texts, share = [*map(self.write, codes)], sum(self.shares.get(code, 0) for code in codes)
        if color is None and self.blended[0]:
            texts, share = [*texts, REST], share + self.blended[1]
        self.rows.append((name, texts, share, color))

    def explain(self) -> list[str]:
        """Return a line for each problem."""
        return [
            f"{kind}: {len(names)} ({shorten(names, 2)})" if names else kind
            for kind, names in self.problems.items()
        ]

    def settings(self, project: Path) -> dict[str, str]:
        """Return the settings of ``params.yaml`` to change, as YAML by full name."""
        folder = self.folder
        root = str(folder if folder.is_absolute() else os.path.relpath(folder, project))
        changes: dict[str, Any] = {"custom.download.root": root}
        if self.incomplete:
            changes["custom.prepare.allow_missing"] = True
        # The size of most images, or a square of the median short side.
        short = int(np.median([min(size) for size in self.sizes.elements()]))
        whole = (short, short)
        ((size, count),) = self.sizes.most_common(1)
        if count >= MOST_EQUAL * self.sizes.total():
            short, whole = min(size), size
        for recipe, (side, crop) in SQUARE.items():
            seen = min(side, short)
            changes[f"custom.train.{recipe}.input_side"] = side if short > side else None
            height, width = whole_cells(*(pixels * seen / short for pixels in whole))
            if recipe == "quick" and max(height, width) <= 2 * crop:
                changes[f"custom.train.{recipe}.crop"] = [height, width]
            else:
                changes[f"custom.train.{recipe}.crop"] = [*whole_cells(*[min(crop, seen)] * 2)]
            batch = 4 if recipe == "quick" else 8
            if 2 <= self.pairs < batch:
                changes[f"custom.train.{recipe}.batch_size"] = self.pairs
        return {"datasets": "[custom]"} | {key: json.dumps(one) for key, one in changes.items()}

    def change(self, text: str, project: Path) -> str:
        """Return a ``params.yaml`` with these settings; all else stays as it is written."""
        content, lines = YAML().load(text), text.splitlines()
        added: list[tuple[int, str]] = []
        for name, value in self.settings(project).items():
            *sections, key = name.split(".")
            section = content
            for part in sections:
                section = section[part]
            places = section.lc.data  # line and column of each key and value, but merged ones
            if key in places:
                row, column = places[key][2:]
                old = re.match(r"(\[.*?\]|\S+) *", lines[row][column:])
                assert old is not None
                comment = lines[row][column + len(old[0]) :]
                new = value.ljust(len(old[0]) - 1 if comment else 0)
                lines[row] = f"{lines[row][:column]}{new} {comment}".rstrip()
            else:
                row, column = min(place[:2] for place in places.values())
                added.append((row, f"{' ' * column}{key}: {value}"))
        for row, line in reversed(added):
            lines.insert(row, line)
        return "\n".join([*lines, ""])


def look_at(folder: Path, project: Path) -> Proposal:
    """Read every label map of a folder for a project, and the size of every image.

    Raises:
        SgcpError: it has not the layout of docs/custom-dataset.md, or no labels to learn from.
    """
    place = OnlyOnce(raw_path)
    files = find_files(resolve_source(folder, Layout(project, "custom").raw), place)
    SOURCE.check_part(folder, place.taken)
    listed = Path(CLASSES) in place.taken
    place.taken.setdefault(Path(CLASSES), CLASSES)  # which we are about to write
    SOURCE.check(folder, place, "folder")
    seen = Proposal(folder)
    values = _read_labels(seen, {to: path for to, path in files.items() if to != Path(CLASSES)})
    if not values:
        raise SgcpError(f"{folder}: no label map can be used: {shorten(seen.explain(), 1)}")
    _count_values(seen, values)
    if listed:
        _compare(seen, files[Path(CLASSES)])
    else:
        named = {name for name in place.skipped if re.search(CLASS_LIST, name, re.IGNORECASE)}
        _propose_classes(seen, values, sorted(named, key=len))
    return seen


def _pair(seen: Proposal, files: Mapping[Path, Path]) -> list[Path]:
    """Count the images and label maps of every split; return the label maps that have an image."""
    places: dict[tuple[str, str], dict[str, Path]] = defaultdict(dict)
    for place in files:
        places[place.parts[0], place.parts[1]][name_of(place)] = place
    labels: list[Path] = []
    for split in SPLITS:
        images, maps = places[IMAGES, split], places[LABELS, split]
        both = sorted(images.keys() & maps.keys())
        seen.counts[split] = len(images)
        seen.pairs += len(both) if split == "train" else 0
        labels += [maps[name] for name in both]
        bare = images.keys() - both if split in LABELLED else set()
        if bare:
            seen.problems["images without a label map"] += [str(images[n]) for n in sorted(bare)]
        if orphans := sorted(maps.keys() - both):
            seen.problems["label maps without an image"] += [str(maps[n]) for n in orphans]
        seen.incomplete |= bool(bare or orphans)
        if split in LABELLED and not both:
            advice = f"Move some pairs into {IMAGES}/{split} and {LABELS}/{split}"
            seen.problems[f"no image of {split} has a label map. {advice}"] = []
    if seen.pairs == 1:
        seen.problems["train has one image with a label map, and training needs two. Add some"] = []
    return labels


def _read_labels(seen: Proposal, files: Mapping[Path, Path]) -> list[LabelValues]:
    """Read the sizes of images and the values of their label maps."""
    labels = _pair(seen, files)
    sizes: dict[str, Size] = {}
    for place in sorted(place for place in files if place.parts[0] == IMAGES):
        try:
            sizes[name_of(place)] = read_size(files[place])
        except SgcpError as error:
            seen.problems["images that cannot be used"].append(str(error))
    if not sizes:
        raise SgcpError(f"{seen.folder}: no image can be used: {shorten(seen.explain(), 1)}")
    seen.sizes.update(sizes.values())
    read = partial(_read_values, files)
    found = track(map_threads(read, labels, usable_cores()), "reading label maps", len(labels))
    values = []
    for place, one in zip(labels, found, strict=True):
        if isinstance(one, str):
            seen.problems["label maps that cannot be used"].append(one)
        elif (size := sizes.get(name_of(place), one.size)) != one.size:
            seen.problems["label maps of another size than their image"].append(
                f"{place}: {one.size[0]}x{one.size[1]}, image {size[0]}x{size[1]}"
            )
        else:
            values.append(one)
    return values


def _read_values(files: Mapping[Path, Path], place: Path) -> LabelValues | str:
    """Count the values of a label file; return why it cannot be used, if so."""
    path = files[place]
    try:
        colored = read_mode(path) not in ("L", "P")
        codes = color_codes(read_label_colors(path)) if colored else read_label(path)
        values, counts = np.unique(codes, return_counts=True)
        palette = color_codes(read_palette(path)).tolist()
        paint = {value: palette[value] for value in values.tolist() if value < len(palette)}
    except SgcpError as error:
        return str(error)
    corner = codes[1:, 1:]
    alike = (corner == codes[:-1, 1:]) & (corner == codes[1:, :-1]) & (corner == codes[:-1, :-1])
    solid = np.unique(corner[alike], return_counts=True)
    size = codes.shape[0], codes.shape[1]
    return LabelValues(size, colored, _most(values, counts), _most(*solid), paint)


def _most(values: Any, counts: Any) -> dict[int, int]:
    kept = np.argsort(-counts, kind="stable")[:MOST_CODES]
    return dict(zip(values[kept].tolist(), counts[kept].tolist(), strict=True))


def _count_values(seen: Proposal, values: list[LabelValues]) -> None:
    """Sum the values of all files, and tell classes from the shades of blended edges."""
    painted = sum(one.colored for one in values)
    seen.colored = 2 * painted > len(values)
    if 0 < painted < len(values):
        mixed = f"{painted} label maps contain colours, {len(values) - painted} values of 1 channel"
        seen.problems[f"{mixed}. Convert them to one kind"] = []
    pixels, solid = Counter[int](), Counter[int]()
    for one in values:
        if one.colored == seen.colored:
            pixels.update(one.pixels)
            solid.update(one.solid)
    total = pixels.total()
    thin = {code for code, count in pixels.items() if solid[code] < AREA * count}
    if len(thin) > max(FEW_SHADES, len(pixels) - len(thin)) and len(pixels) - len(thin) >= 2:
        seen.blended = len(thin), sum(pixels[code] for code in thin) / total
    else:
        thin = set()
    kept = sorted(pixels.keys() - thin, key=lambda code: (seen.colored and -pixels[code], code))
    seen.shares = {code: pixels[code] / total for code in kept}
    if not 2 <= len(kept) <= MAX_CLASSES + 1:
        raise SgcpError(
            f"{seen.folder}: the label maps have {len(kept):,} different {KINDS[seen.colored]} "
            f"({shorten(map(seen.write, kept), 4)}); 2 to {MAX_CLASSES} classes are possible. "
            "Export label maps with one value or colour for each class"
        )


def _propose_classes(seen: Proposal, values: list[LabelValues], lists: list[str]) -> None:
    """Fill the rows of ``classes.csv``: a class for each value, named by a file if there is one."""
    names: dict[int, str] = {}
    colors: dict[int, int] = {}
    for file in lists:
        found = read_names(seen.folder / file, seen.colored)
        if seen.shares.keys() & found[0].keys():
            seen.named_by, (names, colors) = file, found
            break
    for one in values:
        colors = {**one.paint, **colors}
    rows: dict[str, list[int]] = defaultdict(list)
    for index, code in enumerate(seen.shares):
        name = names.get(code, f"class_{index if seen.colored else code}")
        void = means_void(name) and not re.search("background|bg", name, re.IGNORECASE)
        alone = len(seen.shares) == 2  # 0 and 255: a mask, in which 255 is the object
        unnamed = not seen.colored and code == IGNORE and code not in names and not alone
        rows[IGNORED if void or unnamed else name].append(code)
    ignored = rows.pop(IGNORED, [])
    if not 2 <= len(rows) <= MAX_CLASSES:
        raise SgcpError(
            f"{seen.folder}: {len(rows)} classes that are not ignored ({shorten(rows)}); 2 to "
            f"{MAX_CLASSES} are possible. Write {CLASSES} as docs/custom-dataset.md shows, or "
            "export label maps with one value for each class"
        )
    spare = chain((color_code(*color) for color in distinct(MAX_CLASSES).tolist()), range(2**24))
    used: set[int] = set()
    for name, codes in rows.items():
        wanted = codes[0] if seen.colored else colors.get(codes[0])
        if wanted is None or wanted in used:
            taken = used | set(colors.values())
            wanted = next(color for color in spare if color not in taken)
        used.add(wanted)
        seen.add_row(name, codes, wanted)
    if ignored or seen.blended[0]:
        seen.add_row(IGNORED, ignored, None)


def _compare(seen: Proposal, path: Path) -> None:
    """Report values that an existing ``classes.csv`` does not list."""
    table = read_classes(path)
    if table.colored != seen.colored:
        raise SgcpError(
            f"{path}: lists {KINDS[table.colored]}, but the label maps contain "
            f"{KINDS[seen.colored]}. Rename it and run the command again for a new one"
        )
    owners = dict(table.train_ids)
    if table.rest != IGNORE and (unlisted := [v for v in seen.shares if v not in owners]):
        found = shorten(map(seen.write, unlisted), 8)
        seen.problems[f"{path} lacks values of the label maps: {found}. Add them"] = []
    codes: dict[int, list[int]] = defaultdict(list)
    for code, train_id in table.train_ids:
        codes[train_id].append(code)
    for item in table.classes:
        seen.add_row(item.name, codes[item.train_id], color_code(*item.color))
    if IGNORE in codes:
        seen.add_row(IGNORED, codes[IGNORE], None)
    seen.named_by = CLASSES


def print_proposal(seen: Proposal) -> None:
    """Print what the folder has."""
    counts = [f"{images:,} {split}" for split, images in seen.counts.items() if images]
    answer(f"{seen.folder}: {', '.join(counts)} images")
    sizes = [f"{h}x{w} ({count:,})" for (h, w), count in seen.sizes.most_common()]
    answer(f"height x width: {shorten(sizes, 4)}")
    table = Table("class", KINDS[seen.colored], Column("share %", justify="right"), "colour")
    for name, texts, share, color in seen.rows:
        paint = "" if color is None else f"#{color:06x}"
        table.add_row(name, shorten(texts, 4), percent(share), paint)
    answer(table)
    if seen.blended[0]:
        warn(
            f"note: {seen.blended[0]:,} more {KINDS[seen.colored]}, {percent(seen.blended[1])} % "
            "of the pixels, cover no square of 2x2 pixels: blended edges, or lines. They are "
            "ignored (`*`); if they are classes, list them"
        )
    for problem in seen.explain():
        warn(f"warning: {problem}")


def write_classes(seen: Proposal) -> None:
    """Write ``classes.csv`` into the folder, unless it has one."""
    path = seen.folder / CLASSES
    if seen.named_by == CLASSES:
        return
    rows = [(name, " ".join(texts), color) for name, texts, _, color in seen.rows]
    write_text(path, format_classes(rows))
    then = f"named by {PurePath(seen.named_by)}" if seen.named_by else "correct their names"
    say(printable(f"{path}: wrote {len(seen.rows)} rows; {then}"))
