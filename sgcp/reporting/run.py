"""Read the files of a trained and validated run, and check that they belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_json
from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.label_files import read_meaning
from sgcp.datasets.stale import refuse_stale
from sgcp.media.images import UInt8, read_image, read_label, read_png_text
from sgcp.metrics.iou import ImageScore
from sgcp.metrics.results import read_metrics, refuse_other_model
from sgcp.models.card import ModelCard, model_digest, read_card, stage_model
from sgcp.reporting.panels import choose_images

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Dataset

# Columns of text, which may look like numbers, and of numbers.
TEXTS = ("image", "class", "category", "actual", "predicted")
NUMBERS = ("miou", "pixel_accuracy", "iou", "share")
CURVES = ("loss", "miou", "pixel_accuracy", "lr")
CURVES_METRICS = "metrics.json"  # beside the curves, by DVCLive
SCORED = (
    "model", "images", "input_size", "flip", "scales", "window", "engine", "precision", "panels",
)  # fmt: skip


@dataclass(frozen=True)
class Unfinished:
    """A training run that has not written its model."""

    epoch: int
    """The epoch in progress, from 1."""
    epochs: int
    curves: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class FinishedRun:
    """One run's numbers and its model's description."""

    scores: dict[str, Any]
    """``validate.json``."""
    classes: pd.DataFrame
    """``per_class.csv``."""
    confusion: pd.DataFrame
    """``confusion.csv``."""
    images: list[ImageScore]
    """``per_image.csv``."""
    card: ModelCard
    weights: Path
    digest: str
    """``model_digest``."""
    curves: dict[str, pd.DataFrame]
    """By name, columns ``step`` and the name; empty where none belong to the model."""
    unfinished: Unfinished | None
    """A later training run, in progress or interrupted."""
    speed: dict[str, Any] | None
    """``speed.json``; None where this model was not timed."""


@dataclass(frozen=True)
class Example:
    """One image of the split with its ground truth and its prediction."""

    place: str
    """``best``, ``median-2``, ..."""
    score: ImageScore
    image: UInt8
    """(H, W, 3) RGB."""
    truth: UInt8
    """(H, W) train ids."""
    prediction: UInt8
    """(H, W) train ids."""


def read_run(layout: Layout) -> FinishedRun:
    """Read what ``train``, ``validate`` and ``benchmark`` wrote.

    Raises:
        SgcpError: a file is missing or damaged, or the scores are of another model or of other
            images than the files beside them.
    """
    again = f"run `sgcp validate {layout.dataset}` again"
    scores = read_metrics(str(layout.scores))
    if missing := [key for key in SCORED if key not in scores]:
        raise SgcpError(f"{layout.scores}: lacks {', '.join(missing)}; {again}")
    weights = stage_model(layout)
    digest = model_digest(weights)
    refuse_other_model(layout.scores, scores, digest)

    def table(name: str, *columns: str) -> pd.DataFrame:
        return read_table(layout.scores.with_name(name), columns, again)

    images = table("per_image.csv", "image", "miou", "pixel_accuracy", "labelled")
    if len(images) != scores["images"]:
        raise SgcpError(f"{layout.scores}: of other images than per_image.csv; {again}")
    curves = layout.curves / CURVES_METRICS
    trained = _read_of_model(curves, digest, f"sgcp train {layout.dataset}")
    return FinishedRun(
        scores=scores,
        classes=table("per_class.csv", "class", "iou"),
        confusion=table("confusion.csv", "actual", "predicted", "share"),
        images=[
            ImageScore(row["image"], row["miou"], row["pixel_accuracy"], row["labelled"])
            for row in images.to_dict("records")
        ],
        card=read_card(weights),
        weights=weights,
        digest=digest,
        curves=_read_curves(layout, layout.curves) if trained else {},
        unfinished=_read_unfinished(layout),
        speed=_read_of_model(layout.speed, digest, f"sgcp benchmark {layout.dataset}"),
    )


def read_examples(layout: Layout, dataset: Dataset, run: FinishedRun) -> list[Example]:
    """Read the best, median and worst images, of which ``validate`` wrote the predictions.

    Raises:
        SgcpError: an image or a prediction is missing, changed, or of another run.
    """
    again = f"run `sgcp validate {layout.dataset}` again"
    items = {item.key: item for item in dataset.split(run.scores["split"])}
    chosen = choose_images(run.images, run.scores["panels"])
    if unknown := [score.image for _, score in chosen if score.image not in items]:
        raise SgcpError(
            f"per_image.csv: '{unknown[0]}' is no image of '{run.scores['split']}'; {again}"
        )
    refuse_stale(layout, dataset, [items[score.image] for _, score in chosen])
    examples = []
    for place, score in chosen:
        item = items[score.image]
        path = layout.panels / f"{place}.prediction.png"
        if not path.is_file():
            raise SgcpError(f"{path}: not found; {again}")
        meaning = read_meaning(read_png_text(path))
        if not meaning or (meaning.model, meaning.image) != (run.digest, item.image_digest):
            raise SgcpError(f"{path}: predicted by another model or of another image; {again}")
        truth = read_ground_truth(layout.prepared, item)
        label, prediction = truth.train_ids[truth.segments], read_label(path)
        if prediction.shape != label.shape:
            raise SgcpError(f"{path}: damaged: its image has another size; {again}")
        image = read_image(layout.raw / item.image)
        examples.append(Example(place, score, image, label, prediction))
    return examples


def _read_of_model(path: Path, digest: str, made_by: str) -> dict[str, Any] | None:
    """Read a metrics file; None if there is none of the model with this ``model_digest``."""
    content = read_json(path, made_by) if path.exists() else {}
    return content if content.get("model_sha256") == digest else None


def _read_unfinished(layout: Layout) -> Unfinished | None:
    """Return the training run that is in progress or was interrupted, if there is one."""
    try:
        content = read_json(layout.unfinished_curves / CURVES_METRICS, "sgcp train")
        epochs = int(content["epochs"])
        curves = _read_curves(layout, layout.unfinished_curves)
    except (SgcpError, KeyError, TypeError, ValueError):  # none, or one that is being written
        return None
    return Unfinished(min(int(content.get("step", 0)) + 1, epochs), epochs, curves)


def _read_curves(layout: Layout, folder: Path) -> dict[str, pd.DataFrame]:
    paths = {name: folder / "plots" / "metrics" / f"{name}.tsv" for name in CURVES}
    again = f"run `sgcp train {layout.dataset}` again"
    return {
        name: read_table(path, ("step", name), again, "\t")
        for name, path in paths.items()
        if path.exists()
    }


def read_table(
    path: Path, columns: tuple[str, ...], again: str, separator: str = ","
) -> pd.DataFrame:
    """Read a table that a stage wrote.

    Args:
        columns: that it must have.
        again: what to do where it is missing or damaged.

    Raises:
        SgcpError: missing, no table, or without one of ``columns``.
    """
    types = dict.fromkeys(TEXTS, "str") | dict.fromkeys(NUMBERS, "float64")
    try:
        table = pd.read_csv(path, sep=separator, keep_default_na=False, na_values=[""], dtype=types)
    except FileNotFoundError:
        raise SgcpError(f"{path}: not found; {again}") from None
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        raise SgcpError(f"{path}: damaged ({error}); {again}") from None
    if missing := [name for name in columns if name not in table]:
        raise SgcpError(f"{path}: lacks the column {missing[0]}; {again}")
    return table
