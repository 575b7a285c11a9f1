"""Stage ``train``: prepared data -> model files and curves."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from lightning_fabric import Fabric, seed_everything
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.files import code_digest, only_writer
from sgcp.core.machine import keep_freed_memory, usable_cores
from sgcp.core.parallel import map_threads
from sgcp.core.plugins import find_function, source_digest
from sgcp.core.terminal import output, say, track
from sgcp.datasets.index import (
    Dataset,
    Item,
    fingerprint_items,
    fingerprint_order,
    learned_items,
    read_dataset,
    refuse_overlap,
    scored_split,
    train_only,
    trained_digests,
)
from sgcp.datasets.loader import SegmentationDataset, explaining_killed_workers, train_loader
from sgcp.datasets.photometric import Photometric
from sgcp.datasets.stale import refuse_stale
from sgcp.datasets.transforms import TrainTransform
from sgcp.media.images import read_label
from sgcp.models import NETWORKS
from sgcp.models.network import Normalize
from sgcp.training.checkpoints import Checkpoints
from sgcp.training.distillation import Teacher
from sgcp.training.initialization import Initialization, make_network, read_initialization
from sgcp.training.log import Reporter
from sgcp.training.loop import Data, fit
from sgcp.training.objective import LOSSES, class_weights, count_pixels
from sgcp.training.outputs import place_curves, write_models
from sgcp.training.run import start

if TYPE_CHECKING:
    from pathlib import Path

    from sgcp.core.layout import Layout
    from sgcp.settings import MachineSettings, TrainSettings


TRAINED_BEFORE = (
    "The model of train.init or train.teacher was trained on them. Train that one without them, or "
    "choose another split in params.yaml"
)


@dataclass(frozen=True)
class Inputs:
    """What a run starts from, read and checked."""

    layout: Layout
    settings: TrainSettings
    machine: MachineSettings
    dataset: Dataset
    learned: list[Item]
    scored: list[Item]
    initial: Initialization


def train(layout: Layout, settings: TrainSettings, machine: MachineSettings) -> None:
    """Train on ``layout.prepared``; write ``layout.model`` and ``layout.curves``.

    Until the run ends, its curves grow in ``layout.unfinished_curves``, so that those of an older
    model stay with it. An interrupted run resumes from its last checkpoint, in the middle of an
    epoch too, as long as settings, code and data are the same.

    Raises:
        SgcpError: the data, the settings or the encoder's weights do not allow training.
    """
    dataset = read_dataset(layout.prepared)
    split = scored_split(settings)
    scored = dataset.split(split, instead=train_only(dataset.name)) if split else []
    learned = learned_items(dataset, settings)
    refuse_overlap(trained_digests(learned), scored)
    initial = read_initialization(layout, settings)
    refuse_overlap(initial.trained_on, scored, TRAINED_BEFORE)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # one process of each machine compares the files
        refuse_stale(layout, dataset, learned + scored)

    keep_freed_memory()
    fabric = launch(settings, machine)
    if machine.threads != "auto":
        torch.set_num_threads(machine.threads)
    # One process prints and writes for all of them.
    output.quiet = output.quiet or not fabric.is_global_zero
    with only_writer(layout.resume) if fabric.is_global_zero else nullcontext():
        inputs = Inputs(layout, settings, machine, dataset, learned, scored, initial)
        run_training(inputs, fabric)
        fabric.barrier()


def run_training(inputs: Inputs, fabric: Fabric) -> None:
    """Train from the last checkpoint, if there is one, to the end, and write the models."""
    layout, settings, machine = inputs.layout, inputs.settings, inputs.machine
    dataset, initial = inputs.dataset, inputs.initial
    seed_everything(settings.seed, verbose=False)
    network = make_network(dataset, settings, initial)
    data = make_data(inputs, fabric)
    steps = len(data.train)
    say(
        f"training {settings.network} ({sum(p.numel() for p in network.parameters()):,} "
        f"parameters) on {len(inputs.learned)} images of {dataset.name}, {settings.epochs} epochs, "
        f"{steps} steps each, {fabric.world_size} x {fabric.device.type}"
        + (f", without the drive {settings.holdout}" if settings.holdout else "")
    )
    weights = balance_classes(inputs, fabric)
    # A time budget may be over before compiling pays.
    compiling = False if settings.max_minutes and machine.compile == "auto" else machine.compile
    run = start(fabric, network, Normalize(), settings, steps, compiling, weights)
    fingerprint = run_fingerprint(dataset, settings, initial) + "-compiled" * run.compiled
    checkpoints = Checkpoints(
        fabric, layout.resume, run.parts(), fingerprint, machine.checkpoint_seconds
    )
    first = fabric.is_global_zero
    curves = layout.unfinished_curves if first else None
    watch = layout.snapshot.warn_early if first else lambda: None
    about = dataset.provenance() | {"train_split_fingerprint": fingerprint_items(inputs.learned)}
    if scored := inputs.scored:
        about["split"] = scored_split(settings)
        about["split_fingerprint"] = fingerprint_items(scored)
        about["scored_size"] = [scored[0].height, scored[0].width]
    about["epochs"] = settings.epochs
    images = len(data.sampler) * fabric.world_size
    with Reporter(curves, settings.epochs, images, about) as reporter, explaining_killed_workers():
        progress = fit(run, data, checkpoints, reporter, watch)
    checkpoints.save(progress)  # if the models are refused, they need not be trained again
    if first:
        write_models(layout, dataset, inputs.learned, initial, run, progress, data.validate)
        place_curves(layout)
        checkpoints.clear()
        for folder in (layout.unfinished_curves, *layout.resume.glob("teacher-*")):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # checkpoints of other runs stay
            layout.resume.rmdir()


def launch(settings: TrainSettings, machine: MachineSettings) -> Fabric:
    """Start Fabric; under torchrun, join the processes that it started."""
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
    """Return the processes of each machine, and the machines: torchrun's, or else as set."""
    local, world = os.environ.get("LOCAL_WORLD_SIZE", ""), os.environ.get("WORLD_SIZE", "")
    if local.isdecimal() and world.isdecimal() and int(local):
        if int(world) % int(local):
            raise SgcpError(f"{world} processes on machines of {local}: start as many on each")
        return int(local), int(world) // int(local)
    on_cpu = machine.accelerator == "cpu" or not torch.cuda.is_available()
    return 1 if machine.devices == "auto" and on_cpu else machine.devices, machine.num_nodes


