"""The candidates of a benchmark: engines, the authors' way and other networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.core.extras import require
from sgcp.core.files import write_json
from sgcp.core.parallel import map_threads
from sgcp.core.plugins import find_function
from sgcp.inference.segmenter import Segmenter, load
from sgcp.media.images import UInt8, read_image, write_png
from sgcp.models import NETWORKS, build_network
from sgcp.models.card import ModelCard, read_card

if TYPE_CHECKING:
    from torch import nn

    from sgcp.inference.engines.base import Engine

TASKS = {
    "network": "image in memory to the network's own scores",
    "labels": "image in memory to a label for every pixel",
    "files": "folder of PNG to folder of PNG label maps, reading and writing included",
}
SGCPNET = "SGCPNet"
REFERENCE = "reference"  # SGCPNet in the authors' way
YOLO = re.compile(r"yolo\w+-sem")  # networks of ultralytics, where the user has installed it
# Network, engine and precision of each candidate on a CPU.
ON_CPU: dict[str, list[tuple[str, str, str]]] = {
    "reference": [(REFERENCE, "torch", "fp32")],
    "torch": [(SGCPNET, "torch", "fp32"), (SGCPNET, "torch", "bf16")],
    "onnxruntime": [(SGCPNET, "onnxruntime", "fp32")],
    "openvino": [(SGCPNET, "openvino", "fp32"), (SGCPNET, "openvino", "bf16")],
    "int8": [(SGCPNET, "openvino", "int8")],
}
OTHERS_ON_CPU = (("torch", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))


class Baseline:
    """Another network, untrained, on one of our engines; its labels would mean nothing."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def network(self, image: UInt8) -> Callable[[], Any]:
        """Return a call of the engine on the image's bytes: its graph normalises them."""
        return lambda: self.engine.run(image)


class Ours(Baseline):
    """This project's way; ``load_for`` makes a segmenter for a number of callers."""

    def __init__(self, load_for: Callable[[int], Segmenter], threads: int) -> None:
        self.one = load_for(1)
        super().__init__(self.one.engine)
        self.many = cache(lambda: load_for(threads))

    def label(self, image: UInt8) -> UInt8:
        """Label (H, W, 3) uint8."""
        return self.one.segment(image, (image.shape[0], image.shape[1]))

    def label_files(self, sources: Sequence[Path], target: Path) -> None:
        """Decode, label and encode at the same time, an image a core."""
        many = self.many()

        def work(source: Path) -> None:
            image = read_image(source)
            write_png(target / source.name, many.segment(image, (image.shape[0], image.shape[1])))

        for _ in map_threads(work, sources, many.workers):
            pass


class Reference:
    """The authors' way, rebuilt from its description.

    PIL, float64 normalisation, eager fp32 in NCHW, bicubic resizing of all scores, argmax.
    """

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        import cv2

        self.cv2: Any = cv2
        self.module = network
        self.mean, self.std = np.array(card.mean), np.array(card.std)
        self.classes = len(card.classes)

    def network(self, image: UInt8) -> Callable[[], Any]:
        """Return a call of the eager network on an image normalised beforehand."""
        import torch

        x = (image / 255.0 - self.mean) / self.std  # float64, as numpy makes it
        batch = torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))[None]).float()

        def run() -> Any:
            with torch.no_grad():
                return self.module(batch)

        return run

    def label(self, image: UInt8) -> UInt8:
        """Label (H, W, 3) uint8."""
        scores = self.network(image)()[0].numpy().transpose(1, 2, 0)  # (h, w, K)
        wh = image.shape[1], image.shape[0]
        full = self.cv2.resize(scores, wh, interpolation=self.cv2.INTER_CUBIC)
        return np.argmax(full, axis=2).astype(np.uint8)

    def label_files(self, sources: Sequence[Path], target: Path) -> None:
        """One image after the other, each class renumbered by a mask."""
        from PIL import Image

        for source in sources:
            labels = self.label(np.array(Image.open(source).convert("RGB")))
            renumbered = np.zeros_like(labels)
            for index in range(self.classes):
                renumbered[labels == index] = index
            Image.fromarray(renumbered).save(target / source.name)


Candidate = Baseline | Ours | Reference


