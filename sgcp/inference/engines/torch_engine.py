"""PyTorch: on the CPU in case nothing faster is installed, and on a GPU."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sgcp.inference.engines.base import GRAPH_PIXELS, Engine, check_precision, graph_pixels
from sgcp.inference.graph import InferenceGraph
from sgcp.media.images import UInt8
from sgcp.models.card import ModelCard

Recording = tuple[torch.cuda.CUDAGraph, Tensor, Tensor]
"""A recorded run, where its input is put, and where its output is found."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine(Engine):
    """Run the network in eager PyTorch, channels last."""

    name = "torch"
    device = "cpu"
    precisions: tuple[str, ...] = ("fp32", "bf16")

    def __init__(self, network: nn.Module, card: ModelCard, precision: str = "auto") -> None:
        self.precision = check_precision(precision, self.precisions, self.name)
        self.graph = self._place(InferenceGraph(network, card))

    def _place(self, graph: InferenceGraph) -> InferenceGraph:
        graph.network.to(DTYPES[self.precision])
        graph.network.to(memory_format=torch.channels_last)
        return graph.to(self.device).eval()

    @torch.inference_mode()
    def run(self, image: UInt8) -> NDArray[np.generic]:
        """Return the scores (K, h, w) of (H, W, 3) uint8."""
        return self._infer(image).float().numpy()

    def _infer(self, image: UInt8, labels: bool = False) -> Tensor:  # labels: of CudaEngine alone
        return self.graph(_batch(image))[0]


class CudaEngine(TorchEngine):
    """Run the network on a GPU up to the labels: a recorded CUDA graph for each size.

    Replaying a recording spares the launches of some 250 small kernels, which for a network of
    this size take longer than the kernels.
    """

    device = "cuda"
    precisions = ("fp16", "bf16", "fp32")

    def __init__(self, network: nn.Module, card: ModelCard, precision: str = "auto") -> None:
        super().__init__(network, card, precision)
        self.labelling = self._place(InferenceGraph(network, card, labels=True))
        self.recorded: OrderedDict[tuple[int, ...], Recording] = OrderedDict()
        if self.precision == "fp32":  # else convolutions would round to TF32's ten bits
            torch.backends.cudnn.allow_tf32 = False
        self.lock = threading.Lock()

    @torch.inference_mode()
    def label(self, image: UInt8, size: tuple[int, int]) -> UInt8:
        """Label (H, W, 3) uint8 RGB, perhaps at another size: (height, width) uint8."""
        if size != image.shape[:2]:
            return super().label(image, size)
        return self._infer(image, labels=True).numpy()

    def _infer(self, image: UInt8, labels: bool = False) -> Tensor:
        """Run one image through the recording for its size; return the result on the CPU."""
        key = (*image.shape, labels)
        with self.lock:  # a recording has one place for its input and one for its output
            if key not in self.recorded:
                given = torch.zeros((1, *image.shape), dtype=torch.uint8).cuda()
                self.recorded[key] = self._record(self.labelling if labels else self.graph, given)
            self.recorded.move_to_end(key)
            while len(self.recorded) > 1 and sum(map(graph_pixels, self.recorded)) > GRAPH_PIXELS:
                self.recorded.popitem(last=False)
            recording, given, output = self.recorded[key]
            given.copy_(_batch(image))
            recording.replay()
            return output[0].cpu()

    def _record(self, graph: InferenceGraph, given: Tensor) -> Recording:
        """Run thrice, so that libraries have chosen their kernels, then record one run."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                graph(given)
        torch.cuda.current_stream().wait_stream(side)
        recording = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recording):
            output = graph(given)
        return recording, given, output


def _batch(image: UInt8) -> Tensor:
    """Return (1, H, W, 3) on the memory of (H, W, 3), or a copy where torch cannot share it."""
    return torch.from_numpy(np.require(image, requirements=["C", "W"]))[None]
