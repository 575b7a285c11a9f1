"""Feed prepared datasets to training and evaluation."""

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from sgcp.core.errors import SgcpError
from sgcp.core.machine import usable_cores
from sgcp.core.parallel import worker_context
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.index import Item
from sgcp.datasets.transforms import (
    Sample,
    Transform,
    integer,
    is_labelled,
    lay_over,
    sample_generator,
    uniform,
)
from sgcp.media.images import read_image, read_label


@dataclass(eq=False, repr=False)
class SegmentationDataset(Dataset[Sample]):
    """Images (3, H, W) and labels (H, W) of one split, both uint8, and scores of a teacher.

    A training sample is asked for by (epoch, index), so that its augmentation is a function of
    (seed, epoch, index) in whichever process it is made.
    """

    items: Sequence[Item]
    raw: Path
    prepared: Path
    num_classes: int
    transform: Transform | None = None
    seed: int = 0
    cache_bytes: int = 0
    """Decoded pairs up to this size are kept in memory. The first ones stay: in a shuffled epoch,
    pushing out the oldest would find none of a split that does not fit."""
    mix: float = 0.0
    """Probability that half of the classes of another sample are laid over a sample."""
    scores: Path | None = None
    """A folder with a teacher's scores (K, h, w) of each whole image, ``INDEX.npy``: a part of the
    samples of training."""
    later: tuple[int, Transform] | None = None
    """An epoch, counted from 0, and what replaces ``transform`` from it on."""

    def __post_init__(self) -> None:
        self.cache: dict[int, tuple[Tensor, Tensor]] = {}
        self.pool: ThreadPoolExecutor | None = None
        self.lock: AbstractContextManager[object] = nullcontext()

    def use_threads(self) -> None:
        """Make a batch's samples on all cores at once, where no other process makes them.

        Between two steps the cores are idle. A process beside the step would take one of its cores
        away, and the step's other threads would wait for that one.
        """
        cores = usable_cores()
        torch.set_num_threads(torch.get_num_threads())  # fixed for this thread, before the others
        self.pool = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
        self.lock = Lock()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        transform = self.transform
        if transform is None:
            return self.cached(index)
        if self.later and epoch % AGAIN >= self.later[0]:
            transform = self.later[1]
        generator = sample_generator(self.seed, epoch, index)
        sample = transform(self.whole(index), generator)
        if self.mix and uniform(0, 1, generator) < self.mix:
            other = self.whole(integer(0, len(self) - 1, generator))
            sample = lay_over(sample, transform(other, generator), generator)
        return sample

    def whole(self, index: int) -> Sample:
        """Return a pair and, if there is a teacher, its scores of it."""
        if self.scores is None:
            return self.cached(index)
        return *self.cached(index), torch.from_numpy(np.load(self.scores / f"{index}.npy"))

    def has_labels(self, epoch: int) -> bool:
        """Return whether any image of the split gives a labelled pixel in this epoch."""
        return any(is_labelled(self[epoch, index][1]) for index in range(len(self)))

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> list[Sample]:
        """Return the samples of a batch; what a ``DataLoader`` asks for."""
        make = self.pool.map if self.pool else map
        return list(make(self.__getitem__, keys))

    def cached(self, index: int) -> tuple[Tensor, Tensor]:
        """Return a pair from memory, or read it and keep it if there is room."""
        if index in self.cache:
            return self.cache[index]
        pair = self.read(index)
        size = sum(part.nbytes for part in pair)
        with self.lock:
            if size <= self.cache_bytes:
                self.cache_bytes -= size
                self.cache[index] = pair
        return pair

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Read one pair; SgcpError: a file is damaged, sizes differ, or a train id has no class."""
        item = self.items[index]
        image = torch.from_numpy(read_image(self.raw / item.image)).permute(2, 0, 1)
        if item.label is None:
            raise SgcpError(f"{self.raw / item.image}: has no label")
        path = self.prepared / item.label
        label = torch.from_numpy(read_label(path))
        if label.shape != image.shape[1:]:
            raise SgcpError(
                f"{path}: size {tuple(label.shape)} differs from its image {tuple(image.shape[1:])}"
            )
        beyond = (label >= self.num_classes) & (label != IGNORE)
        if beyond.any():
            raise SgcpError(f"{path}: train id {int(label[beyond][0])} has no class; prepare again")
        return image, label


Loader = DataLoader[Sample]


def batches(loader: Loader) -> Iterator[Sample]:
    """Yield what a loader yields; a worker's error arrives without the traceback before it."""
    try:
        yield from loader
    except SgcpError as error:
        message = str(error).rpartition(f"{SgcpError.__module__}.SgcpError: ")[2]
        raise SgcpError(message.strip()) from None


