"""Stage ``train``: prepared data -> model files and curves."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric, seed_everything
from lightning_fabric.utilities.exceptions import MisconfigurationException

from sgcp.datasets.classes import classes_to_json
from sgcp.datasets.index import Dataset, Item, fingerprint_items, read_dataset, refuse_overlap
from sgcp.datasets.loader import SegmentationDataset, eval_loader, train_loader
from sgcp.datasets.transforms import TrainTransform
from sgcp.errors import SgcpError
from sgcp.files import building_folder, code_digest, file_sha256
from sgcp.locks import only_writer
from sgcp.memory import keep_freed_memory
from sgcp.models.artifact import save_model
from sgcp.models.authors import load_encoder_weights
from sgcp.models.card import ModelCard
from sgcp.models.network import Normalize, SGCPNet
from sgcp.progress import say, usable_cores
from sgcp.training.checkpoints import Checkpoints, Progress
from sgcp.training.log import Reporter
from sgcp.training.loop import Data, fit, start

if TYPE_CHECKING:
    from sgcp.settings import MachineSettings, TrainSettings
    from sgcp.stages.layout import Layout


def train(layout: Layout, settings: TrainSettings, machine: MachineSettings) -> None:
    """Train on ``layout.prepared``; write ``layout.model`` and ``layout.curves``.

    An interrupted run goes on from its last checkpoint, in the middle of an epoch too, as long as
    settings, code and data are the same.

    Raises:
        SgcpError: the data, the settings or the encoder's weights do not allow training.
    """
    dataset = read_dataset(layout.prepared)
    learned = dataset.split(settings.split)
    scored = dataset.split(settings.validate_split)
    refuse_overlap(digests_by_stem(learned), scored)

    keep_freed_memory()
    fabric = launch(settings, machine)
    # One process writes for all of them.
    with only_writer(layout.resume) if fabric.is_global_zero else nullcontext():
        run_training(layout, dataset, learned, scored, settings, machine, fabric)


def run_training(
    layout: Layout,
    dataset: Dataset,
    learned: list[Item],
    scored: list[Item],
    settings: TrainSettings,
    machine: MachineSettings,
    fabric: Fabric,
) -> None:
    """Train from the last checkpoint, if there is one, to the end, and write the models."""
    seed_everything(settings.seed, verbose=False)
    network = make_network(len(dataset.classes), settings)
    normalize = Normalize()
    data = make_data(layout, dataset, learned, scored, settings, machine, fabric)
    if fabric.is_global_zero:
        say(
            f"training SGCPNet ({sum(p.numel() for p in network.parameters()):,} parameters) on "
            f"{len(learned)} images of {dataset.name}, {settings.epochs} epochs, "
            f"{len(data.train)} steps each, {fabric.world_size} x {fabric.device.type}"
        )
    run = start(fabric, network, normalize, settings, len(data.train), machine.compile)
    fingerprint = run_fingerprint(dataset, settings) + ("-compiled" if run.compiled else "")
    checkpoints = Checkpoints(
        fabric, layout.resume, run.parts(), fingerprint, machine.checkpoint_seconds
    )
    images = len(data.sampler) * fabric.world_size
    with Reporter(layout.curves, settings.epochs, images, fabric.is_global_zero) as reporter:
        reporter.describe(dataset.provenance() | describe_splits(learned, scored))
        progress = fit(run, data, checkpoints, reporter)
    if fabric.is_global_zero:
        write_models(layout, dataset, learned, network, settings, progress)
        shutil.rmtree(layout.resume, ignore_errors=True)
    fabric.barrier()


def launch(settings: TrainSettings, machine: MachineSettings) -> Fabric:
    """Start Fabric; under torchrun, join the processes that it started.

    Raises:
        SgcpError: the machine lacks what ``machine`` asks for.
    """
    devices, nodes = count_processes(machine)
    try:
        fabric = Fabric(
            accelerator=machine.accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=settings.precision,
        )
        fabric.launch()
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise SgcpError(
            f"machine (accelerator {machine.accelerator}, devices {devices}, num_nodes "
            f"{nodes}) or train.precision {settings.precision} do not fit this "
            f"machine: {' '.join(str(error).split())[:200]}"
        ) from None
    return fabric


def count_processes(machine: MachineSettings) -> tuple[int | str, int]:
    """Return the processes of each machine, and the machines: torchrun's, or else as set.

    Raises:
        SgcpError: torchrun starts more processes on one machine than on another.
    """
    local, world = os.environ.get("LOCAL_WORLD_SIZE", ""), os.environ.get("WORLD_SIZE", "")
    if local.isdecimal() and world.isdecimal() and int(local):
        if int(world) % int(local):
            raise SgcpError(f"{world} processes on machines of {local}: start as many on each")
        return int(local), int(world) // int(local)
    if machine.devices == "auto" and (
        machine.accelerator == "cpu" or not torch.cuda.is_available()
    ):
        return 1, machine.num_nodes
    return machine.devices, machine.num_nodes


def make_network(num_classes: int, settings: TrainSettings) -> SGCPNet:
    """Build the network, its encoder initialised as asked."""
    network = SGCPNet(num_classes, settings.encoder)
    if settings.encoder_weights is not None:
        load_encoder_weights(network, settings.encoder_weights)
    return network


def make_data(
    layout: Layout,
    dataset: Dataset,
    learned: list[Item],
    scored: list[Item],
    settings: TrainSettings,
    machine: MachineSettings,
    fabric: Fabric,
) -> Data:
    """Return the loaders of the two splits for this process."""
    transform = TrainTransform(
        settings.crop,
        settings.scale,
        settings.min_short_side,
        settings.flip,
        settings.color_jitter,
    )
    folders = (layout.raw, layout.prepared, len(dataset.classes))
    rank, world = fabric.global_rank, fabric.world_size
    workers = loader_processes(machine, fabric, learned)
    # Each loader process keeps pictures of its own.
    cache_bytes = machine.cache_megabytes * 2**20 // max(1, workers)
    loader, sampler = train_loader(
        SegmentationDataset(learned, *folders, transform, settings.seed, cache_bytes),
        settings.batch_size,
        workers,
        rank,
        world,
    )
    if machine.loader_workers == "auto":
        workers = max(1, workers)  # validation reads each picture once, so no cache helps it
    validation = eval_loader(SegmentationDataset(scored, *folders), workers, rank, world)
    return Data(loader, sampler, validation)


def loader_processes(machine: MachineSettings, fabric: Fabric, learned: list[Item]) -> int:
    """Return ``machine.loader_workers``, or what suits this machine and these pictures."""
    if machine.loader_workers != "auto":
        return machine.loader_workers
    if fabric.device.type != "cpu":
        return max(1, usable_cores() * machine.num_nodes // fabric.world_size - 1)
    decoded = sum(item.height * item.width * 4 for item in learned)
    return 0 if decoded <= machine.cache_megabytes * 2**20 else 1


def run_fingerprint(dataset: Dataset, settings: TrainSettings) -> str:
    """Digest what a run depends on: its settings, its code, pictures, labels and classes."""
    parts = [
        settings.model_dump_json(),
        json.dumps(dataset.provenance()),
        fingerprint_items(dataset.items),
        code_digest("datasets", "models", "inference", "evaluation", "training"),
    ]
    if settings.encoder_weights is not None:
        parts.append(file_sha256(Path(settings.encoder_weights)))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def write_models(
    layout: Layout,
    dataset: Dataset,
    learned: list[Item],
    network: SGCPNet,
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
            encoder=settings.encoder,
            trained_size=settings.crop,
            trained_on=digests_by_stem(learned),
            provenance=describe_run(settings, epoch)
            | {"train_split_fingerprint": fingerprint_items(learned)},
            dataset=dataset.name,
            edition=dataset.edition,
            protocol=dataset.protocol,
        )

    with building_folder(layout.model, key="train") as folder:
        save_model(network, chosen, card(epoch), folder / "model.safetensors")
        save_model(network, last, card(settings.epochs), folder / "last.safetensors")
    say(
        f"kept epoch {epoch} of {settings.epochs} (mIoU {progress.best_miou:.4f} at best on "
        f"'{settings.validate_split}', epoch {progress.best_epoch}), {progress.speed()}"
    )


def digests_by_stem(items: list[Item]) -> dict[str, str]:
    """Return what ``refuse_overlap`` and the model card know pictures by."""
    return {item.stem: item.image_digest for item in items}


def describe_splits(learned: list[Item], scored: list[Item]) -> dict[str, Any]:
    """Return what the curves were measured on, for their metrics file."""
    return {
        "split": scored[0].split,
        "split_fingerprint": fingerprint_items(scored),
        "train_split_fingerprint": fingerprint_items(learned),
        "scored_size": [scored[0].height, scored[0].width],
    }


def describe_run(settings: TrainSettings, epoch: int) -> dict[str, Any]:
    """Return where a model comes from, without anything that differs between equal runs."""
    weights = settings.encoder_weights
    return {
        "trained_by": "sgcp train",
        "encoder_weights_sha256": file_sha256(Path(weights)) if weights else None,
        "epoch": epoch,
        "settings": json.loads(settings.model_dump_json()),
        "versions": {
            "sgcp": version("sgcp"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