def balance_classes(inputs: Inputs, fabric: Fabric) -> Tensor | None:
    """Return the weight of each class in the loss, counted by one process; None: all the same."""
    if not inputs.settings.class_balance:
        return None
    weights = None
    if fabric.is_global_zero:
        folder = inputs.layout.prepared
        paths = [folder / item.label for item in inputs.learned if item.label is not None]
        labels = track(map_threads(read_label, paths, usable_cores()), "counting", len(paths))
        times = weigh_drives(inputs.learned, inputs.settings) or [1.0] * len(paths)
        counts = count_pixels(zip(labels, times, strict=True), len(inputs.dataset.classes))
        weights = class_weights(counts, inputs.settings.class_balance)
    return fabric.broadcast(weights)


def make_data(inputs: Inputs, fabric: Fabric) -> Data:
    """Return the two splits for this process."""
    layout, settings = inputs.layout, inputs.settings
    colors = Photometric(*(getattr(settings, field.name) for field in fields(Photometric)))
    noisy = TrainTransform(
        settings.crop,
        settings.scale,
        settings.min_short_side,
        settings.flip,
        settings.input_side,
        colors,
    )
    clean = replace(noisy, colors=replace(colors, noise=0.0))
    later = round(settings.noise_from * settings.epochs), noisy
    folders = (layout.raw, layout.prepared, len(inputs.dataset.classes))
    workers = loader_processes(inputs.machine, fabric, inputs.learned, settings.batch_size)
    # Each loader process keeps images of its own.
    cache_bytes = inputs.machine.cache_megabytes * 2**20 // max(1, workers)
    learned = SegmentationDataset(
        inputs.learned, *folders, clean, settings.seed, cache_bytes, settings.mix, later=later
    )
    if inputs.initial.teacher:
        learned.scores = ask_teacher(inputs, inputs.initial.teacher, learned, fabric)
    weights = weigh_drives(inputs.learned, settings)
    loader, sampler = train_loader(
        learned, settings.batch_size, workers, fabric.global_rank, fabric.world_size, weights
    )
    scored = SegmentationDataset(inputs.scored, *folders) if inputs.scored else None
    return Data(loader, sampler, scored)


