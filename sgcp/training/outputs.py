"""What a training run leaves: model files, where they come from, and its curves."""

from __future__ import annotations

import copy
import json
import platform
import shutil
from collections.abc import Mapping
from importlib.metadata import version

import torch
from torch import Tensor

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
from sgcp.core.layout import Layout
from sgcp.core.terminal import say
from sgcp.datasets.classes import classes_to_json
from sgcp.datasets.index import Dataset, Item, fingerprint_items, scored_split, trained_digests
from sgcp.datasets.loader import SegmentationDataset
from sgcp.metrics.calibration import Sample, fit_temperature, pixels_of_each
from sgcp.models.artifact import save_model
from sgcp.models.card import ModelCard, model_digest
from sgcp.training.checkpoints import Progress
from sgcp.training.initialization import Initialization
from sgcp.training.loop import network_inputs
from sgcp.training.run import Run


def write_models(
    layout: Layout,
    dataset: Dataset,
    learned: list[Item],
    initial: Initialization,
    run: Run,
    progress: Progress,
    scored: SegmentationDataset | None,
) -> None:
    """Write ``last`` and, as ``settings.keep`` says, ``model``, with their descriptions.

    The descriptions contain nothing that differs between equal runs.
    """
    network, settings = run.learnt, run.settings

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
    temperature = calibrate(run, weights, scored)
    of_last = temperature if kept == epoch else calibrate(run, last, scored)
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


@torch.inference_mode()
def calibrate(run: Run, weights: Mapping[str, Tensor], scored: SegmentationDataset | None) -> float:
    """Fit the temperature of the network with these weights on the split that training scores.

    Done in this process alone. Without such a split it is 1.
    """
    if scored is None:
        return 1.0
    network = copy.deepcopy(run.learnt)
    network.load_state_dict(weights)
    network.eval()
    samples, pixels = [], pixels_of_each(len(scored), scored.num_classes)
    everything, side = range(len(scored)), run.settings.input_side
    for image, label in network_inputs(run.fabric, scored, everything, side):
        x = run.normalize(image).contiguous(memory_format=torch.channels_last)
        samples.append(Sample(network(x)[0].float().cpu().numpy(), label.numpy(), pixels))
    temperature = fit_temperature(samples)
    say(f"temperature {temperature}, fitted on {len(scored)} images")
    return temperature


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
