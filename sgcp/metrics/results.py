"""The metrics file of a split and its tables: write, read and compare them."""

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
    target: Path, dataset: Dataset, items: list[Item], tally: Tally, origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``target`` (JSON) and its tables beside it, and print them.

    The tables are ``per_class.csv``, ``confusion.csv`` and ``per_image.csv``.

    Args:
        tally: the counts of the images, added in the order of ``items``.
        origin: what was scored and at which size, for the metrics file.

    Returns:
        The content of the metrics file.

    Raises:
        SgcpError: no pixel is scored.
    """
    # pandas takes longer to import than a hundred images to count.
    import pandas as pd

    from sgcp.metrics import tables

    protocol, counts = tally.protocol, tally.counts
    scores = score_counts(counts, protocol)
    if np.isnan(scores.miou):
        raise SgcpError(f"{dataset.name}: split '{items[0].split}' has no scored pixel")
    content = _describe_scores(scores, protocol) | dataset.provenance()
    content |= {
        "split": items[0].split,
        "images": len(items),
        "split_fingerprint": fingerprint_items(items),
        "scored_size": [items[0].height, items[0].width],
    } | dict(origin)
    names = [item.name for item in protocol.classes]
    true = counts.pixels.sum(axis=1)
    classes = tables.per_class_table(scores, counts, protocol)
    files = {
        "per_class.csv": classes,
        "confusion.csv": tables.confusion_table(square(counts, protocol), true, names),
        "per_image.csv": pd.DataFrame(tally.images),
    }
    for name, table in files.items():
        write_text(target.with_name(name), table.to_csv(index=False, lineterminator="\n"))
    write_json(target, content)
    title = (
        f"{dataset.name} '{items[0].split}', {len(items)} images, "
        f"protocol {dataset.protocol}, {dataset.edition} edition"
    )
    answer(tables.render_scores(title, classes, scores))
    if protocol.categories:
        answer(tables.render_categories(scores))
    return content


def _describe_scores(scores: Scores, protocol: Protocol) -> dict[str, Any]:
    """Return the numbers for JSON: null where there is none."""
    names = [item.name for item in protocol.classes]
    content: dict[str, Any] = {
        "miou": scores.miou,
        "pixel_accuracy": scores.pixel_accuracy,
        "iou": dict(zip(names, scores.iou, strict=True)),
    }
    if protocol.categories:
        objects = [name for name, part in protocol.categories.items() if part.object_ids]
        content |= {
            "miiou": scores.miiou,
            "iiou": {names[k]: scores.iiou[k] for k in protocol.object_size},
            "category_miou": scores.category_miou,
            "category_iou": scores.category_iou,
            "category_miiou": scores.category_miiou,
            "category_iiou": {name: scores.category_iiou[name] for name in objects},
        }
    return {
        key: {name: _number(share) for name, share in value.items()}
        if isinstance(value, dict)
        else _number(value)
        for key, value in content.items()
    }


def _number(value: float) -> float | None:
    """Return a number for JSON, which has no NaN."""
    return None if np.isnan(value) else float(value)


def place_beside(layout: Layout, kind: str, scored: Path, name: str | None) -> tuple[Layout, str]:
    """Return the layout for scores of given predictions or of a given model, and their ``source``.

    Args:
        kind: ``predictions`` or ``models``.
        name: the user's name for them; None: the last two parts of the path.

    Raises:
        SgcpError: no plain name; or, without a name, scores of another path would be overwritten.
    """
    source = os.path.relpath(scored.resolve(), layout.root.resolve())
    title = name or "-".join(part for part in scored.resolve().parts[-2:] if part != "/")
    if not title or Path(title).name != title:
        raise SgcpError(f"--name: a plain name, got '{title}'")
    place = replace(layout, variant=Path(kind, layout.variant, title).as_posix())
    before = source
    with suppress(SgcpError):  # none, or damaged ones
        before = read_json(place.scores, made_by="").get("source", source)
    if name is None and before != source:
        raise SgcpError(
            f"{place.scores}: contains the scores of {before}. Choose another --name, or pass "
            f"`--name {title}` to overwrite them"
        )
    return place, source


def refuse_other_model(source: Path, scores: Mapping[str, Any], digest: str) -> None:
    """Refuse scores of another model than the one with this digest.

    Args:
        source: the file of the scores.
        digest: ``model_digest``.

    Raises:
        SgcpError: they are of another model, or do not name theirs.
    """
    scored = scores.get("model")
    found = scored.get("sha256") if isinstance(scored, dict) else None
    again = f"run `sgcp validate {scores['dataset']}` again"
    if found is None:
        raise SgcpError(f"{source}: does not name the model that it scored; {again}")
    if found != digest:
        raise SgcpError(f"{source}: scores of another model; {again}")


# What must be equal for two numbers to be comparable, by key of a metrics file.
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
        SgcpError: there is none, or it is damaged or lacks a key.
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
        raise SgcpError(f"{source}: has no mIoU of one run, but of several seeds")
    shares = [*(content.get(key) for key in MEANS), *content["iou"].values()]
    valid = all(type(share) in (float, int) and 0 <= share <= 1
                for share in shares if share is not None)  # fmt: skip
    if not valid or not content["iou"] or not isinstance(content.get("model") or {}, dict):
        raise SgcpError(f"{source}: damaged or edited by hand; run `sgcp validate` again")
    return dict(content)


def find_differences(sources: Sequence[str], contents: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each difference that makes the numbers not comparable."""
    lines = []
    for key, name in MEANING.items():
        values = [content[key] for content in contents]
        if any(value != values[0] for value in values):
            shown = zip(_shorten_lists(values), sources, strict=True)
            each = (f"{value} ({source})" for value, source in shown)
            lines.append(f"{name}: {'; '.join(each)}")
    return lines


def _shorten_lists(values: Sequence[Any]) -> list[Any]:
    """Shorten long lists to a few names from their first difference; keep other values."""
    long = [value for value in values if isinstance(value, list) and len(value) > SHOWN]
    places = enumerate(zip(*long, strict=False)) if len(long) == len(values) else ()
    start = next((k for k, names in places if any(name != names[0] for name in names)), 0)
    return [
        f"{len(value)} names, from number {start + 1}: {shorten(value[start:], SHOWN)}"
        if value in long
        else value
        for value in values
    ]
