"""What is compared: each candidate takes the same images through the same three tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sgcp.core.parallel import map_threads
from sgcp.inference.engines.base import Engine
from sgcp.inference.segmenter import Segmenter
from sgcp.media.images import UInt8, read_image, write_png

TASKS = {
    "network": "image in memory to the network's own scores",
    "labels": "image in memory to a label for every pixel",
    "files": "folder of PNG to folder of PNG label maps, reading and writing included",
}


class Candidate(ABC):
    """A way from images to labels."""

    tasks: tuple[str, ...] = tuple(TASKS)

    @abstractmethod
    def network(self, image: UInt8) -> Callable[[], Any]:
        """Return a call that scores (H, W, 3) uint8, which may be put in its form beforehand."""

    @abstractmethod
    def label(self, image: UInt8) -> UInt8:
        """Label (H, W, 3) uint8: (H, W) uint8."""

    def label_files(self, sources: Sequence[Path], target: Path) -> None:
        """Label every image of ``sources`` into the folder ``target``."""
        for source in sources:
            write_png(target / source.name, self.label(read_image(source)))


class Ours(Candidate):
    """This project's way.

    Args:
        one: serves one caller with all cores, for the time of an image.
        many: serves a caller a core, for the images of a folder.
    """

    def __init__(self, one: Segmenter, many: Callable[[], Segmenter]) -> None:
        self.one = one
        self.make_many = many
        self.many: Segmenter | None = None

    def network(self, image: UInt8) -> Callable[[], Any]:
        """Return a call of the engine on the image's bytes: normalisation is in its graph."""
        return lambda: self.one.engine.run(image)

    def label(self, image: UInt8) -> UInt8:
        """Label (H, W, 3) uint8."""
        return self.one.segment(image, (image.shape[0], image.shape[1]))

    def label_files(self, sources: Sequence[Path], target: Path) -> None:
        """Decode, label and encode at the same time, an image a core."""
        many = self.many = self.many or self.make_many()

        def work(source: Path) -> None:
            image = read_image(source)
            write_png(target / source.name, many.segment(image, (image.shape[0], image.shape[1])))

        for _ in map_threads(work, sources, many.workers):
            pass


class Peer(Candidate):
    """Another network, untrained, on one of our engines; its random scores are not labelled."""

    tasks = ("network",)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def network(self, image: UInt8) -> Callable[[], Any]:
        """Return a call of the engine on the image's bytes."""
        return lambda: self.engine.run(image)

    def label(self, image: UInt8) -> UInt8:
        """Label (H, W, 3) uint8."""
        return self.engine.label(image, (image.shape[0], image.shape[1]))
