"""Does an exported graph give what the network gives in eager PyTorch?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sgcp.inference.engines.choice import RUN_BY, open_engine
from sgcp.inference.graph import label_whole_cells
from sgcp.media.images import UInt8
from sgcp.models.card import ModelCard
from sgcp.models.network import Normalize

Run = Callable[[UInt8], NDArray[np.generic]]

ODD_SIZES = ((201, 331), (150, 257))  # halved, every level is rounded up somewhere
TOLERANCE = 1e-4  # of the largest score


@dataclass(frozen=True)
class Parity:
    """How far a graph is from eager PyTorch."""

    runner: str
    difference: float
    """The largest, of scores, over the largest score; of labels, by how much the label chosen
    scores less than the best."""
    equal: float | None
    """Share of equal labels, where the graph gives labels."""

    @property
    def holds(self) -> bool:
        """Tell whether rounding explains the difference; NaN is never explained."""
        return self.difference <= TOLERANCE


def check_parity(
    file: Path, network: nn.Module, card: ModelCard, size: tuple[int, int] | None, labels: bool
) -> list[Parity]:
    """Compare a file, perhaps for one size alone, with the network in each installed program.

    ``labels``: whether it gives labels rather than scores.
    """
    images = [_image(*one) for one in ([size] if size else ODD_SIZES)]
    normalize = Normalize(card.mean, card.std)
    with torch.inference_mode():
        # Not the graph that was exported: a wrongly folded norm would be on both sides.
        inputs = [normalize(torch.from_numpy(i).permute(2, 0, 1)[None]) for i in images]
        wanted = [label_whole_cells(network, x) if labels else network(x) for x in inputs]
    found = []
    for runner, run in _runners(file):
        pairs = [_compare(run(i), one[0], labels) for i, one in zip(images, wanted, strict=True)]
        equal = [share for _, share in pairs if share is not None]
        largest = float(np.max([difference for difference, _ in pairs]))  # NaN, if there is one
        found.append(Parity(runner, largest, min(equal, default=None)))
    return found


def _runners(file: Path) -> Iterator[tuple[str, Run]]:
    if file.suffix == ".pt2":
        program = torch.export.load(file).module()
        yield "torch", lambda image: program(torch.from_numpy(image)[None])[0].detach().numpy()
        return
    for name in RUN_BY[file.suffix]:
        if find_spec(name):
            engine = open_engine(file, "cpu", name, "fp32", callers=1)
            engine.stride = None
            yield name, engine.output


def _compare(
    output: NDArray[np.generic], wanted: Tensor, labels: bool
) -> tuple[float, float | None]:
    """Compare an output with eager scores (K, h, w); return difference and equal labels."""
    largest = float(wanted.abs().max()) or 1.0
    if not labels:
        if output.shape != tuple(wanted.shape):
            return float("inf"), None
        return float(np.abs(output - wanted.numpy()).max()) / largest, None
    chosen = torch.from_numpy(output.astype(np.int64))
    if chosen.shape != wanted.shape[1:] or int(chosen.max()) >= len(wanted):
        return float("inf"), 0.0
    best = wanted.max(0)
    lost = best.values - wanted.gather(0, chosen[None])[0]
    return float(lost.max()) / largest, float((chosen == best.indices).float().mean())


def _image(height: int, width: int) -> UInt8:
    """Return an image of blots and noise, (H, W, 3), the same each time."""
    random = np.random.default_rng(0)
    blots = random.integers(0, 200, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    smooth = blots.repeat(16, 0).repeat(16, 1)[:height, :width]
    return smooth + random.integers(0, 56, smooth.shape, dtype=np.uint8)
