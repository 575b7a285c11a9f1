"""What a training run leaves: model files, where they come from, and its curves."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sgcp.core.extras import DISTRIBUTION
from sgcp.core.files import (
    PARTIAL,
    building_folder,
    flush_disks,
    read_json,
    remove_folder,
    replace_folder,
    write_json,
)
from sgcp.core.terminal import say
from sgcp.datasets.classes import classes_to_json
from sgcp.datasets.index import (
    Dataset,
    Item,
    fingerprint_items,
    scored_split,
    trained_digests,
)
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
    initial: Initialization,
    settings: TrainSettings,
    progress: Progress,
    calibrate: Callable[[Mapping[str, Tensor]], float],
) -> None:
    """Write ``last`` and, as ``settings.keep`` says, ``model``, with their descriptions.

    The descriptions contain nothing that differs between equal runs.

    Args:
        calibrate: returns the temperature of the network with some weights.
    """

    def card(epoch: int, temperature: float) -> ModelCard:
        provenance = {
            "trained_by": "sgcp train",
            "recipe": settings.recipe,
            **initial.digests,
            "teacher": initial.teacher.describe() if initial.teacher else None,
            "epoch": epoch,
            "threads": progress.threads,
            "settings": json.loads(settings.model_dump_json()),
            "versions": {
                "sgcp": version(DISTRIBUTION),
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "train_split_fingerprint": fingerprint_items(learned),
        }
        return ModelCard(
            classes=classes_to_json(dataset.classes),
            network=settings.network,
            encoder=settings.encoder,
            trained_size=settings.crop,
            input_side=settings.input_side,
            temperature=temperature,
            trained_on=trained_digests(learned, initial.trained_on),
            provenance=provenance,
            dataset=dataset.name,
            edition=dataset.edition,
            protocol=dataset.protocol,
        )

    last = network.state_dict()
    best = settings.keep == "best"
    weights, epoch = progress.best_weights if best else last, progress.epoch
    kept = progress.best_epoch if best else epoch
    temperature = calibrate(weights)
    of_last = temperature if kept == epoch else calibrate(last)
    with building_folder(layout.model, key="train") as folder:
        save_model(network, weights, card(kept, temperature), folder / "model.safetensors")
        save_model(network, last, card(epoch, of_last), folder / "last.safetensors")
        layout.snapshot.check()
    split = scored_split(settings)
    score = f" (mIoU {progress.best_miou:.4f} at best on '{split}', epoch {progress.best_epoch})"
    seconds = max(progress.seconds, 1e-9)
    say(
        f"kept epoch {kept} of {epoch}{score if split else ''}, {seconds:.0f} s, "
        f"{progress.images / seconds:.1f} images/s, {progress.waited / seconds:.1%} of it waiting "
        "for data"
    )


def place_curves(layout: Layout) -> None:
    """Copy the curves of the run that made ``layout.model`` to ``layout.curves``.

    Their metrics file gets the model's digest: after a kill between model and curves, older curves
    are recognised as such.
    """
    building = layout.curves.with_name(layout.curves.name + PARTIAL)
    remove_folder(building)
    shutil.copytree(layout.unfinished_curves, building)
    metrics = building / "metrics.json"
    content = read_json(metrics, made_by="sgcp train")
    content |= {"model_sha256": model_digest(layout.model / "model.safetensors")}
    write_json(metrics, content | {"epochs": content["step"]})  # fewer, where a run ended early
    flush_disks()
    replace_folder(building, layout.curves)
