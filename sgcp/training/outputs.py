"""What a training run leaves: model files, where they come from, and its curves."""

from __future__ import annotations

import json
import os
import platform
import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sgcp.core.files import (
    PARTIAL,
    building_folder,
    read_json,
    remove_folder,
    replace_folder,
    write_json,
)
from sgcp.core.terminal import say
from sgcp.datasets.classes import classes_to_json
from sgcp.datasets.index import Dataset, Item, fingerprint_items, trained_digests
from sgcp.models.artifact import save_model
from sgcp.models.card import ModelCard, model_digest

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.settings import TrainSettings
    from sgcp.training.checkpoints import Progress
    from sgcp.training.initialization import Initialization


def write_models(
    layout: Layout,
    dataset: Dataset,
    learned: list[Item],
    network: nn.Module,
    beginning: Initialization,
    settings: TrainSettings,
    progress: Progress,
) -> None:
    """Write ``last`` and, as ``settings.keep`` says, ``model``, with their descriptions."""
    last = network.state_dict()
    chosen = progress.best_weights if settings.keep == "best" else last
    epoch = progress.best_epoch if settings.keep == "best" else settings.epochs

    def card(epoch: int) -> ModelCard:
        return ModelCard(
            classes=classes_to_json(dataset.classes),
            network=settings.network,
            encoder=settings.encoder,
            trained_size=settings.crop,
            input_side=settings.input_side,
            trained_on=trained_digests(learned, beginning.trained_on),
            provenance=describe_run(settings, epoch, beginning.digests)
            | {"train_split_fingerprint": fingerprint_items(learned)},
            dataset=dataset.name,
            edition=dataset.edition,
            protocol=dataset.protocol,
        )

    with building_folder(layout.model, key="train") as folder:
        save_model(network, chosen, card(epoch), folder / "model.safetensors")
        save_model(network, last, card(settings.epochs), folder / "last.safetensors")
        layout.snapshot.check()
    best = (
        f" (mIoU {progress.best_miou:.4f} at best on '{settings.validate_split}', epoch "
        f"{progress.best_epoch})"
    )
    say(
        f"kept epoch {epoch} of {settings.epochs}{best if settings.validate_split else ''}, "
        f"{progress.speed()}"
    )


def place_curves(layout: Layout) -> None:
    """Copy the curves of the run that made ``layout.model`` to ``layout.curves``.

    Their metrics file gets the model's digest: after a kill between model and curves, the older
    curves are told from the new model's.
    """
    building = layout.curves.with_name(layout.curves.name + PARTIAL)
    remove_folder(building)
    shutil.copytree(layout.unfinished_curves, building)
    metrics = building / "metrics.json"
    digest = {"model_sha256": model_digest(layout.model / "model.safetensors")}
    write_json(metrics, read_json(metrics, made_by="sgcp train") | digest)
    os.sync()
    replace_folder(building, layout.curves)


def describe_splits(learned: list[Item], scored: list[Item]) -> dict[str, Any]:
    """Return what the curves were measured on, for their metrics file."""
    learnt = {"train_split_fingerprint": fingerprint_items(learned)}
    if not scored:
        return learnt
    return learnt | {
        "split": scored[0].split,
        "split_fingerprint": fingerprint_items(scored),
        "scored_size": [scored[0].height, scored[0].width],
    }


def describe_run(
    settings: TrainSettings, epoch: int, begun_with: dict[str, str | None]
) -> dict[str, Any]:
    """Return where a model comes from, without anything that differs between equal runs."""
    return {
        "trained_by": "sgcp train",
        "recipe": settings.recipe,
        **begun_with,
        "epoch": epoch,
        "settings": json.loads(settings.model_dump_json()),
        "versions": {
            "sgcp": version("sgcp"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
