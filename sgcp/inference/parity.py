"""Does an exported graph give what the network gives in eager PyTorch?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sgcp.inference.engines import open_engine
from sgcp.inference.predict import resize_logits
from sgcp.media.images import UInt8
from sgcp.models.network import Normalize

if TYPE_CHECKING:
    from sgcp.models.card import ModelCard

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
    file: Path, network: nn.Module, card: ModelCard, size: tuple[int, int] | None
) -> list[Parity]:
    """Compare an exported file with the network, on images of odd size or of its fixed size.

    Returns:
        One entry for each installed program that runs the file.
    """
    images = [_image(*one) for one in ([size] if size else ODD_SIZES)]
    normalize = Normalize(card.mean, card.std)
    with torch.inference_mode():
        # Not the graph that was exported: a wrongly folded norm would be on both sides.
        wanted = [network(normalize(torch.from_numpy(i).permute(2, 0, 1)[None])) for i in images]
    return [
        _worst([_compare(name, run(i), w, i.shape) for i, w in zip(images, wanted, strict=True)])
        for name, run in _runners(file)
    ]


def _runners(file: Path) -> Iterator[tuple[str, Run]]:
    if file.suffix == ".pt2":
        program = torch.export.load(file).module()
        yield "torch", lambda image: program(torch.from_numpy(image)[None])[0].detach().numpy()
        return
    for name in ("openvino", "onnxruntime") if file.suffix == ".onnx" else ("openvino",):
        if find_spec(name):
            yield name, open_engine(file, "cpu", name, "fp32", callers=1).run


def _compare(
    runner: str, output: NDArray[np.generic], wanted: Tensor, shape: tuple[int, ...]
) -> Parity:
    """Compare scores (K, h, w) or labels (H, W) with eager scores (1, K, h, w)."""
    largest = float(wanted.abs().max()) or 1.0
    if output.dtype != np.uint8:
        if output.shape != tuple(wanted.shape[1:]):
            return Parity(runner, float("inf"), None)
        return Parity(runner, float(np.abs(output - wanted[0].numpy()).max()) / largest, None)
    scores = resize_logits(wanted, (shape[0], shape[1]))[0]  # (K, H, W)
    labels = torch.from_numpy(output.astype(np.int64))
    if labels.shape != scores.shape[1:] or int(labels.max()) >= len(scores):
        return Parity(runner, float("inf"), 0.0)
    best = scores.max(0)
    lost = best.values - scores.gather(0, labels[None])[0]
    return Parity(
        runner, float(lost.max()) / largest, float((labels == best.indices).float().mean())
    )


def _worst(found: list[Parity]) -> Parity:
    equal = [one.equal for one in found if one.equal is not None]
    differences = [one.difference for one in found]
    return Parity(found[0].runner, float(np.max(differences)), min(equal) if equal else None)


def _image(height: int, width: int) -> UInt8:
    """Return an image of blots and noise, (H, W, 3), the same each time."""
    random = np.random.default_rng(0)
    blots = random.integers(0, 200, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    smooth = blots.repeat(16, 0).repeat(16, 1)[:height, :width]
    return smooth + random.integers(0, 56, smooth.shape, dtype=np.uint8)
