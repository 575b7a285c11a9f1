"""Which candidates there are, and how a process opens one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sgcp.core.errors import SgcpError
from sgcp.inference.segmenter import Segmenter, load
from sgcp.models.card import read_card
from sgcp.speed.candidate import Candidate, Ours, Peer

if TYPE_CHECKING:
    from sgcp.inference.engines.base import Engine

OWN = "SGCPNet"
REFERENCE = "reference"  # SGCPNet in the authors' way


@dataclass(frozen=True)
class Job:
    """One candidate, told in what crosses to another process."""

    network: str
    """``SGCPNet``, ``reference``, or a key of ``sgcp.models.NETWORKS``."""
    engine: str
    precision: str
    model: Path
    """SGCPNet's weights, or its export; the description beside it serves all."""
    size: tuple[int, int]
    threads: int
    device: str = "cpu"

    @property
    def exports_itself(self) -> bool:
        """Whether its process makes the graph that it runs, which takes more than running it."""
        return self.network not in (OWN, REFERENCE) and self.engine != "torch"

    def open(self) -> Candidate:
        """Load it, in the process that runs it.

        Raises:
            SgcpError: it cannot be had here: no package, processor or size for it.
        """
        if self.device == "cpu":
            self._limit_threads()
        if self.network == OWN:
            one = self._load(callers=1)
            return Ours(one, lambda: self._load(callers=self.threads))
        if self.network == REFERENCE:
            return self._open_reference()
        return Peer(self._open_peer())

    def _limit_threads(self) -> None:
        if self.engine == "torch":
            import torch

            torch.set_num_threads(self.threads)
        if self.network == REFERENCE and find_spec("cv2"):
            import cv2

            cv2.setNumThreads(self.threads)

    def _load(self, callers: int) -> Segmenter:
        precision = "auto" if self.precision == "int8" else self.precision  # the model has its own
        return load(self.model, self.device, self.engine, precision, callers, self.threads)

    def _open_reference(self) -> Candidate:
        if not find_spec("cv2"):
            raise SgcpError("needs OpenCV: pip install 'sgcp[benchmark]'")
        from sgcp.models.artifact import load_model
        from sgcp.speed.reference import Reference

        return Reference(*load_model(self.model))

    def _open_peer(self) -> Engine:
        from sgcp.inference.engines.openvino_engine import OpenVinoEngine
        from sgcp.inference.engines.torch_engine import CudaEngine, TorchEngine
        from sgcp.inference.graph import InferenceGraph, to_onnx
        from sgcp.models import build_network

        if self.network == "linknet" and (self.size[0] % 32 or self.size[1] % 32):
            raise SgcpError(f"takes sides divisible by 32, not {self.size[0]}x{self.size[1]}")
        card = read_card(self.model)
        network = build_network(self.network, len(card.classes)).eval()
        if self.engine == "torch":
            kind = CudaEngine if self.device == "cuda" else TorchEngine
            return kind(network, card, self.precision)
        graph = to_onnx(InferenceGraph(network, card), self.size)
        return OpenVinoEngine(graph, self.precision, threads=self.threads)


# What is run of each candidate: network, engine, precision.
ON_CPU: dict[str, list[tuple[str, str, str]]] = {
    "reference": [(REFERENCE, "torch", "fp32")],
    "torch": [(OWN, "torch", "fp32"), (OWN, "torch", "bf16")],
    "onnxruntime": [(OWN, "onnxruntime", "fp32")],
    "openvino": [(OWN, "openvino", "fp32"), (OWN, "openvino", "bf16")],
    "int8": [(OWN, "openvino", "int8")],
    **{
        peer: [(peer, "torch", "fp32"), (peer, "openvino", "fp32"), (peer, "openvino", "bf16")]
        for peer in ("lraspp", "linknet")
    },
}


def jobs_on_cpu(
    model: Path, size: tuple[int, int], threads: int, names: Sequence[str]
) -> list[Job]:
    """Return what is timed on a CPU of the candidates ``names``, keys of ``ON_CPU``."""
    return [Job(*row, model, size, threads) for name in names for row in ON_CPU[name]]


def jobs_on_gpu(model: Path, size: tuple[int, int], names: Sequence[str]) -> list[Job]:
    """Return what is timed on a GPU: our network and the peers, in PyTorch."""
    networks = {row[0] for name in names for row in ON_CPU[name]} - {REFERENCE}
    return [
        Job(network, "torch", precision, model, size, 1, "cuda")
        for network in sorted(networks)
        for precision in ("fp32", "fp16")
    ]
