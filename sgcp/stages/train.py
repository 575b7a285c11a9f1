"""Stage ``train``: prepared data -> model files and curves."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from lightning_fabric import Fabric, seed_everything
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from sgcp.core.errors import SgcpError
from sgcp.core.files import code_digest, only_writer
from sgcp.core.memory import keep_freed_memory
from sgcp.core.parallel import map_threads, usable_cores
from sgcp.core.plugins import find_function, source_digest
from sgcp.core.terminal import say, track
from sgcp.datasets.index import (
    Dataset,
    Item,
    fingerprint_items,
    read_dataset,
    refuse_overlap,
    train_only,
    trained_digests,
)
from sgcp.datasets.loader import SegmentationDataset, explaining_killed_workers, train_loader
from sgcp.datasets.stale import refuse_stale
from sgcp.datasets.transforms import TrainTransform
from sgcp.media.images import read_label
from sgcp.models import NETWORKS, trust
from sgcp.models.network import Normalize
from sgcp.training.balance import class_weights, count_pixels
from sgcp.training.checkpoints import Checkpoints
from sgcp.training.initialization import Initialization, make_network, read_initialization
from sgcp.training.log import Reporter
from sgcp.training.loop import Data, fit
from sgcp.training.objective import LOSSES
from sgcp.training.outputs import describe_splits, place_curves, write_models
from sgcp.training.run import start

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.settings import MachineSettings, TrainSettings


def train(layout: Layout, settings: TrainSettings, machine: MachineSettings) -> None:
    """Train on ``layout.prepared``; write ``layout.model`` and ``layout.curves``.

    Until the run ends, its curves grow in ``layout.unfinished_curves``, so that those of an older
    model stay with it. An interrupted run resumes from its last checkpoint, in the middle of an
    epoch too, as long as settings, code and data are the same.

    Raises:
        SgcpError: the data, the settings or the encoder's weights do not allow training.
    """
    dataset = read_dataset(layout.prepared)
    learned = dataset.split(settings.split)
    without = train_only(dataset.name)
    scored = (
        dataset.split(settings.validate_split, instead=without) if settings.validate_split else []
    )
    refuse_overlap(trained_digests(learned), scored)
    trust(settings.network)
    beginning = read_initialization(layout, settings)
    refuse_overlap(beginning.trained_on, scored)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # one process of each machine compares the files
        refuse_stale(layout, dataset, learned + scored)

    keep_freed_memory()
    fabric = launch(settings, machine)
    # One process writes for all of them.
    with only_writer(layout.resume) if fabric.is_global_zero else nullcontext():
        run_training(layout, dataset, learned, scored, beginning, settings, machine, fabric)


def run_training(
    layout: Layout,
    dataset: Dataset,
    learned: list[Item],
    scored: list[Item],
    beginning: Initialization,
    settings: TrainSettings,
    machine: MachineSettings,
    fabric: Fabric,
) -> None:
    """Train from the last checkpoint, if there is one, to the end, and write the models."""
    seed_everything(settings.seed, verbose=False)
    network, told = make_network(dataset, settings, beginning)
    normalize = Normalize()
    data = make_data(layout, dataset, learned, scored, settings, machine, fabric)
    if fabric.is_global_zero:
        if told:
            say(told)
        count = sum(parameter.numel() for parameter in network.parameters())
        say(
            f"training {settings.network} ({count:,} parameters) on {len(learned)} images of "
            f"{dataset.name}, {settings.epochs} epochs, {len(data.train)} steps each, "
            f"{fabric.world_size} x {fabric.device.type}"
        )
    weights = balance_classes(layout, dataset, learned, settings.class_balance, fabric)
    run = start(fabric, network, normalize, settings, len(data.train), machine.compile, weights)
    fingerprint = run_fingerprint(dataset, settings, beginning.digests) + (
        "-compiled" if run.compiled else ""
    )
    checkpoints = Checkpoints(
        fabric, layout.resume, run.parts(), fingerprint, machine.checkpoint_seconds
    )
    images = len(data.sampler) * fabric.world_size
    curves, active = layout.unfinished_curves, fabric.is_global_zero
    with Reporter(curves, settings.epochs, images, active) as reporter:
        about = dataset.provenance() | describe_splits(learned, scored)
        reporter.describe(about | {"epochs": settings.epochs})
        watch = layout.snapshot.warn_early if active else do_nothing
        with explaining_killed_workers():
            progress = fit(run, data, checkpoints, reporter, watch)
    checkpoints.save(progress)  # if the models are refused, they need not be trained again
    if active:
        write_models(layout, dataset, learned, run.learnt, beginning, settings, progress)
        place_curves(layout)
        shutil.rmtree(layout.resume, ignore_errors=True)
    fabric.barrier()


def do_nothing() -> None:
    """Leave the comparing of inputs to the first process."""


def launch(settings: TrainSettings, machine: MachineSettings) -> Fabric:
    """Start Fabric; under torchrun, join the processes that it started.

    Raises:
        SgcpError: the machine lacks what ``machine`` asks for.
    """
    devices, nodes = count_processes(machine)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # else: advice on every run
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


def balance_classes(
    layout: Layout, dataset: Dataset, learned: list[Item], balance: float, fabric: Fabric
) -> Tensor | None:
    """Return the weight of each class in the loss, or None where all pixels weigh the same.

    One process counts the pixels for all.
    """
    if not balance:
        return None
    if not fabric.is_global_zero:
        return fabric.broadcast(None)
    paths = [layout.prepared / item.label for item in learned if item.label is not None]
    labels = track(map_threads(read_label, paths, usable_cores()), "counting", len(paths))
    weights = class_weights(count_pixels(labels, len(dataset.classes)), balance)
    return fabric.broadcast(weights)


def make_data(
    layout: Layout,
    dataset: Dataset,
    learned: list[Item],
    scored: list[Item],
    settings: TrainSettings,
    machine: MachineSettings,
    fabric: Fabric,
) -> Data:
    """Return the two splits for this process."""
    transform = TrainTransform(
        settings.crop,
        settings.scale,
        settings.min_short_side,
        settings.flip,
        settings.color_jitter,
        settings.input_side,
    )
    folders = (layout.raw, layout.prepared, len(dataset.classes))
    rank, world = fabric.global_rank, fabric.world_size
    workers = loader_processes(machine, fabric, learned)
    # Each loader process keeps images of its own.
    cache_bytes = machine.cache_megabytes * 2**20 // max(1, workers)
    loader, sampler = train_loader(
        SegmentationDataset(learned, *folders, transform, settings.seed, cache_bytes, settings.mix),
        settings.batch_size,
        workers,
        rank,
        world,
    )
    return Data(loader, sampler, SegmentationDataset(scored, *folders) if scored else None)


def loader_processes(machine: MachineSettings, fabric: Fabric, learned: list[Item]) -> int:
    """Return ``machine.loader_workers``, or what suits this machine and these images."""
    if machine.loader_workers != "auto":
        return machine.loader_workers
    if fabric.device.type != "cpu":
        return max(1, usable_cores() * machine.num_nodes // fabric.world_size - 1)
    decoded = sum(item.height * item.width * 4 for item in learned)
    return 0 if decoded <= machine.cache_megabytes * 2**20 else 1


def run_fingerprint(
    dataset: Dataset, settings: TrainSettings, begun_with: Mapping[str, str | None]
) -> str:
    """Digest what a run depends on: its settings, its code, images, labels and classes."""
    parts = [
        settings.model_dump_json(),
        json.dumps(dataset.provenance()),
        fingerprint_items(dataset.items),
        code_digest("datasets", "inference", "media", "metrics", "models", "training"),
    ]
    parts += [digest for digest in begun_with.values() if digest]
    for name in filter(None, (settings.network, settings.extra_loss)):
        parts += [source_digest(find_function(name, NETWORKS | LOSSES, "train"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
