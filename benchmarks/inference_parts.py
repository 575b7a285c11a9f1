"""Compare each part of inference with the plain way to do it, by turns in one run.

    python benchmarks/inference_parts.py MODEL IMAGE.png

Prints medians and ratios for: reading the image, labels and their confidence from the scores,
writing the labels, painting colours and overlay and writing it, normalising inside the graph,
graphs of fixed and of any size, and exporting by tracing.
"""

import argparse
import tempfile
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import imagecodecs
import numpy as np
import openvino
import torch
from PIL import Image
from timing import time_by_turns
from torch.nn import functional as F

import sgcp
from sgcp.inference import labels
from sgcp.inference.engines.openvino_engine import HINTS, precisions
from sgcp.inference.graph import InferenceGraph, to_onnx
from sgcp.inference.prediction import Prediction
from sgcp.media.images import ONE_FILTER, encode_png, read_image, write_png
from sgcp.models.artifact import load_model
from sgcp.reporting.palettes import lookup, official
from sgcp.reporting.panels import blend, colorize

Ways = dict[str, Callable[[], Any]]


def compare(title: str, ways: Ways, runs: int) -> None:
    """Time the ways by turns; print medians, and how many times as fast as the first each is."""
    medians = time_by_turns(ways, runs)
    first = next(iter(medians.values()))
    print(title)
    for name, median in medians.items():
        print(f"    {name:44} {median * 1e3:8.1f} ms  x{first / median:.1f}")


def labelling(scores: np.ndarray, size: tuple[int, int]) -> Ways:
    """Full-size scores against none."""
    tensor = torch.from_numpy(scores)[None]

    def resized() -> torch.Tensor:
        return F.interpolate(tensor, size=size, mode="bilinear", align_corners=False)

    def without_c() -> np.ndarray:
        with patch.object(labels, "compiled", None):
            return labels.label_pixels(scores, size)

    return {
        "torch: resize, argmax": lambda: resized().argmax(1).byte(),
        "torch: resize, max().indices": lambda: resized().max(1).indices.byte(),
        "ours, numpy": without_c,
        "ours": lambda: labels.label_pixels(scores, size),
    }


def confidence(scores: np.ndarray, size: tuple[int, int]) -> Ways:
    """Labels with their confidence against full-size probabilities, and against labels alone."""
    tensor = torch.from_numpy(scores)[None]

    def full_size() -> Any:
        resized = F.interpolate(tensor, size=size, mode="bilinear", align_corners=False)
        return resized.softmax(1).max(1)

    def both() -> Any:
        prediction = Prediction(scores, size)
        return prediction.labels, prediction.confidence

    def without_c() -> Any:
        with patch.object(labels, "compiled", None):
            return both()

    return {
        "torch: resize, softmax().max()": full_size,
        "labels and confidence, numpy": without_c,
        "labels and confidence: ours": both,
        "labels alone: ours": lambda: labels.label_pixels(scores, size),
    }


def painting(image: np.ndarray, found: np.ndarray, segmenter: sgcp.Segmenter) -> dict[str, Ways]:
    """Colours by an index array against ``take``; overlays at once against row by row; writing."""
    table, colors = lookup(official(segmenter.classes)), colorize(found, segmenter.classes)

    def at_once() -> np.ndarray:
        half = np.uint16(128)
        return ((image * half + colors * half + half) >> 8).astype(np.uint8)

    def encode(filters: int) -> Callable[[], bytes]:
        return lambda: encode_png(mixed, filters=filters)

    mixed = blend(image, colors, 0.5)
    return {
        "class colours": {
            "numpy: table[labels]": lambda: table[found],
            "ours": lambda: colorize(found, segmenter.classes),
        },
        "overlay": {
            "numpy: whole image": at_once,
            "ours": lambda: blend(image, colors, 0.5),
        },
        "write the overlay": {
            "Pillow": lambda: Image.fromarray(mixed).save(BytesIO(), "PNG"),
            "run lengths by Pillow, without imagecodecs": lambda: Image.fromarray(mixed).save(
                BytesIO(), "PNG", compress_type=zlib.Z_RLE
            ),
            "run lengths, any line filter": encode(imagecodecs.PNG.FILTER.ALL),
            "run lengths, one line filter: ours": encode(ONE_FILTER),
        },
    }


class PixelByPixel(InferenceGraph):
    """Normalises (H, W, 3) rather than whole rows."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score (B, H, W, 3) uint8."""
        x = image.permute(0, 3, 1, 2).float() * self.scale[:, None, None]
        return self.network(x + self.shift[:, None, None])


def graphs(model: Path, image: np.ndarray, precision: str) -> Ways:
    """Run OpenVINO on graphs that differ in one thing."""
    network, card = load_model(model)
    core = openvino.Core()

    def run(graph: InferenceGraph, fixed: bool) -> Callable[[], Any]:
        read = core.read_model(to_onnx(graph))
        read.reshape([1, *(image.shape[:2] if fixed else (-1, -1)), 3])
        compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": precision})
        request = compiled.create_infer_request()
        tensor = openvino.Tensor(image[None].copy())
        return lambda: request.infer([tensor])

    return {
        "normalised by pixels, fixed size": run(PixelByPixel(network, card), True),
        "normalised by rows, any size": run(InferenceGraph(network, card), False),
        "normalised by rows, fixed size: ours": run(InferenceGraph(network, card), True),
    }


def exporting(model: Path, folder: Path) -> Ways:
    """torch.export against tracing."""
    graph = InferenceGraph(*load_model(model)).eval()
    image = torch.zeros((1, 320, 576, 3), dtype=torch.uint8)
    sizes = {axis: torch.export.Dim(name, min=129) for axis, name in ((1, "height"), (2, "width"))}

    def by_export() -> None:
        torch.onnx.export(
            graph, (image,), folder / "export.onnx", dynamo=True, verbose=False, opset_version=20,
            dynamic_shapes={"image": sizes},
        )  # fmt: skip

    return {
        "torch.onnx.export by torch.export": by_export,
        "by tracing: ours": lambda: to_onnx(graph),
    }


def main() -> None:
    """Print every comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    image = read_image(options.image)
    size = (image.shape[0], image.shape[1])
    segmenter = sgcp.load(options.model, precision="fp32")  # one engine for all sizes
    scores = segmenter.engine.scores(image)
    found = segmenter.segment(image)
    print(f"{size[0]}x{size[1]}, {segmenter.engine.name} {segmenter.engine.precision}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Ways] = {
            "read the image": {
                "Pillow": lambda: np.array(Image.open(options.image)),
                "ours": lambda: read_image(options.image),
            },
            "labels from scores": labelling(scores, size),
            "confidence from scores": confidence(scores, size),
            "write labels": {
                "Pillow": lambda: Image.fromarray(found).save(folder / "pillow.png"),
                "ours": lambda: write_png(folder / "ours.png", found),
            },
            **painting(image, found, segmenter),
        }
        for precision in map(HINTS.__getitem__, precisions()):
            parts[f"graph, {precision}"] = graphs(options.model, image, precision)
        for title, ways in parts.items():
            compare(title, ways, options.runs)
        compare("export to ONNX", exporting(options.model, folder), 2)


if __name__ == "__main__":
    main()
