"""Stage ``validate``: prepared split and model -> scores, tables and panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sgcp.datasets.images import UInt8, write_png
from sgcp.datasets.index import Dataset, Item, read_dataset, refuse_overlap
from sgcp.datasets.loader import SegmentationDataset
from sgcp.errors import SgcpError
from sgcp.evaluation.confusion import Scores, count_confusion, score_confusion
from sgcp.evaluation.tables import confusion_table, per_class_table, render_scores
from sgcp.files import building_folder, write_json, write_text
from sgcp.progress import say, track
from sgcp.reporting.panels import panel
from sgcp.stages.model import load_segmenter, translation

if TYPE_CHECKING:
    from sgcp.inference.segmenter import Segmenter
    from sgcp.settings import MachineSettings, ValidateSettings
    from sgcp.stages.layout import Layout


def validate(layout: Layout, settings: ValidateSettings, machine: MachineSettings) -> None:
    """Score ``layout.model`` on a split of ``layout.prepared``; write ``layout.scores``.

    Beside it go ``per_class.csv`` and ``confusion.csv``; panels go to ``layout.panels``.

    Raises:
        SgcpError: the model was trained on pictures of the split, has other classes, or a file is
            missing or damaged.
    """
    dataset = read_dataset(layout.prepared)
    items = dataset.split(settings.split)
    model = load_segmenter(layout.model, machine)
    refuse_overlap(model.card.trained_on, [item.stem for item in items])
    table = translation(model, dataset.classes)

    shown = set(np.linspace(0, len(items) - 1, min(settings.panels, len(items))).astype(int))
    size = len(dataset.classes)
    confusion = torch.zeros((size, size), dtype=torch.int64)
    pairs = SegmentationDataset(items, layout.raw, layout.prepared, size)
    with building_folder(layout.panels, key="validate") as folder:
        for index in track(range(len(items)), "validating", len(items)):
            image, label = as_arrays(*pairs.read(index))
            prediction = table[model.segment(image, settings.input_size)]
            confusion += count_confusion(
                torch.from_numpy(label), torch.from_numpy(prediction), size
            )
            if index in shown:
                picture = panel(image, label, prediction, dataset.classes)
                write_png(folder / f"{items[index].stem}.png", picture)
    report(layout, dataset, items, settings, model, confusion.numpy())


def as_arrays(image: Tensor, label: Tensor) -> tuple[UInt8, UInt8]:
    """Turn tensors (3, H, W) and (H, W) into arrays (H, W, 3) and (H, W)."""
    return image.permute(1, 2, 0).numpy(), label.numpy()


def report(
    layout: Layout,
    dataset: Dataset,
    items: list[Item],
    settings: ValidateSettings,
    model: Segmenter,
    confusion: NDArray[np.int64],
) -> None:
    """Write scores and tables, and show them."""
    scores = score_confusion(confusion)
    if np.isnan(scores.miou):
        raise SgcpError(f"{dataset.name}: split '{settings.split}' has no scored pixel")
    classes = per_class_table(scores, confusion, dataset.classes)
    folder = layout.scores.parent
    pairs = confusion_table(confusion, dataset.classes)
    write_text(folder / "per_class.csv", classes.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "confusion.csv", pairs.to_csv(index=False, lineterminator="\n"))
    write_json(layout.scores, describe(dataset, items, settings, model, scores))
    say(
        render_scores(
            f"{dataset.name} '{settings.split}', {len(items)} images, "
            f"protocol {dataset.protocol}, {dataset.edition} edition",
            classes,
            scores,
        )
    )


def describe(
    dataset: Dataset,
    items: list[Item],
    settings: ValidateSettings,
    model: Segmenter,
    scores: Scores,
) -> dict[str, Any]:
    """Return the metrics file: the numbers, and everything that says what they mean."""
    iou = {
        item.name: None if np.isnan(value) else float(value)
        for item, value in zip(dataset.classes, scores.iou, strict=True)
    }
    return {
        "miou": scores.miou,
        "pixel_accuracy": scores.pixel_accuracy,
        "iou": iou,
        **dataset.provenance(),
        "split": settings.split,
        "images": len(items),
        "input_size": list(settings.input_size or (items[0].height, items[0].width)),
        "scored_size": [items[0].height, items[0].width],
        "model": {
            "dataset": model.card.dataset,
            "protocol": model.card.protocol,
            "epoch": model.card.provenance.get("epoch"),
        },
    }