@dataclass(frozen=True)
class Spec:
    """One candidate, in a form that crosses to another process."""

    network: str
    """``SGCPNet``, ``reference``, or another one, as ``build_other`` names it."""
    engine: str
    precision: str
    model: Path
    """SGCPNet's weights, or its export; all candidates take classes and input from its card."""
    size: tuple[int, int]
    threads: int
    device: str = "cpu"

    @property
    def title(self) -> str:
        """Its name in one line."""
        gpu = " GPU" if self.device == "cuda" else ""
        return f"{self.network}, {self.engine} {self.precision}{gpu}"

    @property
    def is_other(self) -> bool:
        """Whether it is another network than ours."""
        return self.network not in (SGCPNET, REFERENCE)

    def open(self) -> Candidate:
        """Load it, in the process that runs it."""
        if self.device == "cpu" and self.engine == "torch":
            import torch

            torch.set_num_threads(self.threads)
        if self.is_other:
            return Baseline(self._open_baseline())
        if self.network == SGCPNET:
            precision = "auto" if self.precision == "int8" else self.precision  # the model's own
            model = self.model, self.device, self.engine, precision
            return Ours(lambda callers: load(*model, callers, self.threads), self.threads)
        require("cv2", "the authors' method")
        import cv2

        from sgcp.models.artifact import load_model

        cv2.setNumThreads(self.threads)
        return Reference(*load_model(self.model))

    def _open_baseline(self) -> Engine:
        from sgcp.inference.engines.openvino_engine import OpenVinoEngine
        from sgcp.inference.engines.torch_engine import CudaEngine, TorchEngine
        from sgcp.inference.graph import InferenceGraph, to_onnx

        halved = self.network == "linknet" or YOLO.fullmatch(self.network)
        if halved and (self.size[0] % 32 or self.size[1] % 32):
            raise SgcpError(f"takes sides divisible by 32, not {self.size[0]}x{self.size[1]}")
        card = read_card(self.model)
        network = build_other(self.network, len(card.classes)).eval()
        if self.engine == "torch":
            kind = CudaEngine if self.device == "cuda" else TorchEngine
            return kind(network, card, self.precision)
        graph = to_onnx(InferenceGraph(network, card), self.size)
        return OpenVinoEngine(graph, self.precision, threads=self.threads)


def check_network(name: str) -> None:
    """Raise SgcpError where there is no other network, module or function of this name."""
    if not YOLO.fullmatch(name):
        find_function(name, NETWORKS, "--with")


def build_other(name: str, num_classes: int) -> nn.Module:
    """Build another network with random weights, ``yolo26n-sem`` and so on by ultralytics.

    Raises:
        SgcpError: unknown, not trusted or not installed.
    """
    if YOLO.fullmatch(name):
        from sgcp.models.baselines import yolo

        return yolo(name, num_classes)
    return build_network(name, num_classes)


def list_specs(
    model: Path, size: tuple[int, int], threads: int, names: Sequence[str], device: str
) -> list[Spec]:
    """Return what is timed of the candidates ``names``: keys of ``ON_CPU``, or other networks.

    On a GPU, that is our network and the baselines in PyTorch, before all on the CPU.
    """
    on_cpu = [
        Spec(*row, model, size, threads)
        for name in names
        for row in ON_CPU.get(name) or [(name, *way) for way in OTHERS_ON_CPU]
    ]
    networks = sorted({spec.network for spec in on_cpu} - {REFERENCE})
    return [
        Spec(network, "torch", precision, model, size, 1, "cuda")
        for network in networks * (device == "cuda")
        for precision in ("fp32", "fp16")
    ] + on_cpu


def size_of(spec: Spec) -> dict[str, Any]:
    """Return parameters, and GFLOP (two a multiply-add) of one image, of a candidate's network.

    Nothing for a user's network that does not run without real numbers.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    card = read_card(spec.model)
    classes = len(card.classes)
    counter = FlopCounterMode(display=False)
    try:
        with torch.device("meta"):
            image = torch.empty(1, 3, *spec.size)
            if spec.is_other:
                module = build_other(spec.network, classes)
            else:
                module = build_network(card.network, classes, card.encoder)
        with counter, torch.inference_mode():
            module.eval()(image)
    except Exception:  # of code that is not ours
        if spec.is_other:
            return {}
        raise
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return {"parameters": parameters, "gflop": round(counter.get_total_flops() / 1e9, 2)}


def write_int8(model: Path, images: Sequence[Path], folder: Path) -> Path:
    """Quantise a model by the ranges of some images; return the ``.xml`` in ``folder``."""
    require("nncf", "int8")
    import openvino

    from sgcp.inference.engines.openvino_engine import read_model
    from sgcp.inference.graph import InferenceGraph, to_onnx
    from sgcp.inference.quantize import quantize
    from sgcp.models.artifact import load_model

    network, card = load_model(model)
    plain, path = folder / "plain.xml", folder / "int8.xml"
    openvino.serialize(read_model(to_onnx(InferenceGraph(network, card))), plain)
    openvino.serialize(quantize(plain, images, read_image), path)
    export = {"export": {"int8": {"images": len(images)}}}
    card = replace(card, provenance=card.provenance | export)
    write_json(path.with_suffix(".json"), card.to_json())
    return path
