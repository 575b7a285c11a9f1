"""The training loop, on Lightning Fabric: one device, several, or several machines alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.nn import functional as F

from sgcp.core.errors import SgcpError
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import say
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.loader import EpochSampler, Loader, SegmentationDataset, batches
from sgcp.datasets.transforms import is_labelled
from sgcp.inference.predict import Predictor, choose_labels
from sgcp.metrics.confusion import count_pairs
from sgcp.metrics.iou import mean_iou, share
from sgcp.models.card import input_size
from sgcp.training.checkpoints import Checkpoints, Progress
from sgcp.training.kernels.banded_cross_entropy import segmentation_loss
from sgcp.training.log import Reporter
from sgcp.training.run import Run

# Reading a loss waits for the device; a GPU may run ahead by this many steps.
LOSSES_READ_EVERY = {"cpu": 1, "cuda": 16}
READERS = 4  # threads that decode validation images while the network predicts


@dataclass(frozen=True)
class Data:
    """The two splits of a run."""

    train: Loader
    sampler: EpochSampler
    validate: SegmentationDataset | None
    """None: no split is scored."""


def fit(
    run: Run,
    data: Data,
    checkpoints: Checkpoints,
    reporter: Reporter,
    after_epoch: Callable[[], object],
) -> Progress:
    """Train from where the checkpoints stand, or from the beginning; return the finished run.

    ``run.learnt`` then holds the weights of the last epoch. ``after_epoch`` is called after each
    epoch; if it raises an SgcpError, no checkpoint stays.
    """
    progress = checkpoints.restore()
    note_time(run, progress)
    note_threads(progress, run.fabric)
    if progress.epoch or progress.step:
        reporter.resume(progress, len(data.train))
    while not is_over(run, progress):
        row = train_one_epoch(run, data, progress, checkpoints, reporter)
        epoch = progress.epoch + 1
        last = epoch == run.settings.epochs or run.spent >= 1
        due = last or epoch % run.settings.validate_every == 0
        if data.validate is not None and due:
            checkpoints.save(progress)  # validation may take long
            reporter.validating(progress)
            row |= validate(run, data.validate, progress)
        progress.history.append(row)
        progress.epoch, progress.step, progress.losses = progress.epoch + 1, 0, []
        checkpoints.save_if_due(progress)
        reporter.epoch(progress)
        try:
            after_epoch()
        except SgcpError:
            checkpoints.clear()
            raise
    return progress


def note_time(run: Run, progress: Progress) -> None:
    """Tell the schedule how much of the time budget is spent, the same in all processes.

    It is counted in the checkpoints, so a resumed run goes on with the same schedule.
    """
    if minutes := run.settings.max_minutes:
        spent = (progress.seconds + progress.validated) / (60 * minutes)
        run.spent = run.fabric.broadcast(spent)


def is_over(run: Run, progress: Progress) -> bool:
    """Return whether the last epoch is done: of all, of the time, or of the patience."""
    settings = run.settings
    worse = sum("miou" in row for row in progress.history[progress.best_epoch :])
    impatient = settings.patience is not None and worse >= settings.patience
    late = run.spent >= 1 and progress.step == 0 < progress.epoch
    return progress.epoch == settings.epochs or impatient or late


def validate(run: Run, dataset: SegmentationDataset, progress: Progress) -> dict[str, float]:
    """Score the epoch in progress, and keep its weights if they are the best so far."""
    before = time.perf_counter()
    row = evaluate(run, dataset)
    progress.validated += time.perf_counter() - before
    note_time(run, progress)
    if row["miou"] > progress.best_miou:  # the first of equals stays
        progress.best_miou, progress.best_epoch = row["miou"], progress.epoch + 1
        weights = run.learnt.state_dict()
        progress.best_weights = {key: value.cpu().clone() for key, value in weights.items()}
    return row


def note_threads(progress: Progress, fabric: Fabric) -> None:
    """Add the number of threads to those that the run was trained with, if it is another one."""
    threads = torch.get_num_threads()
    if fabric.device.type != "cpu" or progress.threads[-1:] == [threads]:
        return
    progress.threads.append(threads)
    if len(progress.threads) > 1:
        say(
            f"threads: {', then '.join(map(str, progress.threads))}: the weights will differ by "
            "rounding from those of an uninterrupted run. model.json names the numbers"
        )


def train_one_epoch(
    run: Run, data: Data, progress: Progress, checkpoints: Checkpoints, reporter: Reporter
) -> dict[str, float]:
    """Take the rest of one pass over the training split; return its mean loss, rate and speed.

    A pass ends early where the time budget does.
    """
    run.wrapped.train()
    data.sampler.seek(progress.epoch, progress.step)
    read_every = LOSSES_READ_EVERY[run.fabric.device.type]
    unread: list[torch.Tensor] = []
    labelled: list[bool] = []
    clock = Clock(progress)
    for image, label, *scores in clock.waiting_for(batches(data.train)):
        if run.spent >= 1 and progress.step:
            break
        progress.lr = float(run.schedule.get_last_lr()[-1])
        unread.append(train_one_step(run, image, label, *scores))
        labelled.append(is_labelled(label))
        progress.step += 1
        if len(unread) < read_every and progress.step < len(data.train):
            continue
        progress.losses += read_losses(run.fabric, unread, labelled)
        images = len(image) * run.fabric.world_size
        clock.tick(len(unread) * images)
        unread.clear()
        labelled.clear()
        note_time(run, progress)
        speed = clock.read()["images_per_second"]
        reporter.step(progress.step * images, progress.losses[-1], speed, run.spent)
        checkpoints.save_if_due(progress)
    try:
        row = mean_loss(data, progress)
    except SgcpError:
        checkpoints.clear()  # a resumed run would fail again
        raise
    return row | {"lr": progress.lr, **clock.read()}


def train_one_step(
    run: Run, image: torch.Tensor, label: torch.Tensor, scores: torch.Tensor | None = None
) -> torch.Tensor:
    """Learn from one batch and return its loss.

    Image (B, 3, H, W) and label (B, H, W) are uint8; scores (B, K, h, w) are those of a teacher.
    """
    image, label, scores = run.fabric.to_device((image, label, scores))
    x = run.normalize(image).contiguous(memory_format=torch.channels_last)
    loss = run.objective(run.wrapped(x), label, scores)
    run.optimizer.zero_grad()
    run.fabric.backward(loss)
    run.optimizer.step()
    run.schedule.step()
    if run.average is not None:
        run.average.update_parameters(run.network)
    return loss.detach()


class Clock:
    """Time the rest of an epoch, adding to ``progress``, which spans all sessions of a run."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.before = progress.images, progress.seconds, progress.waited
        self.last = time.perf_counter()

    def waiting_for(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield each batch, counting how long it was waited for."""
        iterator = iter(batches)
        while True:
            before = time.perf_counter()
            batch = next(iterator, None)
            self.progress.waited += time.perf_counter() - before
            if batch is None:
                return
            yield batch

    def tick(self, images: int) -> None:
        """Count ``images`` as done by now."""
        now = time.perf_counter()
        self.progress.seconds += now - self.last
        self.progress.images += images
        self.last = now

    def read(self) -> dict[str, float]:
        """Return the epoch's speed and the share of its time spent waiting for data."""
        progress = self.progress
        images, seconds, waited = self.before
        passed = progress.seconds - seconds or math.inf
        return {
            "images_per_second": (progress.images - images) / passed,
            "waiting": (progress.waited - waited) / passed,
        }


def read_losses(
    fabric: Fabric, losses: list[torch.Tensor], labelled: list[bool]
) -> list[float | None]:
    """Return the loss of each step, the same in all processes, as checkpoints keep it for them.

    It is the mean of those processes whose images had a labelled pixel; None: none had.
    """
    known = torch.tensor(labelled, dtype=torch.float64, device=fabric.device)
    values = torch.stack(losses).double().where(known > 0, 0.0)
    sums: Any = fabric.all_reduce(torch.stack([values, known]), reduce_op="sum")
    return [total / count if count else None for total, count in zip(*sums.tolist(), strict=True)]


def mean_loss(data: Data, progress: Progress) -> dict[str, float]:
    """Return the epoch's ``loss``.

    It is the mean of the steps that had a labelled pixel, and missing if none had. Raise SgcpError
    if it is not finite, or no image of the split can give a labelled pixel.
    """
    losses = [loss for loss in progress.losses if loss is not None]
    if not math.isfinite(sum(losses)):
        raise SgcpError("the loss is not finite: the run diverged; lower train.lr, warm up longer")
    if losses:
        return {"loss": sum(losses) / len(losses)}
    if not data.train.dataset.has_labels(progress.epoch):  # type: ignore[attr-defined]
        raise SgcpError(
            "no crop has a labelled pixel: the label maps of the training split are ignored "
            "everywhere, or train.scale shrinks their labels away. Check the labels in "
            "data/prepared and train.scale"
        )
    return {}  # this epoch leaves out the labelled images


def network_inputs(
    fabric: Fabric, dataset: SegmentationDataset, indices: Iterable[int], side: int | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (1, 3, h, w) uint8 on the device, of this short ``side`` in pixels, and labels (H, W).

    Side None: the image's own.
    """
    for image, label in map_threads(dataset.__getitem__, indices, READERS):
        image, size = image[None], (label.shape[0], label.shape[1])
        network_size = input_size(*size, side)
        if network_size != size:
            image = F.interpolate(image, network_size, mode="bilinear", antialias=True)
        yield fabric.to_device(image), label


def evaluate(run: Run, dataset: SegmentationDataset) -> dict[str, float]:
    """Score ``run.learnt`` on single images, over all processes, at the labels' own size.

    The loss is the mean cross-entropy of the labelled pixels, without the weights, smoothing and
    further losses of training. Raise SgcpError if no pixel of the split is scored.
    """
    fabric, network = run.fabric, run.learnt.eval()
    if fabric.world_size > 1:  # every process scores with the statistics of the first
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, src=0)
    predictor = Predictor(network, run.normalize)
    classes = dataset.num_classes
    confusion = np.zeros((classes, classes), np.int64)
    losses = np.zeros(2)
    mine = range(fabric.global_rank, len(dataset), fabric.world_size)
    for image, label in network_inputs(fabric, dataset, mine, run.settings.input_side):
        logits = predictor.score(image)
        prediction = choose_labels(logits, (label.shape[0], label.shape[1]))[0].cpu().numpy()
        confusion += count_pairs(label.numpy(), prediction, 256)[:classes, :classes]
        pixels = int((label != IGNORE).sum())
        loss = float(segmentation_loss(logits, label[None].to(logits.device), 0.0))
        losses += [pixels * loss, pixels]
    on_device = torch.from_numpy(confusion).to(fabric.device)
    total: Any = fabric.all_reduce(on_device, reduce_op="sum")
    sums: Any = fabric.all_reduce(torch.from_numpy(losses).to(fabric.device), reduce_op="sum")
    counts = total.cpu().numpy()
    miou = mean_iou(counts)
    if math.isnan(miou):
        raise SgcpError("train.validate_split: the split has no scored pixel; choose another")
    return {
        "miou": miou,
        "pixel_accuracy": float(share(counts.trace(), counts.sum())),
        "validation_loss": float(sums[0] / sums[1]),
    }
