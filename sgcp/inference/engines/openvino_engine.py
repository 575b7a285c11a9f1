"""OpenVINO on the CPU: the fastest here, and in bf16 where the processor has it."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from sgcp.errors import SgcpError
from sgcp.inference.engines.base import (
    COMPILED_SIZES,
    Engine,
    UInt8,
    check_precision,
    cores,
    title,
)
from sgcp.inference.engines.processor import multiplies_bf16_quickly

MOST_CALLERS = 16  # each takes 27 MiB at 1024x2048
HINTS = {"fp32": "f32", "bf16": "bf16"}


@cache
def shared_core() -> openvino.Core:
    """Return the one core of this process, which is never taken down.

    Each sets a stack for signals, and its end brings back the one from before. Of two that end in
    the order in which they began, the second brings back a stack that is gone: the next signal,
    such as Ctrl-C, would kill the process by a segmentation fault.
    """
    return openvino.Core()


class OpenVinoEngine(Engine):
    """Run an ONNX or IR graph, compiled anew for each of the first few sizes of images.

    A graph of fixed size runs a tenth faster than one of any size, and takes a quarter of a
    second to compile (``benchmarks/inference_parts.py``).

    Args:
        model: ONNX bytes, or the path of an ``.onnx`` or ``.xml``.
        precision: fp32, bf16 or auto: bf16 where the processor has units for it, else fp32.
        callers: threads to be served at the same time, one core each; 1: all cores for one.
        threads: cores to use.

    Raises:
        SgcpError: OpenVINO cannot read the model, or the processor lacks the precision.
    """

    name = "openvino"

    def __init__(
        self,
        model: bytes | Path,
        precision: str = "auto",
        callers: int = 1,
        threads: int | None = None,
    ) -> None:
        self.core = shared_core()
        self.precision = check_precision(precision, self.precisions(), self.name)
        self.callers = min(callers, MOST_CALLERS)
        self.threads = threads or cores()
        try:
            self.model = self.core.read_model(model)
        except RuntimeError:
            raise SgcpError(f"{title(model)}: OpenVINO cannot read it; export it again") from None
        self.labels = self.model.output(0).get_element_type() == openvino.Type.u8
        self.compiled: dict[tuple[int, ...], openvino.CompiledModel] = {}
        self.lock = threading.Lock()
        self.local = threading.local()

    def precisions(self) -> tuple[str, ...]:
        """Return what the processor multiplies in, the fastest first."""
        if "BF16" not in self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return ("fp32",)
        return ("bf16", "fp32") if multiplies_bf16_quickly() else ("fp32", "bf16")

    def run(self, image: UInt8) -> NDArray[np.generic]:
        """Return what the graph makes of (H, W, 3) uint8.

        Raises:
            SgcpError: the graph was exported for another size.
        """
        request = self._request(image.shape)
        array = np.require(image[None], requirements=["C", "W"])
        request.infer([openvino.Tensor(array, shared_memory=True)])
        output: NDArray[np.generic] = request.get_output_tensor(0).data[0]
        return output

    def _request(self, shape: tuple[int, ...]) -> openvino.InferRequest:
        """Return this thread's request; another size takes the place of the last one's."""
        compiled = self._compile(shape)
        if getattr(self.local, "compiled", None) is not compiled:
            self.local.compiled, self.local.request = compiled, compiled.create_infer_request()
        return self.local.request

    def _compile(self, shape: tuple[int, ...]) -> openvino.CompiledModel:
        with self.lock:
            if shape not in self.compiled and len(self.compiled) >= COMPILED_SIZES:
                shape = (-1, -1, 3)  # a folder of many sizes: one graph for all the others
            if shape not in self.compiled:
                self.compiled[shape] = self._compile_new(shape)
            return self.compiled[shape]

    def _compile_new(self, shape: tuple[int, ...]) -> openvino.CompiledModel:
        model = self.model.clone()
        if model.is_dynamic():
            model.reshape([1, *shape])
        elif (fixed := list(model.input(0).shape)) != [1, *shape]:
            raise SgcpError(
                f"image: this model was exported for {fixed[1]}x{fixed[2]}, got "
                f"{shape[0]}x{shape[1]}; export it without --size"
            )
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[self.precision],
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": self.callers,
        }
        return self.core.compile_model(model, "CPU", settings)