@contextmanager
def explaining_killed_workers() -> Iterator[None]:
    """Turn what torch raises where a loader process was killed, at any place, into one message."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise SgcpError(
            "a loader process was killed, possibly out of memory; run the command again to "
            "resume, with a lower machine.loader_workers or machine.cache_megabytes if it happens "
            "again"
        ) from None


AGAIN = 2**24  # epochs from an image's first time in an epoch to its second


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffle a split anew each epoch: yields (epoch, index), a function of seed and epoch alone.

    The first ``steps * batch`` of ``length`` shuffled indices are used. Process ``rank`` of
    ``world`` takes every ``world``-th of the one order, so a step sees the same ``batch`` images
    for any number of processes. ``weights`` say how often each image comes in an epoch, fractions
    by chance; its second time is as of another epoch, so that it is augmented otherwise.
    """

    def __init__(
        self,
        length: int,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.batch, self.seed, self.rank, self.world = batch, seed, rank, world
        self.sums = np.cumsum(weights) if weights else None
        self.length = length if self.sums is None else round(float(self.sums[-1]))
        self.seek(epoch=0, step=0)

    def seek(self, epoch: int, step: int) -> None:
        """Let the next pass be that of ``epoch``, from its ``step`` on."""
        self.epoch, self.step = epoch, step

    @property
    def take(self) -> int:
        """Images of a whole pass: the same number of steps for every process."""
        return self.length // self.batch * self.batch

    def __len__(self) -> int:
        return len(range(self.rank, self.take, self.world))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        keys = [(self.epoch, index) for index in range(self.length)]
        if self.sums is not None:  # systematic sampling: no image comes two times too often
            start = float(torch.rand((), generator=generator))
            points = (np.arange(self.length) + start) * (self.sums[-1] / self.length)
            chosen = np.searchsorted(self.sums, points, side="right").tolist()
            before = np.arange(self.length) - np.searchsorted(chosen, chosen)
            keys = [
                (self.epoch + AGAIN * time, index)
                for time, index in zip(before.tolist(), chosen, strict=True)
            ]
        first = self.step * self.batch + self.rank
        return (keys[place] for place in order[first : self.take : self.world])


def train_loader(
    dataset: SegmentationDataset,
    batch_size: int,
    workers: int,
    rank: int = 0,
    world: int = 1,
    weights: Sequence[float] | None = None,
) -> tuple[Loader, EpochSampler]:
    """Return a shuffling loader and its sampler, which ``seek``s before each pass.

    The last, incomplete batch is dropped: batch norm would learn from too few images. An SgcpError
    tells that a step's batch, of all processes together, exceeds the split, is no multiple of the
    processes, or leaves one of them less than two images; or as ``worker_context``.
    """
    sampler = EpochSampler(len(dataset), batch_size, dataset.seed, rank, world, weights)
    problem = ""
    if batch_size > sampler.length:
        problem = f"exceeds the {sampler.length} images of an epoch"
    elif batch_size % world:
        problem = f"is no multiple of the {world} processes that share it"
    elif batch_size // world < 2:
        problem = (
            f"leaves one image for each of {world} processes; batch norm needs two: set "
            f"{2 * world} or more"
        )
    if problem:
        raise SgcpError(f"train.batch_size: {batch_size} {problem}")
    context = worker_context(__name__) if workers else None
    if workers == 0:
        dataset.use_threads()
    loader = DataLoader(
        dataset,
        batch_sampler=BatchSampler(sampler, batch_size // world, drop_last=True),  # type: ignore[arg-type]
        num_workers=workers,
        multiprocessing_context=context,
        worker_init_fn=_end_quietly,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
    return loader, sampler


def _end_quietly(_worker: int) -> None:
    # Where SIGTERM reaches the whole process group: torch raises an error in the training process,
    # at any place of its code, for each loader process that a signal ended.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