def weigh_drives(items: Sequence[Item], settings: TrainSettings) -> list[float] | None:
    """Return how often each image comes in an epoch; None: each once."""
    weights, drives = settings.weights, {item.drive for item in items}
    if unknown := sorted(weights.keys() - drives - {settings.holdout}):
        raise SgcpError(
            f"train.weights: no images of {shorten(unknown)}. Choose of {shorten(sorted(drives))}; "
            "quote a name that YAML reads as a number, such as 0016E5"
        )
    return [weights.get(item.drive, 1.0) for item in items] if weights else None


def ask_teacher(
    inputs: Inputs, teacher: Teacher, learned: SegmentationDataset, fabric: Fabric
) -> Path:
    """Return the folder of the teacher's scores, which the processes of a machine share to write.

    It goes with the run's checkpoints, and scores of other images or another teacher go before.
    Machines need not share a disk, so each has its own.
    """
    order = teacher.class_order(inputs.dataset.classes)
    key = _digest(
        teacher.digest, fingerprint_order(inputs.learned), str(order), inputs.settings.precision,
        code_digest("datasets", "media", "models", "training"),
        source_digest(find_function(teacher.card.network, NETWORKS, "train")),
    )  # fmt: skip
    folder = inputs.layout.resume / f"teacher-{key[:16]}"
    if fabric.local_rank == 0:
        for other in set(inputs.layout.resume.glob("teacher-*")) - {folder}:
            shutil.rmtree(other)
    processes = fabric.world_size // count_processes(inputs.machine)[1]
    mine = range(fabric.local_rank, len(learned), processes)
    teacher.score_images(learned, order, folder, fabric, mine)
    fabric.barrier()
    return folder


def loader_processes(
    machine: MachineSettings, fabric: Fabric, learned: list[Item], batch_size: int
) -> int:
    """Return ``machine.loader_workers``, or what suits this machine and these images."""
    if machine.loader_workers != "auto":
        return machine.loader_workers
    if fabric.device.type != "cpu":
        spare = usable_cores() * machine.num_nodes // fabric.world_size - 1
        return max(1, min(spare, len(learned) // batch_size))  # one makes a whole batch
    decoded = sum(item.height * item.width * 4 for item in learned)
    return 0 if decoded <= machine.cache_megabytes * 2**20 else 1


def run_fingerprint(dataset: Dataset, settings: TrainSettings, initial: Initialization) -> str:
    """Digest what a run depends on: settings, code, images, labels, classes, initial weights."""
    teacher = initial.teacher.card.network if initial.teacher else None
    named = filter(None, (settings.network, settings.extra_loss, teacher))
    return _digest(
        settings.model_dump_json(),
        json.dumps(dataset.provenance()),
        fingerprint_order(dataset.items),
        code_digest("datasets", "inference", "media", "metrics", "models", "training"),
        *filter(None, initial.digests.values()),
        *(source_digest(find_function(name, NETWORKS | LOSSES, "train")) for name in named),
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
