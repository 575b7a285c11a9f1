"""What a trained and validated run has left: read together, and checked to belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_json
from sgcp.inference.segmenter import stage_model
from sgcp.metrics.results import read_metrics, refuse_other_model
from sgcp.models.card import ModelCard, model_digest, read_card

if TYPE_CHECKING:
    from sgcp.core.layout import Layout

NAMES = ("image", "class", "category", "actual", "predicted")  # columns of text
CURVES = ("loss", "miou", "pixel_accuracy", "lr")
METRICS = "metrics.json"  # beside the curves, by DVCLive
LOOK = ("model", "images", "input_size", "flip", "scales", "window", "engine", "precision")


@dataclass(frozen=True)
class Unfinished:
    """A training run that has not written its model."""

    epoch: int
    """The epoch in progress, from 1."""
    epochs: int
    curves: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Run:
    """One run's numbers and its model's description."""

    scores: dict[str, Any]
    """``validate.json``."""
    classes: pd.DataFrame
    """``per_class.csv``."""
    confusion: pd.DataFrame
    """``confusion.csv``."""
    images: pd.DataFrame
    """``per_image.csv``."""
    card: ModelCard
    weights: Path
    curves: dict[str, pd.DataFrame]
    """By name, columns ``step`` and the name; empty where none belong to the model."""
    unfinished: Unfinished | None
    """A later training run, in progress or interrupted."""
    speed: dict[str, Any] | None
    """``speed.json``; None where this model was not timed."""


def read_run(layout: Layout) -> Run:
    """Read what ``train``, ``validate`` and ``benchmark`` left of a run.

    Raises:
        SgcpError: a file is missing or damaged, or the scores are of another model or of other
            images than the files beside them.
    """
    again = f"run `sgcp validate {layout.dataset}` again"
    scores = read_metrics(str(layout.scores))
    if lacking := [key for key in LOOK if key not in scores]:
        raise SgcpError(f"{layout.scores}: lacks {', '.join(lacking)}; {again}")
    weights = stage_model(layout)
    digest = model_digest(weights)
    refuse_other_model(layout.scores, scores, digest)
    images = read_table(layout.scores.with_name("per_image.csv"), ("image", "miou"), again)
    if len(images) != scores["images"]:
        raise SgcpError(f"{layout.scores}: of other images than per_image.csv; {again}")
    trained = read_own(layout.curves / METRICS, digest, f"sgcp train {layout.dataset}")
    return Run(
        scores=scores,
        classes=read_table(layout.scores.with_name("per_class.csv"), ("class", "iou"), again),
        confusion=read_table(
            layout.scores.with_name("confusion.csv"), ("actual", "predicted", "share"), again
        ),
        images=images,
        card=read_card(weights),
        weights=weights,
        curves=read_curves(layout, layout.curves) if trained else {},
        unfinished=read_unfinished(layout),
        speed=read_own(layout.speed, digest, f"sgcp benchmark {layout.dataset}"),
    )


def read_own(path: Path, digest: str, made_by: str) -> dict[str, Any] | None:
    """Read a metrics file; None if there is none of the model with this ``model_digest``.

    Raises:
        SgcpError: the file is damaged.
    """
    content = read_json(path, made_by) if path.exists() else {}
    return content if content.get("model_sha256") == digest else None


def read_unfinished(layout: Layout) -> Unfinished | None:
    """Return the training run that is in progress or was interrupted, if there is one."""
    metrics = layout.unfinished_curves / METRICS
    try:
        content = read_json(metrics, "sgcp train")
        epochs = int(content["epochs"])
        curves = read_curves(layout, layout.unfinished_curves)
    except (SgcpError, KeyError, TypeError, ValueError):  # none, or one that is being written
        return None
    return Unfinished(min(int(content.get("step", 0)) + 1, epochs), epochs, curves)


def read_curves(layout: Layout, folder: Path) -> dict[str, pd.DataFrame]:
    """Return the curves that a training run left in a folder, by name.

    Raises:
        SgcpError: one is damaged.
    """
    paths = {name: folder / "plots" / "metrics" / f"{name}.tsv" for name in CURVES}
    again = f"run `sgcp train {layout.dataset}` again"
    return {
        name: read_table(path, ("step", name), again, "\t")
        for name, path in paths.items()
        if path.exists()
    }


def read_table(path: Path, columns: tuple[str, ...], again: str, mark: str = ",") -> pd.DataFrame:
    """Read a table of ours; all its first two columns' names must be there.

    Args:
        again: what to do where it is missing or damaged.
        mark: between two values.

    Raises:
        SgcpError: missing, no table, or without one of ``columns``.
    """
    try:
        # Names may look like numbers.
        table = pd.read_csv(
            path, sep=mark, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(NAMES, str)
        )
    except FileNotFoundError:
        raise SgcpError(f"{path}: not found; {again}") from None
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        raise SgcpError(f"{path}: damaged ({error}); {again}") from None
    if lacking := [name for name in columns if name not in table]:
        raise SgcpError(f"{path}: lacks the column {lacking[0]}; {again}")
    return table


def choose_images(images: pd.DataFrame, count: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the best, median and worst images by mIoU, of each up to ``count``.

    None comes twice: of few images, best and worst are there before the median.

    Returns:
        Pairs of its place (``best``, ``median 2``, ...) and its row, from best to worst.
    """
    ranked = images.dropna(subset="miou").sort_values(
        ["miou", "image"], ascending=[False, True], kind="stable"
    )
    rows = ranked.to_dict("records")
    start = (len(rows) - count) // 2
    wanted = {
        "best": range(count),
        "worst": range(len(rows) - 1, len(rows) - 1 - count, -1),
        "median": range(start, start + count),
    }
    taken: dict[int, str] = {}
    for kind, places in wanted.items():
        for number, place in enumerate(places, start=1):
            if 0 <= place < len(rows):
                taken.setdefault(place, f"{kind} {number}" if count > 1 else kind)
    return [(taken[place], {str(k): v for k, v in rows[place].items()}) for place in sorted(taken)]
