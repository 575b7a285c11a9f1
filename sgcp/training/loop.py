"""The training loop, on Lightning Fabric: one device, several, or several machines alike."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric

from sgcp.datasets.loader import EpochSampler, Loader, batches
from sgcp.errors import SgcpError
from sgcp.evaluation.confusion import Scores, count_confusion, score_confusion
from sgcp.inference.predict import Predictor
from sgcp.training.checkpoints import Progress, load_checkpoint, save_checkpoint
from sgcp.training.optimization import make_optimizer, make_schedule, segmentation_loss

if TYPE_CHECKING:
    from sgcp.models.network import Normalize, SGCPNet
    from sgcp.settings import TrainSettings
    from sgcp.training.log import Reporter


@dataclass(frozen=True)
class Data:
    """The two loaders of a run."""

    train: Loader
    sampler: EpochSampler
    validate: Loader


@dataclass
class Run:
    """Everything that one training run moves forward."""

    fabric: Fabric
    network: Any  # SGCPNet, or Fabric's wrapper of it
    normalize: Normalize
    optimizer: Any
    schedule: Any
    settings: TrainSettings


def fit(
    fabric: Fabric,
    network: SGCPNet,
    normalize: Normalize,
    data: Data,
    settings: TrainSettings,
    checkpoint: Path,
    fingerprint: str,
    reporter: Reporter,
) -> Progress:
    """Train from the last finished epoch, if ``checkpoint`` holds one, to the last.

    Returns:
        The finished run; ``network`` holds the weights of the last epoch.
    """
    run = start(fabric, network, normalize, settings, len(data.train))
    parts = {
        "network": network,
        "optimizer": run.optimizer,
        "schedule": run.schedule,
        "precision": fabric.strategy.precision,  # the loss scale of 16-bit training
    }
    progress = load_checkpoint(checkpoint, parts, fingerprint)
    if progress.epoch:
        reporter.resume(progress)
    while progress.epoch < settings.epochs:
        started = time.perf_counter()
        data.sampler.epoch = progress.epoch
        row = train_one_epoch(run, data.train, reporter)
        progress.epoch += 1
        progress.seconds += time.perf_counter() - started
        last = progress.epoch == settings.epochs
        if last or progress.epoch % settings.validate_every == 0:
            scores = evaluate(fabric, network, normalize, data.validate)
            row |= {"miou": scores.miou, "pixel_accuracy": scores.pixel_accuracy}
            keep_best(progress, network, scores.miou)
        progress.history.append(row)
        save_checkpoint(fabric, checkpoint, parts, progress)
        reporter.epoch(progress)
    return progress


def start(
    fabric: Fabric, network: SGCPNet, normalize: Normalize, settings: TrainSettings, steps: int
) -> Run:
    """Place the network, its optimizer and schedule on the device; ``steps`` are an epoch's."""
    network = network.to(memory_format=torch.channels_last)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        # Statistics over the whole batch, as the authors train; it exists on GPUs alone.
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    optimizer = make_optimizer(network, settings)
    wrapped, optimizer = fabric.setup(network, optimizer)
    schedule = make_schedule(optimizer, steps * settings.epochs, settings)
    return Run(fabric, wrapped, normalize.to(fabric.device), optimizer, schedule, settings)


def train_one_epoch(run: Run, loader: Loader, reporter: Reporter) -> dict[str, float]:
    """Take one pass over the training split; return its mean loss, rate and speed."""
    run.network.train()
    started, images, losses = time.perf_counter(), 0, []
    for image, label in batches(loader):
        image, label = run.fabric.to_device((image, label))
        x = run.normalize(image).contiguous(memory_format=torch.channels_last)
        loss = segmentation_loss(run.network(x), label, run.settings.label_smoothing)
        run.optimizer.zero_grad()
        run.fabric.backward(loss)
        run.optimizer.step()
        rate = run.schedule.get_last_lr()[-1]
        run.schedule.step()
        losses.append(loss.detach())
        images += len(image) * run.fabric.world_size
        reporter.step(images, float(losses[-1]))
    mean: Any = run.fabric.all_reduce(torch.stack(losses).mean(), reduce_op="mean")
    refuse_useless(float(mean))
    speed = images / (time.perf_counter() - started)
    return {"loss": float(mean), "lr": rate, "images_per_second": speed}


def refuse_useless(loss: float) -> None:
    """Stop before a checkpoint is written of an epoch that taught nothing.

    Raises:
        SgcpError: the mean loss of an epoch is not finite, or zero.
    """
    if not math.isfinite(loss):
        raise SgcpError("the loss is not finite: the run diverged; lower train.lr, warm up longer")
    if loss == 0:
        raise SgcpError(
            "the loss is zero: no crop of the epoch holds a labelled pixel; see the "
            "labels in data/prepared and train.scale"
        )


def evaluate(fabric: Fabric, network: SGCPNet, normalize: Normalize, loader: Loader) -> Scores:
    """Score the network on single images at their own size, over all processes.

    Raises:
        SgcpError: no pixel of the split is scored.
    """
    share_buffers(fabric, network)
    network.eval()
    predictor = Predictor(network, normalize)
    size = (network.num_classes, network.num_classes)
    confusion = torch.zeros(size, dtype=torch.int64, device=fabric.device)
    for image, label in batches(loader):
        image, label = fabric.to_device((image, label))
        confusion += count_confusion(label, predictor(image), network.num_classes)
    total: Any = fabric.all_reduce(confusion, reduce_op="sum")
    scores = score_confusion(total.cpu().numpy())
    if math.isnan(scores.miou):
        raise SgcpError("train.validate_split: the split has no scored pixel; choose another")
    return scores


def share_buffers(fabric: Fabric, network: SGCPNet) -> None:
    """Give every process the batch-norm statistics of the first, so that they score one network."""
    if fabric.world_size > 1:
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, src=0)


def keep_best(progress: Progress, network: SGCPNet, miou: float) -> None:
    """Remember the weights if they are the best so far; the first of equals stays."""
    if miou > progress.best_miou:
        progress.best_miou, progress.best_epoch = miou, progress.epoch
        weights = network.state_dict()
        progress.best_weights = {key: value.cpu().clone() for key, value in weights.items()}
