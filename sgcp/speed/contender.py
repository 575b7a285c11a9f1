"""What is compared: each contender takes the same pictures through the same three tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgcp.datasets.images import read_image, write_png
from sgcp.inference.engines.base import Engine
from sgcp.inference.segmenter import Segmenter
from sgcp.progress import map_threads

UInt8 = NDArray[np.uint8]

TASKS = {
    "network": "picture in memory to the network's own scores",
    "labels": "picture in memory to a label for every pixel",
    "files": "folder of PNG to folder of PNG label maps, reading and writing included",
}


class Contender(ABC):
    """A way from pictures to labels."""

    tasks: tuple[str, ...] = tuple(TASKS)

    @abstractmethod
    def network(self, image: UInt8) -> Callable[[], Any]:
        """Return a call that scores (H, W, 3) uint8, which may be put in its form beforehand."""

    @abstractmethod
    def label(self, image: UInt8) -> UInt8:
        """Label (H, W, 3) uint8: (H, W) uint8."""

    def label_files(self, sources: Sequence[Path], target: Path) -> None:
        """Label every picture of ``sources`` into the folder ``target``."""
        for source in sources:
            write_png(target / source.name, self.label(read_image(source)))


class Ours(Contender):
    """This project's way.

    Args:
        one: serves one caller with all cores, for the time of a picture.
        many: serves a caller a core, for the pictures of a folder.
    """

    def __init__(self, one: Segmenter, many: Callable[[], Segmenter]) -> None:
        self.one = one
        self.make_many = many
        self.many: Segmenter | None = None

    def network(self, image: UInt8) -> Callable[[], Any]:
        """Return a call of the engine on the picture's bytes: normalisation is in its graph."""
        return lambda: self.one.engine.run(image)

    def label(self, image: UInt8) -> UInt8:
        """Label (H, W, 3) uint8."""
        return self.one.segment(image, (image.shape[0], image.shape[1]))

    def label_files(self, sources: Sequence[Path], target: Path) -> None:
        """Decode, label and encode at the same time, a picture a core."""
        many = self.many = self.many or self.make_many()

        def work(source: Path) -> None:
            image = read_image(source)
            write_png(target / source.name, many.segment(image, (image.shape[0], image.shape[1])))

        for _ in map_threads(work, sources, many.workers):
            pass


class Peer(Contender):
    """Another network, untrained, on one of our engines; its random scores are not labelled."""

    tasks = ("network",)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def network(self, image: UInt8) -> Callable[[], Any]:
        """Return a call of the engine on the picture's bytes."""
        return lambda: self.engine.run(image)

    def label(self, image: UInt8) -> UInt8:
        """Label (H, W, 3) uint8."""
        return self.engine.label(image, (image.shape[0], image.shape[1]))
