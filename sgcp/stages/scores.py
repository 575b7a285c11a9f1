"""Counts of a split -> the metrics file, its tables, and what the terminal shows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgcp.datasets.index import fingerprint_items
from sgcp.errors import SgcpError
from sgcp.evaluation.scores import score_counts, square
from sgcp.files import read_json, write_json, write_text
from sgcp.progress import answer

if TYPE_CHECKING:
    from sgcp.datasets.index import Dataset, Item
    from sgcp.evaluation.benchmark import Benchmark
    from sgcp.evaluation.scores import Scores
    from sgcp.evaluation.tally import Tally
    from sgcp.stages.layout import Layout


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
        tally: the counts of the pictures, added in the order of ``items``.
        origin: what was scored and at which size; goes into the metrics file.

    Returns:
        What the metrics file holds.

    Raises:
        SgcpError: no pixel is scored.
    """
    # pandas takes longer to import than a hundred pictures to count.
    from sgcp.evaluation.tables import (
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
        "per_image.csv": per_image_table(tally.pictures),
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


def describe_scores(scores: Scores, benchmark: Benchmark) -> dict[str, Any]:
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
