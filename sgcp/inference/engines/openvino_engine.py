"""OpenVINO on the CPU: in fp32, in bf16 where the processor has it, and in int8."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from sgcp.core.errors import SgcpError
from sgcp.core.files import json_digest
from sgcp.core.machine import processor_kind
from sgcp.inference.engines.base import (
    GRAPH_PIXELS,
    Engine,
    check_precision,
    cores,
    graph_pixels,
    title,
)
from sgcp.inference.engines.cache import read_cached, write_cached
from sgcp.media.images import UInt8
from sgcp.models.card import model_digest

MOST_CALLERS = 16  # each takes 27 MiB at 1024x2048
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # of what is not in 8 bits
PATIENCE = 64  # runs without a use after which a graph gives way to that of another size
ANY_SIZE = (-1, -1, 3)


@cache
def shared_core() -> openvino.Core:
    """Return the one core of this process, which is never taken down.

    Each sets a stack for signals, and its end brings back the one from before. Of two that end in
    the order in which they began, the second brings back a stack that is gone: the next signal,
    such as Ctrl-C, would kill the process by a segmentation fault.
    """
    return openvino.Core()


def precisions() -> tuple[str, ...]:
    """Return what the processor multiplies in."""
    able = shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("fp32", "bf16") if "BF16" in able else ("fp32",)


class Graph:
    """A compiled graph, with the requests that no thread is using."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self.compiled = compiled
        self.idle: list[openvino.InferRequest] = []
        self.used = 0  # number of the engine's run that used it last

    def run(self, image: UInt8) -> NDArray[np.generic]:
        """Return a copy of the output for (H, W, 3) uint8."""
        try:
            request = self.idle.pop()
        except IndexError:
            request = self.compiled.create_infer_request()
        try:
            array = np.require(image[None], requirements=["C", "W"])
            request.infer([openvino.Tensor(array, shared_memory=True)])
            return request.get_output_tensor(0).data[0].copy()
        finally:
            self.idle.append(request)


def read_model(model: bytes | Path) -> openvino.Model:
    """Read an ONNX or IR graph; raise SgcpError where OpenVINO cannot."""
    try:
        return shared_core().read_model(model)
    except (RuntimeError, MemoryError):
        raise SgcpError(f"{title(model)}: OpenVINO cannot read it; export it again") from None


class OpenVinoEngine(Engine):
    """Run an ONNX or IR graph, bytes or a file, compiled for each size while memory allows.

    A graph of fixed size runs a tenth faster than one of any size, and takes a quarter of a
    second to compile (``benchmarks/inference_parts.py``); compiled ones are kept in the user's
    cache, from where they take a third of that. Sizes that exceed ``GRAPH_PIXELS``
    together share one graph of any size, whose memory depends on the largest image only.
    """

    name = "openvino"

    def __init__(
        self, model: bytes | Path, precision: str, callers: int = 1, threads: int | None = None
    ) -> None:
        self.core = shared_core()
        int8 = precision == "int8"  # a property of the graph
        self.precision = precision if int8 else check_precision(precision, precisions(), self.name)
        self.callers = min(callers, MOST_CALLERS)
        self.threads = threads or cores()
        self.title = title(model)
        self.model = read_model(model)
        content = model if isinstance(model, bytes) else model_digest(model).encode()
        self.digest = hashlib.sha256(content).hexdigest()
        self.labels = self.model.output(0).get_element_type() == openvino.Type.u8
        if not self.model.is_dynamic():
            _, height, width, _ = self.model.input(0).shape
            self.fixed = (height, width)
        self.graphs: dict[tuple[int, ...], Graph] = {}
        self.runs = 0
        self.lock = threading.Lock()

    def run(self, image: UInt8) -> NDArray[np.generic]:
        """Return what the graph makes of (H, W, 3) uint8."""
        return self._graph(image.shape).run(image)

    def _graph(self, shape: tuple[int, ...]) -> Graph:
        """Return the graph for an image's shape; compile it if need be."""
        with self.lock:
            self.runs += 1
            if shape not in self.graphs and not self._make_room(shape):
                shape = ANY_SIZE
            if shape not in self.graphs:
                self.graphs[shape] = Graph(self._compile(shape))
            self.graphs[shape].used = self.runs
            return self.graphs[shape]

    def _make_room(self, shape: tuple[int, ...]) -> bool:
        """Drop the graphs that went out of use; tell whether another one fits beside the rest."""
        self.graphs = {other: graph for other, graph in self.graphs.items()
                       if self.runs - graph.used <= PATIENCE}  # fmt: skip
        others = sum(graph_pixels(other) for other in self.graphs if other != ANY_SIZE)
        return not others or others + graph_pixels(shape) <= GRAPH_PIXELS

    def _compile(self, shape: tuple[int, ...]) -> openvino.CompiledModel:
        settings: dict[str, str | int] = {
            "INFERENCE_PRECISION_HINT": HINTS[self.precision],
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": self.callers,
        }
        if shape == ANY_SIZE:  # by default it keeps the kernels of thousands of sizes
            settings["CPU_RUNTIME_CACHE_CAPACITY"] = 0
        build = [openvino.get_version(), processor_kind()]
        key = json_digest([self.digest, shape, settings, *build])
        if kept := read_cached("compiled", key):
            with suppress(RuntimeError):  # a form that OpenVINO does not take back
                return self.core.import_model(kept, "CPU", settings)
        model = self.model.clone()
        if not self.fixed:
            model.reshape([1, *shape])
        compiled = self.core.compile_model(model, "CPU", settings)
        write_cached("compiled", key, compiled.export_model().getvalue())
        return compiled
