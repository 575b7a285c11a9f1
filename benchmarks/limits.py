"""Compare the time of a network on this processor with what its arithmetic and its memory allow.

    python benchmarks/limits.py MODEL IMAGE.png [--precision fp32]

Prints the operations and the bytes of one image in OpenVINO, the rates that the processor reaches
in a large product of matrices and in a copy of more than the caches hold, and where the time goes.
"""

import argparse
import statistics
from collections import defaultdict
from math import prod
from pathlib import Path

import numpy as np
import openvino
import torch
from timing import time_by_turns

import sgcp
from sgcp.inference.engines.openvino_engine import HINTS, OpenVinoEngine, shared_core
from sgcp.media.images import read_image
from sgcp.speed.candidates import SGCPNET, Spec, size_of

SIDE, COPIED = 2048, 2**27  # of the matrices; bytes


def rates(threads: int) -> tuple[float, float]:
    """Return float operations a second of a product, and bytes a second read and written."""
    torch.set_num_threads(threads)
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    source, target = torch.zeros(COPIED, dtype=torch.uint8), torch.zeros(COPIED, dtype=torch.uint8)
    seconds = time_by_turns(
        {"product": lambda: a @ b, "copy": lambda: target.copy_(source)}, rounds=7
    )
    return 2 * SIDE**3 / seconds["product"], 2 * COPIED / seconds["copy"]


def profile(
    engine: OpenVinoEngine, image: np.ndarray, runs: int
) -> tuple[float, float, dict[str, float]]:
    """Return median seconds, the bytes that all layers read and write, and seconds by kind."""
    model = engine.model.clone()
    model.reshape([1, *image.shape])
    settings = {"INFERENCE_PRECISION_HINT": HINTS[engine.precision],
                "INFERENCE_NUM_THREADS": engine.threads, "PERF_COUNT": True}  # fmt: skip
    compiled = shared_core().compile_model(model, "CPU", settings)
    moved = 0
    for node in compiled.get_runtime_model().get_ops():
        ports = [*node.inputs(), *node.outputs()]
        moved += sum(prod(port.get_shape()) * port.get_element_type().size for port in ports)
    request, totals = compiled.create_infer_request(), []
    kinds: dict[str, list[float]] = defaultdict(list)
    for run in range(runs + 2):  # the first two do not count
        request.infer([openvino.Tensor(np.ascontiguousarray(image[None]))])
        each: dict[str, float] = defaultdict(float)
        for layer in request.profiling_info:
            each[f"{layer.node_type} ({layer.exec_type})"] += layer.real_time.total_seconds()
        if run >= 2:
            totals.append(sum(each.values()))
            for kind, seconds in each.items():
                kinds[kind].append(seconds)
    medians = {kind: statistics.median(seconds) for kind, seconds in kinds.items()}
    return statistics.median(totals), moved, medians


def main() -> None:
    """Print what bounds the time."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    image = read_image(options.image)
    height, width = image.shape[:2]
    engine = sgcp.load(options.model, engine="openvino", precision=options.precision).engine
    assert isinstance(engine, OpenVinoEngine)
    spec = Spec(SGCPNET, "openvino", "fp32", options.model, (height, width), engine.threads)
    operations = 1e9 * size_of(spec)["gflop"]
    arithmetic, memory = rates(engine.threads)
    seconds, moved, kinds = profile(engine, image, options.runs)
    print(f"{height}x{width}, openvino {engine.precision}, {engine.threads} threads")
    print(f"layers       {seconds * 1e3:7.1f} ms")
    print(
        f"arithmetic   {operations / 1e9:7.2f} GFLOP; a product reaches {arithmetic / 1e9:.0f} "
        f"GFLOP/s in fp32: {operations / arithmetic * 1e3:.1f} ms"
    )
    print(
        f"memory       {moved / 1e9:7.2f} GB read and written by layers; a copy reaches "
        f"{memory / 1e9:.1f} GB/s: {moved / memory * 1e3:.1f} ms if no cache helped"
    )
    for kind, part in sorted(kinds.items(), key=lambda item: -item[1]):
        if part > 0.01 * seconds:
            print(f"    {kind:48} {part * 1e3:6.1f} ms {part / seconds:4.0%}")


if __name__ == "__main__":
    main()
