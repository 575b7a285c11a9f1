"""Counts of a split -> the metrics file, its tables, and what the terminal shows."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.files import read_json, write_json, write_text
from sgcp.core.terminal import answer
from sgcp.datasets.index import fingerprint_items
from sgcp.metrics.iou import score_counts, square

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Dataset, Item
    from sgcp.metrics.iou import Scores, Tally
    from sgcp.metrics.protocol import Protocol


# The means of a metrics file, by their keys.
MEANS = {
    "miou": "mIoU",
    "miiou": "iIoU",
    "category_miou": "category IoU",
    "category_miiou": "category iIoU",
    "pixel_accuracy": "pixel accuracy",
}


def write_scores(
    target: Path,
    dataset: Dataset,
    items: list[Item],
    tally: Tally,
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Write ``target`` (JSON) and its tables beside it, and show them.

    The tables are ``per_class.csv``, ``confusion.csv`` and ``per_image.csv``.

    Args:
        tally: the counts of the images, added in the order of ``items``.
        origin: what was scored and at which size; goes into the metrics file.

    Returns:
        What the metrics file holds.

    Raises:
        SgcpError: no pixel is scored.
    """
    # pandas takes longer to import than a hundred images to count.
    from sgcp.metrics.tables import (
        confusion_table,
        per_class_table,
        per_image_table,
        render_categories,
        render_scores,
    )

    benchmark, counts = tally.benchmark, tally.counts
    scores = score_counts(counts, benchmark)
    if np.isnan(scores.miou):
        raise SgcpError(f"{dataset.name}: split '{items[0].split}' has no scored pixel")
    content = describe_scores(scores, benchmark) | describe_split(dataset, items) | dict(origin)
    names = [item.name for item in benchmark.classes]
    classes = per_class_table(scores, counts, benchmark)
    tables = {
        "per_class.csv": classes,
        "confusion.csv": confusion_table(
            square(counts, benchmark), counts.pixels.sum(axis=1), names
        ),
        "per_image.csv": per_image_table(tally.images),
    }
    for name, table in tables.items():
        write_text(target.with_name(name), table.to_csv(index=False, lineterminator="\n"))
    write_json(target, content)
    title = (
        f"{dataset.name} '{items[0].split}', {len(items)} images, "
        f"protocol {dataset.protocol}, {dataset.edition} edition"
    )
    answer(render_scores(title, classes, scores))
    if benchmark.categories:
        answer(render_categories(scores))
    return content


def place_beside(layout: Layout, kind: str, scored: Path, name: str | None) -> tuple[Layout, str]:
    """Return the layout for scores of predictions or of a model by hand, and their ``source``.

    Args:
        kind: ``predictions`` or ``models``.
        name: as the user calls them; None: by the last two parts of the path.

    Raises:
        SgcpError: no plain name; or, without a name, the scores of another path would be lost.
    """
    source = os.path.relpath(scored.resolve(), layout.root.resolve())
    called = name or "-".join(part for part in scored.resolve().parts[-2:] if part != "/")
    if not called or Path(called).name != called:
        raise SgcpError(f"--name: a plain name, got '{called}'")
    place = replace(layout, variant=Path(kind, layout.variant, called).as_posix())
    before = source
    with suppress(SgcpError):  # none, or damaged ones
        before = read_json(place.scores, made_by="").get("source", source)
    if name is None and before != source:
        raise SgcpError(
            f"{place.scores}: contains the scores of {before}. Choose another --name, or pass "
            f"`--name {called}` to overwrite them"
        )
    return place, source


def refuse_other_model(source: Path, scores: Mapping[str, Any], digest: str) -> None:
    """Refuse scores of another model than the one at hand.

    Args:
        source: the file of the scores.
        digest: ``model_digest``.

    Raises:
        SgcpError: they are of another model, or do not say of which.
    """
    scored = scores.get("model")
    found = scored.get("sha256") if isinstance(scored, dict) else None
    again = f"run `sgcp validate {scores['dataset']}` again"
    if found is None:
        raise SgcpError(f"{source}: does not say which model it scored; {again}")
    if found != digest:
        raise SgcpError(f"{source}: scores of another model; {again}")


