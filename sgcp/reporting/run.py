"""Read the files of a trained and validated run, and check that they belong together."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_json
from sgcp.core.layout import Layout
from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.index import Dataset, name_items
from sgcp.datasets.label_files import read_meaning
from sgcp.datasets.stale import refuse_stale
from sgcp.media.images import UInt8, read_image, read_label, read_png_text
from sgcp.metrics.iou import ImageScore
from sgcp.metrics.results import read_metrics, refuse_other_model
from sgcp.models.card import ModelCard, model_digest, read_card, stage_model
from sgcp.reporting.panels import choose_images

# Columns of text, which may look like numbers, and of numbers.
TYPES = dict.fromkeys(("image", "class", "category", "actual", "predicted"), "str") | dict.fromkeys(
    ("miou", "pixel_accuracy", "iou", "share"), "float64"
)
# Title, axis and number format of each curve that training writes.
CURVES = {
    "loss": ("Training loss", "loss", "~g"),
    "validation_loss": ("Validation loss", "cross-entropy", "~g"),
    "miou": ("mIoU while training", "mIoU", ".0%"),
    "pixel_accuracy": ("Pixel accuracy while training", "pixel accuracy", ".0%"),
    "lr": ("Learning rate", "learning rate", "~g"),
}
CURVES_METRICS = "metrics.json"  # beside the curves, by DVCLive
METHOD = ("input_size", "flip", "scales", "window", "engine", "precision")  # of scoring
SCORED = ("model", "images", *METHOD, "panels")
Curves = dict[str, pd.DataFrame]
"""By name, with columns ``step`` and the name."""


@dataclass(frozen=True)
class FinishedRun:
    """One run's numbers (``validate.json`` and its tables) and its model's description."""

    layout: Layout
    scores: dict[str, Any]
    classes: pd.DataFrame
    confusion: pd.DataFrame
    images: list[ImageScore]
    card: ModelCard
    weights: Path
    digest: str
    """``model_digest``."""
    curves: Curves
    """Empty where none belong to the model."""
    unfinished: tuple[str, Curves] | None
    """A later training run, in progress or interrupted: its epoch (``3 of 5``) and curves."""
    speed: dict[str, Any] | None
    """``speed.json``; None where this model was not timed."""
    corrupted: dict[str, Any] | None
    """What ``validate --corruptions`` wrote; None where it did not score this model."""
    seeds: dict[str, Any] | None
    """``summary.json`` of ``train --seeds``; None where no seed had these settings and images."""


@dataclass(frozen=True)
class Earlier:
    """A run to compare with."""

    source: str
    scores: dict[str, Any]
    differences: Sequence[str]
    """Why its numbers are not comparable; empty: a difference means something."""


@dataclass(frozen=True)
class Example:
    """One image of the split with its ground truth and its prediction."""

    place: str
    """``best``, ``median-2``, ..."""
    score: ImageScore
    image: UInt8
    """(H, W, 3) RGB; the others (H, W) train ids."""
    truth: UInt8
    prediction: UInt8


def read_run(layout: Layout) -> FinishedRun:
    """Read what ``train``, ``validate`` and ``benchmark`` wrote.

    Raises:
        SgcpError: a file is missing or damaged, or the scores are of another model or of other
            images than the files beside them.
    """
    again = f"run `sgcp validate {layout.dataset}` again"
    scores = read_metrics(str(layout.scores), made_by=f"sgcp validate {layout.dataset}")
    if missing := [key for key in SCORED if key not in scores]:
        raise SgcpError(f"{layout.scores}: lacks {', '.join(missing)}; {again}")
    weights = stage_model(layout)
    digest = model_digest(weights)
    refuse_other_model(layout.scores, scores, digest)

    def table(name: str, *columns: str) -> pd.DataFrame:
        return read_table(layout.scores.with_name(name), columns, again)

    def of_this_model(path: Path, command: str) -> dict[str, Any] | None:
        content = read_json(path, f"sgcp {command} {layout.dataset}") if path.exists() else {}
        scored = content.get("model")  # in validate.json
        found = scored.get("sha256") if isinstance(scored, dict) else content.get("model_sha256")
        return content if found == digest else None

    columns = [field.name for field in fields(ImageScore)]
    images = table("per_image.csv", *columns)
    if len(images) != scores["images"]:
        raise SgcpError(f"{layout.scores}: of other images than per_image.csv; {again}")
    trained = of_this_model(layout.curves / CURVES_METRICS, "train")
    return FinishedRun(
        layout,
        scores,
        classes=table("per_class.csv", "class", "iou"),
        confusion=table("confusion.csv", "actual", "predicted", "share"),
        images=[ImageScore(*row) for row in images[columns].itertuples(index=False)],
        card=read_card(weights),
        weights=weights,
        digest=digest,
        curves=_read_curves(layout, layout.curves) if trained else {},
        unfinished=_read_unfinished(layout),
        speed=of_this_model(layout.speed, "benchmark"),
        corrupted=of_this_model(layout.corrupted, "validate"),
        seeds=_read_seeds(layout, scores),
    )


def read_examples(dataset: Dataset, run: FinishedRun) -> list[Example]:
    """Read the best, median and worst images, of which ``validate`` wrote the predictions.

    Raises:
        SgcpError: an image or a prediction is missing, changed, or of another run.
    """
    layout = run.layout
    again = f"run `sgcp validate {layout.dataset}` again"
    items = name_items(dataset.split(run.scores["split"]))
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


def _read_seeds(layout: Layout, scores: dict[str, Any]) -> dict[str, Any] | None:
    """Return mean and deviation over seeds, if one of them was trained and scored as this run."""

    def identity(content: dict[str, Any]) -> list[Any]:
        same = ("split_fingerprint", "input_size", "flip", "scales", "window", "precision")
        return [content["model"]["settings"], *(content.get(key) for key in same)]

    try:
        summary = read_json(layout.seeds, "sgcp train --seeds")
        paths = [replace(layout, beside=f"seeds/{seed}").scores for seed in summary["seeds"]]
        ours = identity(scores)
        return summary if any(identity(read_json(p, "")) == ours for p in paths) else None
    except (SgcpError, KeyError, TypeError):  # none, or an incomplete one
        return None


def _read_unfinished(layout: Layout) -> tuple[str, Curves] | None:
    try:
        content = read_json(layout.unfinished_curves / CURVES_METRICS, "sgcp train")
        epochs = int(content["epochs"])
        epoch = min(int(content.get("step", 0)) + 1, epochs)
        return f"{epoch} of {epochs}", _read_curves(layout, layout.unfinished_curves)
    except (SgcpError, KeyError, TypeError, ValueError):  # none, or one that is being written
        return None


def _read_curves(layout: Layout, folder: Path) -> Curves:
    again = f"run `sgcp train {layout.dataset}` again"
    paths = {name: folder / "plots" / "metrics" / f"{name}.tsv" for name in CURVES}
    return {
        name: read_table(path, ("step", name), again)
        for name, path in paths.items()
        if path.exists()
    }


def read_table(path: Path, columns: Sequence[str], again: str) -> pd.DataFrame:
    """Read a table that a stage wrote, with tabs (``.tsv``) or commas between its columns.

    Args:
        columns: that it must have.
        again: what to do where it is missing or damaged.

    Raises:
        SgcpError: missing, no table, or without one of ``columns``.
    """
    separator = "\t" if path.suffix == ".tsv" else ","
    try:
        table = pd.read_csv(path, sep=separator, keep_default_na=False, na_values=[""], dtype=TYPES)
    except FileNotFoundError:
        raise SgcpError(f"{path}: not found; {again}") from None
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        raise SgcpError(f"{path}: damaged ({error}); {again}") from None
    if missing := [name for name in columns if name not in table]:
        raise SgcpError(f"{path}: lacks the column {missing[0]}; {again}")
    return table
