"""What every engine offers."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgcp.core.errors import SgcpError
from sgcp.core.machine import usable_cores
from sgcp.inference.labels import Float32, label_pixels
from sgcp.media.images import UInt8
from sgcp.models.card import STRIDE

# Pixels of all the image sizes that have a graph of their own, together: some 60 bytes each for
# every caller. A graph's weights take as much as 2**18 pixels.
GRAPH_PIXELS, WEIGHT_PIXELS = 3 * 2**20, 2**18


class Engine(ABC):
    """Run the network on single images; threads may call one engine at the same time."""

    name: str
    """torch, openvino or onnxruntime."""
    precision: str
    """The arithmetic it runs in."""
    title: str = "the model"
    """What messages call it: the path of an exported graph."""
    callers: int = 1
    """How many threads it serves best at the same time."""
    labels: bool = False
    """Whether the graph ends in labels rather than scores."""
    stride: int | None = STRIDE
    """Pixels of the image per score; None: any."""
    fixed: tuple[int, int] | None = None
    """(height, width) of the only images that the graph takes; None: any."""

    @property
    def way(self) -> str:
        """Engine and precision, as messages name them."""
        return f"{self.name} {self.precision}"

    @abstractmethod
    def run(self, image: UInt8) -> NDArray[np.generic]:
        """Return what the graph makes of (H, W, 3) uint8: scores (K, h, w) or labels (H, W)."""

    def scores(self, image: UInt8) -> Float32:
        """Score (H, W, 3) uint8 RGB: (K, ceil(H/8), ceil(W/8)) float32."""
        if self.labels:
            raise SgcpError("this model was exported with --labels: it has no scores to give")
        return np.asarray(self.output(image), np.float32)

    def label(self, image: UInt8, size: tuple[int, int]) -> UInt8:
        """Label (H, W, 3) uint8 RGB, perhaps at another size: (height, width) uint8."""
        output = self.output(image)
        if not self.labels:
            return label_pixels(np.asarray(output, np.float32), size)
        if output.shape != size:
            raise SgcpError(
                "input_size: this model was exported with --labels, so it labels images at "
                "their own size; use one exported without"
            )
        return np.asarray(output, np.uint8)

    def output(self, image: UInt8) -> NDArray[np.generic]:
        """Run the graph; refuse sizes that it does not take or should not give; name failures."""
        height, width = image.shape[:2]
        if self.fixed and self.fixed != (height, width):
            raise SgcpError(
                f"image: this model was exported for {self.fixed[0]}x{self.fixed[1]}, got "
                f"{height}x{width}; resize the image, or export without --size and --labels"
            )
        try:
            output = self.run(image)
        except SgcpError:
            raise
        except Exception as error:  # ONNX Runtime's own classes derive from Exception alone
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise SgcpError(
                f"{self.title}: {self.name} cannot run it at {height}x{width} ({reason}). Free "
                "memory, or take another size; if that does not help, export it again"
            ) from error
        stride = 1 if self.labels else self.stride
        wanted = (-(-height // stride), -(-width // stride)) if stride else output.shape[-2:]
        if output.shape[-2:] != wanted:
            raise SgcpError(
                f"{self.title}: not a graph of `sgcp export`: an image of {height}x{width} gives "
                f"{output.shape[-2]}x{output.shape[-1]} outputs, not {wanted[0]}x{wanted[1]}"
            )
        return output


def check_precision(wanted: str, offered: tuple[str, ...], engine: str) -> str:
    """Return the precision that ``wanted`` means, if on offer; ``auto``: the first."""
    if wanted not in ("auto", *offered):
        raise SgcpError(
            f"precision: {engine} has {' and '.join(sorted(offered))} on this machine, "
            f"not '{wanted}'"
        )
    return offered[0] if wanted == "auto" else wanted


def graph_pixels(shape: tuple[int, ...]) -> int:
    """Return what the graph of an image's size counts against ``GRAPH_PIXELS``."""
    return shape[0] * shape[1] + WEIGHT_PIXELS


def cores() -> int:
    """Return how many processors this process may use: its share of them under torchrun."""
    together = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, usable_cores() // max(1, int(together) if together.isdecimal() else 1))


def title(model: bytes | Path) -> str:
    """Name a model in messages."""
    return str(model) if isinstance(model, Path) else "the exported model"
