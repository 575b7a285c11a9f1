"""Scores as tables: for the terminal, and as CSV for DVC's plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

from sgcp.core.terminal import percent

if TYPE_CHECKING:
    from sgcp.metrics.confusion import Counts
    from sgcp.metrics.iou import Scores
    from sgcp.metrics.protocol import Protocol


def per_class_table(scores: Scores, counts: Counts, protocol: Protocol) -> pd.DataFrame:
    """Return a row a class: iou, recall, precision, its share of the true pixels, its category.

    Columns ``iiou`` and ``category`` only where the protocol has categories.
    """
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


def confusion_table(
    confusion: NDArray[np.int64], true: NDArray[np.int64], names: list[str]
) -> pd.DataFrame:
    """Return a row a pair (actual, predicted) with its pixels and their share of the actual class.

    Shares of one actual class sum to 1, or less where ids without a scored class are predicted; a
    class without true pixels has shares of 0.

    Args:
        confusion: (K, K), ground truth in rows.
        true: (K,) pixels of each class in the ground truth.
    """
    columns = {
        "actual": np.repeat(names, len(names)),
        "predicted": np.tile(names, len(names)),
        "share": (confusion / np.maximum(true, 1)[:, None]).ravel(),
        "pixels": confusion.ravel(),
    }
    return pd.DataFrame(columns)


def render_scores(title: str, table: pd.DataFrame, scores: Scores) -> Table:
    """Return the per-class table for the terminal, in per cent."""
    columns = {"iou": "IoU %", "recall": "recall %", "precision": "precision %"}
    columns |= {"iiou": "iIoU %"} if "iiou" in table else {}
    columns |= {"pixel_share": "share %"}
    view = Table(title=title, title_justify="left")
    view.add_column("class")
    for name in columns.values():
        view.add_column(name, justify="right", no_wrap=True)
    values = table[[*columns]].to_numpy(dtype=float)
    for name, row in zip(table["class"], values, strict=True):
        view.add_row(name, *map(percent, row))
    view.add_section()
    iiou = {"iiou": percent(scores.miiou)} if "iiou" in columns else {}
    view.add_row("mean", percent(scores.miou), *(iiou.get(name, "") for name in [*columns][1:]))
    view.add_row("pixel accuracy", percent(scores.pixel_accuracy))
    return view


def render_categories(scores: Scores) -> Table:
    """Return the categories' table for the terminal, in per cent."""
    view = Table("category")
    for name in ("IoU %", "iIoU %"):
        view.add_column(name, justify="right", no_wrap=True)
    for name, iou in scores.category_iou.items():
        view.add_row(name, percent(iou), percent(scores.category_iiou[name]))
    view.add_section()
    view.add_row("mean", percent(scores.category_miou), percent(scores.category_miiou))
    return view
