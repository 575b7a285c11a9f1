"""``auto``: of the ways to run a model, the one that is fastest on this machine, by measurement."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgcp.core.errors import SgcpError
from sgcp.core.files import json_digest
from sgcp.inference.engines.base import Engine
from sgcp.inference.engines.cache import read_cached, write_cached
from sgcp.media.images import UInt8

MOST_CHANGED = 0.02  # share of the labels that a faster way may change
MOST_LOST = 0.003  # mIoU that it may lose, where that was measured: for int8
WORTHWHILE = 0.9  # of the time of fp32: a way that takes more is not worth other labels
PIECE = 2**19  # pixels of the image that is measured with
RUNS = 3


@dataclass(frozen=True)
class Way:
    """How a model is run."""

    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


@dataclass(frozen=True)
class Trial:
    """What running an image in one way took."""

    way: Way
    milliseconds: float
    """The least of ``RUNS``."""
    changed: float
    """Share of the labels that are other ones than in plain fp32."""


Opener = Callable[[Way, int], Engine]


class MeasuredEngine(Engine):
    """Run every image in the way that is fastest for its size, decided at the first of that size.

    Sizes are grouped by powers of two of their pixels. A decision changes at most ``MOST_CHANGED``
    of the labels in the middle of that first image; it is kept in the user's cache with its times.
    ``name`` and ``precision`` list those taken so far, in the same order.

    Args:
        ways: plain fp32 first.
        opener: opens the model in a way, for a number of callers.
        key: model, threads, processor: what decisions in the cache depend on.
    """

    name = precision = "auto"

    def __init__(
        self, ways: Sequence[Way], opener: Opener, callers: int, key: Sequence[Any]
    ) -> None:
        self.ways, self.opener, self.key = ways, opener, key
        fp32 = opener(ways[0], callers)
        self.title, self.callers = fp32.title, fp32.callers
        self.labels, self.fixed = fp32.labels, fp32.fixed
        self.opened = {ways[0]: fp32}
        self.chosen: dict[int, Engine] = {}
        self.lock = threading.Lock()

    def run(self, image: UInt8) -> NDArray[np.generic]:
        """Return what the graph makes of (H, W, 3) uint8."""
        size_class = _size_class(image)
        with self.lock:
            if size_class not in self.chosen:
                best = fastest(self.trials(image))
                if best.way not in self.opened:
                    self.opened[best.way] = self.opener(best.way, self.callers)
                self.chosen[size_class] = self.opened[best.way]
                self.name, self.precision = map(", ".join, zip(*self._taken(), strict=True))
        return self.chosen[size_class].run(image)

    def _taken(self) -> list[tuple[str, str]]:
        """Return engine and precision of the images so far: several where their sizes differ."""
        return sorted({(one.name, one.precision) for one in self.chosen.values()})

    @property
    def way(self) -> str:
        """The pairs of engine and precision of the images so far."""
        return ", ".join(map(" ".join, self._taken())) or super().way

    def trials(self, image: UInt8) -> list[Trial]:
        """Return the times of each way for an image's size, from the cache or measured now."""
        if kept := self.kept(image):
            return kept
        trials = self.measure(image)
        write_cached("choices", self._key(image), json.dumps([*map(astuple, trials)]).encode())
        return trials

    def kept(self, image: UInt8) -> list[Trial]:
        """Return the times in the cache for an image's size; nothing if there are none."""
        kept = read_cached("choices", self._key(image))
        return [Trial(Way(*way), *rest) for way, *rest in json.loads(kept or b"[]")]

    def _key(self, image: UInt8) -> str:
        return json_digest([*self.key, _size_class(image)])

    def measure(self, image: UInt8) -> list[Trial]:
        """Return the times of each way for the middle of an image, taken now, by turns."""
        image = image if self.fixed else cut(image)
        size = image.shape[0], image.shape[1]

        def start(way: Way) -> tuple[Engine, UInt8] | None:
            try:
                engine = self.opener(way, 1)
                engine.stride = None  # any network's; the first way's outputs are checked
                return engine, engine.label(image, size)
            except (SgcpError, ImportError):
                if way == self.ways[0]:
                    raise
                return None  # such as a broken installation of an engine that is not needed

        with ThreadPoolExecutor() as pool:  # most of starting is compiling, on one core
            started = zip(self.ways, pool.map(start, self.ways), strict=True)
            able = [(way, *found) for way, found in started if found]
        seconds = [math.inf] * len(able)
        for _ in range(RUNS):  # by turns, so that a noisy moment hits all alike
            for place, (_, engine, _) in enumerate(able):
                engine.run(image)  # threads of the engine before it may still spin
                begun = perf_counter()
                engine.run(image)
                seconds[place] = min(seconds[place], perf_counter() - begun)
        plain = able[0][2]
        return [
            Trial(way, round(1e3 * took, 3), float((labels != plain).mean()))
            for (way, _, labels), took in zip(able, seconds, strict=True)
        ]


def _size_class(image: UInt8) -> int:
    return round(math.log2(image.shape[0] * image.shape[1]))


def fastest(trials: Sequence[Trial]) -> Trial:
    """Return the fastest trial that changes few labels, or the first where that gains little."""
    able = [trial for trial in trials if trial.changed <= MOST_CHANGED]
    best = min(able, key=lambda trial: trial.milliseconds)
    return best if best.milliseconds < WORTHWHILE * trials[0].milliseconds else trials[0]


def explain(trials: Sequence[Trial]) -> str:
    """Return which way is taken, and the times that say why, in a line."""
    best = fastest(trials)
    times = (
        f"{trial.way} {trial.milliseconds:.1f} ms"
        + (f" ({trial.changed:.2%} other labels)" if trial.changed else "")
        for trial in trials
    )
    return f"auto takes {best.way}: {', '.join(times)}"


def cut(image: UInt8) -> UInt8:
    """Return the middle of an image, of about ``PIECE`` pixels at most, in its proportions."""
    height, width = image.shape[:2]
    share = min(1.0, math.sqrt(PIECE / (height * width)))
    h, w = max(1, round(height * share)), max(1, round(width * share))
    top, left = (height - h) // 2, (width - w) // 2
    return image[top : top + h, left : left + w]
