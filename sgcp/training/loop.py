"""The training loop, on Lightning Fabric: one device, several, or several machines alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from sgcp.core.errors import SgcpError
from sgcp.datasets.loader import EpochSampler, Loader, SegmentationDataset, batches
from sgcp.datasets.transforms import is_labelled
from sgcp.training.checkpoints import Checkpoints, Progress
from sgcp.training.run import Run
from sgcp.training.validation import evaluate

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from sgcp.training.log import Reporter

# Reading a loss waits for the device; a GPU is let run ahead by this many steps.
LOSSES_READ_EVERY = {"cpu": 1, "cuda": 16}


@dataclass(frozen=True)
class Data:
    """The two splits of a run."""

    train: Loader
    sampler: EpochSampler
    validate: SegmentationDataset | None
    """None: nothing is left to be scored."""


def fit(
    run: Run,
    data: Data,
    checkpoints: Checkpoints,
    reporter: Reporter,
    after_epoch: Callable[[], None],
) -> Progress:
    """Train from where the checkpoints stand, or from the beginning, to the last epoch.

    Args:
        after_epoch: is called after each epoch; where it refuses to go on, no checkpoint is left.

    Returns:
        The finished run; ``run.learnt`` holds the weights of the last epoch.
    """
    settings = run.settings
    progress = checkpoints.restore()
    if progress.epoch or progress.step:
        reporter.resume(progress, len(data.train))
    while progress.epoch < settings.epochs:
        row = train_one_epoch(run, data, progress, checkpoints, reporter)
        last = progress.epoch + 1 == settings.epochs
        due = last or (progress.epoch + 1) % settings.validate_every == 0
        if data.validate is not None and due:
            checkpoints.save(progress)  # validation may take long
            reporter.validating(progress)
            row |= evaluate(
                run.fabric, run.learnt, run.normalize, data.validate, settings.input_side
            )
            keep_best(progress, run.learnt, row["miou"])
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


def train_one_epoch(
    run: Run, data: Data, progress: Progress, checkpoints: Checkpoints, reporter: Reporter
) -> dict[str, float]:
    """Take the rest of one pass over the training split; return its mean loss, rate and speed."""
    run.wrapped.train()
    data.sampler.seek(progress.epoch, progress.step)
    read_every = LOSSES_READ_EVERY[run.fabric.device.type]
    unread: list[torch.Tensor] = []
    labelled: list[bool] = []
    clock = Clock(progress)
    for image, label in clock.waiting_for(batches(data.train)):
        progress.lr = run.schedule.get_last_lr()[-1]
        unread.append(train_one_step(run, image, label))
        labelled.append(is_labelled(label))
        progress.step += 1
        if len(unread) < read_every and progress.step < len(data.train):
            continue
        losses = zip(torch.stack(unread).tolist(), labelled, strict=True)
        progress.losses += [loss if known else None for loss, known in losses]
        clock.tick(len(unread) * len(image) * run.fabric.world_size)
        unread.clear()
        labelled.clear()
        images = progress.step * len(image) * run.fabric.world_size
        reporter.step(images, progress.losses[-1], clock.read()["images_per_second"])
        checkpoints.save_if_due(progress)
    try:
        row = mean_loss(run.fabric, data, progress)
    except SgcpError:
        checkpoints.clear()  # going on from here would end here
        raise
    return row | {"lr": progress.lr, **clock.read()}


def train_one_step(run: Run, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Learn from one batch, image (B, 3, H, W) and label (B, H, W), both uint8; return its loss."""
    image, label = run.fabric.to_device((image, label))
    x = run.normalize(image).contiguous(memory_format=torch.channels_last)
    loss = run.objective(run.wrapped(x), label)
    run.optimizer.zero_grad()
    run.fabric.backward(loss)
    run.optimizer.step()
    run.schedule.step()
    if run.average is not None:
        run.average.update_parameters(run.network)
    return loss.detach()


class Clock:
    """Where the time of an epoch goes; what it adds to ``progress`` spans all sessions of a run."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.last = time.perf_counter()
        self.seconds, self.waited, self.images = 0.0, 0.0, 0

    def waiting_for(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield each batch, counting how long it was waited for."""
        iterator = iter(batches)
        while True:
            before = time.perf_counter()
            batch = next(iterator, None)
            seconds = time.perf_counter() - before
            self.waited += seconds
            self.progress.waited += seconds
            if batch is None:
                return
            yield batch

    def tick(self, images: int) -> None:
        """Count ``images`` as done by now."""
        now = time.perf_counter()
        seconds, self.last = now - self.last, now
        self.seconds += seconds
        self.images += images
        self.progress.seconds += seconds
        self.progress.images += images

    def read(self) -> dict[str, float]:
        """Return the epoch's speed and the share of its time spent waiting for data."""
        seconds = self.seconds or math.inf
        return {"images_per_second": self.images / seconds, "waiting": self.waited / seconds}


def mean_loss(fabric: Fabric, data: Data, progress: Progress) -> dict[str, float]:
    """Return the epoch's ``loss``: the mean of the steps that had a labelled pixel; {} if none had.

    All processes return the same.

    Raises:
        SgcpError: it is not finite, or no image of the split can give a labelled pixel.
    """
    losses = [loss for loss in progress.losses if loss is not None]
    sums = torch.tensor([sum(losses), len(losses)], dtype=torch.float64, device=fabric.device)
    total, steps = fabric.all_reduce(sums, reduce_op="sum").tolist()  # type: ignore[union-attr]
    if steps:
        if not math.isfinite(total):
            raise SgcpError(
                "the loss is not finite: the run diverged; lower train.lr, warm up longer"
            )
        return {"loss": total / steps}
    if not data.train.dataset.can_teach(progress.epoch):  # type: ignore[attr-defined]
        raise SgcpError(
            "no crop has a labelled pixel: the label maps of the training split are ignored "
            "everywhere, or train.scale shrinks their labels away. Check the labels in "
            "data/prepared and train.scale"
        )
    return {}  # the labelled images are those that this epoch leaves out


def keep_best(progress: Progress, network: torch.nn.Module, miou: float) -> None:
    """Remember the weights if they are the best so far; the first of equals stays."""
    if miou > progress.best_miou:
        progress.best_miou, progress.best_epoch = miou, progress.epoch + 1
        weights = network.state_dict()
        progress.best_weights = {key: value.cpu().clone() for key, value in weights.items()}
