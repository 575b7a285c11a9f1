"""Scores as tables: for the terminal, and as CSV for DVC's plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

if TYPE_CHECKING:
    from sgcp.datasets.classes import SemanticClass
    from sgcp.evaluation.confusion import Scores


def per_class_table(
    scores: Scores, confusion: NDArray[np.int64], classes: tuple[SemanticClass, ...]
) -> pd.DataFrame:
    """Return a row a class: iou, recall, precision and its share of the true pixels."""
    share = confusion.sum(axis=1) / max(1, confusion.sum())
    return pd.DataFrame(
        {
            "class": [item.name for item in classes],
            "iou": scores.iou,
            "recall": scores.recall,
            "precision": scores.precision,
            "pixel_share": share,
        }
    )


def confusion_table(
    confusion: NDArray[np.int64], classes: tuple[SemanticClass, ...]
) -> pd.DataFrame:
    """Return a row a pair (actual, predicted) with its pixels and their share of the actual class.

    Shares of one actual class sum to 1; a class without true pixels has shares of 0.
    """
    names = [item.name for item in classes]
    totals = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(totals, 1)
    size = len(names)
    return pd.DataFrame(
        {
            "actual": np.repeat(names, size),
            "predicted": np.tile(names, size),
            "share": shares.ravel(),
            "pixels": confusion.ravel(),
        }
    )


def render_scores(title: str, table: pd.DataFrame, scores: Scores) -> Table:
    """Return the per-class table for the terminal, in per cent."""
    view = Table(title=title, title_justify="left")
    view.add_column("class")
    for name in ("IoU %", "recall %", "precision %", "share %"):
        view.add_column(name, justify="right")
    values = table[["iou", "recall", "precision", "pixel_share"]].to_numpy(dtype=float)
    for name, row in zip(table["class"], values, strict=True):
        view.add_row(name, *map(percent, row))
    view.add_section()
    view.add_row("mean IoU", percent(scores.miou))
    view.add_row("pixel accuracy", percent(scores.pixel_accuracy))
    return view


def percent(value: float) -> str:
    """Format a share with two decimals, or a dash where there is none."""
    return "-" if np.isnan(value) else f"{100 * value:.2f}"