def describe_scores(scores: Scores, benchmark: Protocol) -> dict[str, Any]:
    """Return the numbers for JSON: null where there is none."""
    names = [item.name for item in benchmark.classes]
    content: dict[str, Any] = {
        "miou": scores.miou,
        "pixel_accuracy": scores.pixel_accuracy,
        "iou": named(dict(zip(names, scores.iou, strict=True))),
    }
    if benchmark.categories:
        iiou = {names[k]: scores.iiou[k] for k in benchmark.object_size}
        category_iiou = {n: scores.category_iiou[n] for n, part in benchmark.categories.items()
                         if part.object_ids}  # fmt: skip
        content |= {
            "miiou": number(scores.miiou),
            "iiou": named(iiou),
            "category_miou": number(scores.category_miou),
            "category_iou": named(scores.category_iou),
            "category_miiou": number(scores.category_miiou),
            "category_iiou": named(category_iiou),
        }
    return content


def describe_split(dataset: Dataset, items: list[Item]) -> dict[str, Any]:
    """Return what the numbers were measured on."""
    return dataset.provenance() | {
        "split": items[0].split,
        "images": len(items),
        "split_fingerprint": fingerprint_items(items),
        "scored_size": [items[0].height, items[0].width],
    }


def named(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return values by name, for JSON."""
    return {name: number(value) for name, value in values.items()}


def number(value: float) -> float | None:
    """Return a number for JSON, which has no NaN."""
    return None if np.isnan(value) else float(value)


# What must be alike for two numbers to compare, and what that is called.
MEANING = {
    "dataset": "dataset",
    "edition": "edition",
    "protocol": "protocol",
    "class_order": "class order",
    "split": "split",
    "split_fingerprint": "images and labels of the split",
    "scored_size": "scored size",
}


SHOWN = 5  # names of a list in one message


def read_metrics(source: str, folder: Path = Path()) -> dict[str, Any]:
    """Read a metrics file from disk, or from git by ``REV:PATH``.

    Args:
        folder: where relative paths begin.

    Raises:
        SgcpError: there is none, or it lacks what says what its numbers mean.
    """
    revision, colon, path = source.partition(":")
    if colon and not (folder / source).exists():
        shown = subprocess.run(
            ["git", "show", f"{revision}:./{path}"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if shown.returncode:
            raise SgcpError(f"{source}: {shown.stderr.strip() or 'not in git'}")
        try:
            content: Any = json.loads(shown.stdout)
        except (ValueError, RecursionError):
            raise SgcpError(f"{source}: not valid JSON") from None
    else:
        content = read_json(folder / source, made_by="sgcp validate")
    missing = [key for key in (*MEANING, "miou", "iou") if key not in content]
    if missing:
        raise SgcpError(
            f"{source}: no metrics file of `sgcp validate`, or an old one (lacks "
            f"{', '.join(missing)}); run `sgcp validate` again"
        )
    if not isinstance(content["miou"], float) or not isinstance(content["iou"], dict):
        raise SgcpError(f"{source}: has no mIoU of one run; it is over several seeds")
    shares = [content["miou"], *(iou for iou in content["iou"].values() if iou is not None)]
    whole = all(type(share) in (float, int) and 0 <= share <= 1 for share in shares)
    if not whole or not content["iou"] or not isinstance(content.get("model") or {}, dict):
        raise SgcpError(f"{source}: damaged or edited by hand; run `sgcp validate` again")
    return dict(content)


def find_differences(sources: Sequence[str], contents: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each thing that keeps the numbers from comparing."""
    lines = []
    for key, name in MEANING.items():
        values = [content[key] for content in contents]
        if any(value != values[0] for value in values):
            shown = zip(shorten_lists(values), sources, strict=True)
            each = (f"{value} ({source})" for value, source in shown)
            lines.append(f"{name}: {'; '.join(each)}")
    return lines


def shorten_lists(values: Sequence[Any]) -> list[Any]:
    """Return a few names of each long list, from where they differ on; other values as they are."""
    long = [value for value in values if isinstance(value, list) and len(value) > SHOWN]
    places = enumerate(zip(*long, strict=False)) if len(long) == len(values) else ()
    start = next((k for k, names in places if any(name != names[0] for name in names)), 0)
    return [
        f"{len(value)} names, from number {start + 1}: {shorten(value[start:], SHOWN)}"
        if value in long
        else value
        for value in values
    ]
