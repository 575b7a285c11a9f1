"""The metrics file of a split and its tables: write, print, read and compare them."""

from __future__ import annotations

import io
import math
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Column, Table

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.files import parse_json, read_json, write_json, write_text
from sgcp.core.layout import Layout
from sgcp.core.terminal import answer, percent
from sgcp.datasets.index import Dataset, Item, fingerprint_items
from sgcp.metrics.bootstrap import LEVEL, interval
from sgcp.metrics.confusion import Counts
from sgcp.metrics.iou import Scores, Tally, mean, score_counts, share, square, to_numbers
from sgcp.metrics.protocol import Protocol

if TYPE_CHECKING:
    import pandas as pd

# The means of a metrics file, by their keys.
MEANS = {
    "miou": "mIoU",
    "miiou": "iIoU",
    "category_miou": "category IoU",
    "category_miiou": "category iIoU",
    "pixel_accuracy": "pixel accuracy",
    "weighted_iou": "frequency-weighted IoU",
}
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
DRIVES = 20  # in one table
PIXELS = ("right", "true", "predicted")  # of an image, by class, in per_image.csv
NUMBERS = partial(Column, justify="right", no_wrap=True)  # a column of them


def write_scores(
    target: Path,
    dataset: Dataset,
    split: str,
    items: list[Item],
    tally: Tally,
    origin: Mapping[str, Any],
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
    protocol, counts = tally.protocol, tally.counts
    scores = score_counts(counts, protocol)
    if np.isnan(scores.miou):
        raise SgcpError(f"{dataset.name}: split '{split}' has no scored pixel")
    content = {
        **describe_scores(scores, protocol),
        "miou_interval": interval(tally.by_class),
        **dataset.provenance(),
        "split": split,
        "images": len(items),
        "split_fingerprint": fingerprint_items(items),
        "scored_size": [items[0].height, items[0].width],
        **origin,
    }
    names, true = [item.name for item in protocol.classes], counts.pixels.sum(axis=1)
    classes = per_class_table(scores, counts, protocol)
    for name, table in {
        "per_class": classes,
        "confusion": confusion_table(square(counts, protocol), true, names),
        "per_image": per_image_table(tally, items),
    }.items():
        text = table.to_csv(index=False, lineterminator="\n")
        write_text(target.with_name(f"{name}.csv"), text)
    write_json(target, content)
    title = (
        f"{dataset.name} '{split}', {len(items)} images, "
        f"protocol {dataset.protocol}, {dataset.edition} edition"
    )
    answer(render_scores(title, classes, scores))
    if edges := content["miou_interval"]:
        within = " .. ".join(map(percent, edges))
        answer(f"mIoU of {LEVEL:.0%} of the splits drawn from these images: {within} %")
    if len({item.drive for item in items}) > 1:
        answer(render_drives(tally, items))
    if protocol.categories:
        answer(render_categories(scores))
    return content


def describe_scores(scores: Scores, protocol: Protocol) -> dict[str, Any]:
    """Return the numbers for JSON: null where there is none."""
    names = [item.name for item in protocol.classes]
    content: dict[str, Any] = {
        "miou": scores.miou,
        "pixel_accuracy": scores.pixel_accuracy,
        "weighted_iou": scores.weighted_iou,
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
    return to_numbers(content)


def per_class_table(scores: Scores, counts: Counts, protocol: Protocol) -> pd.DataFrame:
    """Return a row a class: iou, recall, precision, its share of the true pixels, its category."""
    import pandas as pd  # which takes longer to import than a hundred images to count

    true = counts.pixels.sum(axis=1)
    columns = {
        "class": [item.name for item in protocol.classes],
        "iou": scores.iou,
        "recall": scores.recall,
        "precision": scores.precision,
        "pixel_share": true / max(1, true.sum()),
    }
    if protocol.categories:
        names = {k: name for name, part in protocol.categories.items() for k in part.classes}
        columns |= {"iiou": scores.iiou, "category": [names[k] for k in range(len(names))]}
    return pd.DataFrame(columns)


def per_image_table(tally: Tally, items: Sequence[Item]) -> pd.DataFrame:
    """Return a row an image: its scores, its drive, and the pixels of each class.

    Those are three columns a class, such as ``right:road``, which add up over images.
    """
    import pandas as pd

    table = pd.DataFrame(tally.images).assign(drive=[item.drive for item in items])
    pixels = tally.by_class.reshape(len(items), -1)
    names = [f"{kind}:{item.name}" for kind in PIXELS for item in tally.protocol.classes]
    return pd.concat([table, pd.DataFrame(pixels, columns=names)], axis=1)


def read_by_class(source: str, content: Mapping[str, Any]) -> NDArray[np.int64] | None:
    """Return the pixels (N, 3, K) in the ``per_image.csv`` beside a metrics file, by image.

    None where there is no such file, or one of an earlier version or of other scores.
    """
    import pandas as pd

    table = re.sub(r"[^/\\:]+\Z", "per_image.csv", source)  # of a path, or of REV:PATH
    try:
        text = _read_git(table, Path())
        text = Path(table).read_text() if text is None else text
        rows = pd.read_csv(io.StringIO(text)).sort_values("image")
        columns = [f"{kind}:{name}" for kind in PIXELS for name in content["iou"]]
        counts = rows[columns].to_numpy(np.int64).reshape(len(rows), len(PIXELS), -1)
    except (OSError, SgcpError, ValueError, KeyError):
        return None
    miou, _ = _scores_of(counts)
    return counts if np.isclose(miou, content["miou"]) else None


def confusion_table(
    confusion: NDArray[np.int64], true: NDArray[np.int64], names: list[str]
) -> pd.DataFrame:
    """Return a row a pair (actual, predicted) with its pixels and their share of the actual class.

    Shares of one actual class sum to 1, or less where ids without a scored class are predicted:
    ``true`` (K,) are all of its pixels. A class without true pixels has shares of 0.
    """
    import pandas as pd

    columns = {
        "actual": np.repeat(names, len(names)),
        "predicted": np.tile(names, len(names)),
        "share": (confusion / np.maximum(true, 1)[:, None]).ravel(),
        "pixels": confusion.ravel(),
    }
    return pd.DataFrame(columns)


def render_scores(title: str, table: pd.DataFrame, scores: Scores) -> Table:
    """Return the per-class table for the terminal, in per cent."""
    columns = {"iou": "IoU %", "recall": "recall %", "precision": "precision %",
               "iiou": "iIoU %", "pixel_share": "share %"}  # fmt: skip
    columns = {key: title for key, title in columns.items() if key in table}
    view = Table("class", *map(NUMBERS, columns.values()), title=title, title_justify="left")
    values = table[[*columns]].to_numpy(dtype=float)
    for name, row in zip(table["class"], values, strict=True):
        view.add_row(name, *map(percent, row))
    view.add_section()
    means = {"iou": percent(scores.miou), "iiou": percent(scores.miiou)}
    view.add_row("mean", *(means.get(name, "") for name in columns))
    view.add_row("pixel accuracy", percent(scores.pixel_accuracy))
    return view


def render_drives(tally: Tally, items: Sequence[Item]) -> Table:
    """Return the scores of each drive for the terminal, worst first."""
    rows = []
    for drive in sorted({item.drive for item in items}):
        own = [index for index, item in enumerate(items) if item.drive == drive]
        miou, accuracy = _scores_of(tally.by_class[own])
        rows.append((miou, drive, str(len(own)), percent(miou), percent(accuracy)))
    view = Table("drive", *map(NUMBERS, ("images", "mIoU %", "pixel accuracy %")))
    rows.sort(key=lambda row: (math.isnan(row[0]), row))  # those without labels last
    for _, *texts in rows[:DRIVES]:
        view.add_row(*texts)
    if len(rows) > DRIVES:
        view.caption = f"the {DRIVES} worst of {len(rows)} drives; per_image.csv has all"
    return view


def render_categories(scores: Scores) -> Table:
    """Return the categories' table for the terminal, in per cent."""
    view = Table("category", *map(NUMBERS, ("IoU %", "iIoU %")))
    for name, iou in scores.category_iou.items():
        view.add_row(name, percent(iou), percent(scores.category_iiou[name]))
    view.add_section()
    view.add_row("mean", percent(scores.category_miou), percent(scores.category_miiou))
    return view


def _scores_of(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return mIoU and pixel accuracy of images by their pixels (N, 3, K)."""
    right, true, predicted = counts.sum(axis=0)
    return mean(share(right, true + predicted - right)), float(share(right.sum(), true.sum()))


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
    """Refuse scores, read from ``source``, that are not of the model with this ``model_digest``."""
    scored = scores.get("model")
    found = scored.get("sha256") if isinstance(scored, dict) else None
    again = f"run `sgcp validate {scores['dataset']}` again"
    if not found:
        raise SgcpError(f"{source}: does not name the model that it scored; {again}")
    if found != digest:
        raise SgcpError(f"{source}: scores of another model; {again}")


def read_metrics(
    source: str, folder: Path = Path(), made_by: str = "sgcp validate"
) -> dict[str, Any]:
    """Read a metrics file from disk, below ``folder``, or from git by ``REV:PATH``."""
    try:
        text = _read_git(source, folder)
        content: dict[str, Any] = (
            parse_json(text) if text is not None else read_json(folder / source, made_by)
        )
    except ValueError:
        raise SgcpError(f"{source}: not valid JSON") from None
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
    return content


def _read_git(source: str, folder: Path) -> str | None:
    """Return the text of a file in git by ``REV:PATH``; None for one on disk."""
    revision, colon, path = source.partition(":")
    if not colon or (folder / source).exists():
        return None
    command = ["git", "show", f"{revision}:./{path}"]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if shown.returncode:
        raise SgcpError(f"{source}: {shown.stderr.strip() or 'not in git'}")
    return shown.stdout


def find_differences(sources: Sequence[str], contents: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each difference that makes the numbers not comparable."""
    lines = []
    for key, name in MEANING.items():
        values = [content[key] for content in contents]
        if all(value == values[0] for value in values):
            continue
        if all(isinstance(value, list) and len(value) > SHOWN for value in values):
            places = enumerate(zip(*values, strict=False))
            start = next((k for k, row in places if any(one != row[0] for one in row)), 0)
            values = [
                f"{len(value)} names, from number {start + 1}: {shorten(value[start:], SHOWN)}"
                for value in values
            ]
        each = (f"{value} ({source})" for value, source in zip(values, sources, strict=True))
        lines.append(f"{name}: {'; '.join(each)}")
    return lines
