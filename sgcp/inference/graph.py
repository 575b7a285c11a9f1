"""The network as engines run it (bytes in, scores out, constants folded), and its exports."""

from __future__ import annotations

import copy
import io
import json
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sgcp.inference.predict import resize_logits
from sgcp.models.card import FOR_OTHERS, STRIDE, ModelCard
from sgcp.models.network import SGCPNet

if TYPE_CHECKING:
    import openvino

OPSET = 20  # of ONNX; the first with antialiased resizing in every runtime is 18
INPUT = "image"
TRACED = (64, 96)  # any size will do: the graph follows the size of what it is given
# Height and width that a .pt2 of any size accepts, pixels: below the first, the coarsest level is
# a single score, which torch.export takes for another network.
SMALLEST, LARGEST = 129, 16384


class InferenceGraph(nn.Module):
    """Normalise, run a copy of the network in evaluation mode; ``labels``: take the best class."""

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
        """Score (B, H, W, 3) uint8 RGB: (B, K, ceil(H/8), ceil(W/8)); or label: (B, H, W) uint8."""
        batch, height, width, channels = image.shape
        # Whole rows at once: OpenVINO normalises them in a third of the time of (H, W, 3).
        rows = image.reshape(batch, height, width * channels).float()
        rows = rows * self.scale.repeat(width) + self.shift.repeat(width)
        x = rows.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        x = x.to(next(self.network.parameters()).dtype)
        if not self.labels:
            scores: Tensor = self.network(x)
            return scores
        return label_whole_cells(self.network, x).argmax(1).to(torch.uint8)


def label_whole_cells(network: nn.Module, x: Tensor) -> Tensor:
    """Score each pixel of normalized images (B, 3, H, W) of any size: (B, K, H, W).

    They are padded with the mean to whole cells (``whole_cells``), and the result is cut.
    """
    height, width = x.shape[-2:]
    x = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE))
    scores = resize_logits(network(x).float(), (x.shape[-2], x.shape[-1]))
    return scores[..., :height, :width]


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
    """Write the graph as ONNX: ``image`` (B, H, W, 3) uint8 in, ``labels`` or ``scores`` out.

    With ``size`` (height, width), it takes only such images, one at a time.
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


def to_program(graph: InferenceGraph, size: tuple[int, int] | None) -> bytes:
    """Return the graph as an exported program, for ``torch.export.load``: one image a call."""
    image = torch.zeros((1, *(size or (320, 576)), 3), dtype=torch.uint8)
    sides = {axis: torch.export.Dim(name, min=SMALLEST, max=LARGEST)
             for axis, name in ((1, "height"), (2, "width"))}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations
        program = torch.export.export(
            graph.eval(), (image,), dynamic_shapes=None if size else {INPUT: sides}
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names files of this machine
    program.example_inputs = None  # an image of zeros, larger than the weights
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def export_graph(
    graph: InferenceGraph, path: Path, size: tuple[int, int] | None, given: dict[str, Any]
) -> dict[Path, bytes]:
    """Return the files of a graph in the form that the suffix of ``path`` names.

    Args:
        size: (height, width) of the only images it takes; None: of any.
        given: ``preprocessing`` of its images, for the metadata of ONNX and OpenVINO IR.
    """
    if path.suffix == ".pt2":
        return {path: to_program(graph, size)}
    content = to_onnx(graph, size)
    if path.suffix == ".onnx":
        import onnx

        model = onnx.load_from_string(content)
        onnx.helper.set_model_props(model, {FOR_OTHERS: json.dumps(given)})
        return {path: model.SerializeToString()}
    from sgcp.inference.engines.openvino_engine import read_model

    ir = read_model(content)
    ir.set_rt_info(json.dumps(given), [FOR_OTHERS])
    return ir_files(ir, path)


def ir_files(model: openvino.Model, path: Path) -> dict[Path, bytes]:
    """Return the two files of an OpenVINO model, weights in full precision."""
    import openvino

    with TemporaryDirectory() as folder:
        target = Path(folder) / "model.xml"
        openvino.serialize(model, target, target.with_suffix(".bin"))
        return {path.with_suffix(s): target.with_suffix(s).read_bytes() for s in (".xml", ".bin")}
