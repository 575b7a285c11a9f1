"""The network as the engines run it: bytes in, scores out, everything constant worked out."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sgcp.inference.predict import resize_logits
from sgcp.models.network import SGCPNet

if TYPE_CHECKING:
    from sgcp.models.card import ModelCard

OPSET = 20  # of ONNX; the first with antialiased resizing in every runtime is 18
INPUT = "image"
TRACED = (64, 96)  # any size will do: the graph follows the size of what it is given


class InferenceGraph(nn.Module):
    """Normalise, run the network; then, if wanted, resize its scores and take the best class.

    Args:
        network: in evaluation mode, normalised (B, 3, H, W) in, scores out; it is copied.
        card: tells mean and deviation.
        labels: return labels of the image's size rather than scores.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, card: ModelCard, labels: bool = False) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        if isinstance(network, SGCPNet):  # others are not built by the rule that folding follows
            fold_batch_norm(self.network)
        self.labels = labels
        mean, std = torch.tensor(card.mean) * 255, torch.tensor(card.std) * 255
        self.register_buffer("scale", 1 / std, persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Score or label every image.

        Args:
            image: (B, H, W, 3) uint8 RGB, as images lie in memory.

        Returns:
            Scores (B, K, ceil(H/8), ceil(W/8)) float, or labels (B, H, W) uint8.
        """
        batch, height, width, channels = image.shape
        # Whole rows at once: OpenVINO normalises them in a third of the time of (H, W, 3).
        rows = image.reshape(batch, height, width * channels).float()
        rows = rows * self.scale.repeat(width) + self.shift.repeat(width)
        x = rows.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        scores: Tensor = self.network(x.to(next(self.network.parameters()).dtype))
        if not self.labels:
            return scores
        return resize_logits(scores.float(), (height, width)).argmax(1).to(torch.uint8)


def fold_batch_norm(network: nn.Module) -> None:
    """Work each batch norm into the convolution before it; changes ``network``.

    Every norm of the network is called ``norm`` and follows its sibling ``conv`` or ``pointwise``,
    but for torchvision's encoder, where norms follow convolutions in sequences.
    """
    for parent in list(network.modules()):
        convolution: nn.Conv2d | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and convolution is not None:
                folded = fuse_conv_bn_eval(convolution, child)
                convolution.weight, convolution.bias = folded.weight, folded.bias
                setattr(parent, name, nn.Identity())
            convolution = child if isinstance(child, nn.Conv2d) else None


def to_onnx(graph: InferenceGraph, size: tuple[int, int] | None = None) -> bytes:
    """Write the graph as ONNX.

    Args:
        size: (height, width) of the only images it takes; None: of any.

    Returns:
        A model with the input ``image`` (1, H, W, 3) uint8, or (B, H, W, 3) for any size, and the
        output ``labels`` or ``scores``.
    """
    image = torch.zeros((1, *(size or TRACED), 3), dtype=torch.uint8)
    output = "labels" if graph.labels else "scores"
    axes = {0: "batch", 1: "height", 2: "width"}
    out_axes = axes if graph.labels else {0: "batch", 2: "rows", 3: "columns"}
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a loop over two weights, and of deprecation
        # The exporter by tracing: a third of a second, where torch.export takes seven, for a
        # graph that runs as fast (benchmarks/inference_parts.py).
        torch.onnx.export(
            graph.eval(),
            (image,),
            (file := Path(folder) / "graph.onnx"),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[output],
            dynamic_axes=None if size else {INPUT: axes, output: out_axes},
        )
        return file.read_bytes()
