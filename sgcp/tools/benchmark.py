"""``sgcp benchmark``: model and prepared images -> times and memory of every candidate."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from rich import box
from rich.table import Table

from sgcp.core.errors import SgcpError
from sgcp.core.files import write_json
from sgcp.core.terminal import answer, say
from sgcp.datasets.index import read_dataset, spread
from sgcp.inference.engines.base import cores
from sgcp.inference.engines.choice import onnx_of
from sgcp.inference.segmenter import choose_device, describe_processor
from sgcp.media.images import read_image, write_png
from sgcp.models.card import model_digest, stage_model
from sgcp.speed.candidates import (
    REFERENCE,
    SGCPNET,
    TASKS,
    Spec,
    size_of,
    specs_on_cpu,
    specs_on_gpu,
    write_int8,
)
from sgcp.speed.runner import Runner, start_all, take_turns

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.settings import BenchmarkSettings, MachineSettings

INT8_IMAGES = 100  # training images that give the ranges
PACKAGES = ("torch", "openvino", "onnxruntime", "opencv-python-headless", "numpy", "pillow")


def benchmark(
    layout: Layout,
    settings: BenchmarkSettings,
    machine: MachineSettings,
    images: Path | None = None,
    out: Path | None = None,
    by_hand: bool = False,
) -> dict[str, Any]:
    """Time every engine, the authors' way and the baselines by turns.

    Args:
        images: folder of images to take instead of the dataset's.
        out: where to write; None: ``layout.speed``.
        by_hand: options differ from params.yaml: without ``out``, nothing is written.

    Returns:
        The content of the metrics file.

    Raises:
        SgcpError: there is no model or no image, or nothing could be timed.
    """
    model = stage_model(layout)
    digest = model_digest(model)
    onnx_of(model)  # into the cache, so that no candidate's process has to make it
    device, threads = choose_device(machine.accelerator), settings.threads or cores()
    specs = specs_on_cpu(model, settings.size, threads, settings.candidates)
    if device == "cuda":
        specs = specs_on_gpu(model, settings.size, settings.candidates) + specs
    with TemporaryDirectory() as folder, ExitStack() as stack:
        paths = write_images(layout, settings, images, Path(folder))
        specs, left_out = quantize_for(specs, layout, Path(folder))
        runners = start_all(specs, paths, stack, left_out)
        take_turns(runners, settings.rounds)
        count_other_labels(runners, model, paths)
        rows = [to_json(runner, threads) for runner in runners]
    content = {
        "size": list(settings.size),
        "batch": 1,
        "threads": threads,
        "device": device,
        "processor": describe_processor(device),
        "warm_up": "loading and one run, then one run before each turn",
        "timed": "network and labels: the first image; files: all, an image's share",
        "tasks": TASKS,
        "versions": installed_versions(),
        "model_sha256": digest,
        "images": {"from": str(images) if images else layout.dataset, "number": len(paths)},
        "rows": rows,
        "left_out": left_out,
    }
    print_table(runners, left_out, settings.size)
    target = out or (None if by_hand else layout.speed)
    if target is not None:
        layout.snapshot.check()
        write_json(target, content)
        say(f"{target}: {len(runners)} candidates")
    return content


def write_images(
    layout: Layout, settings: BenchmarkSettings, images: Path | None, folder: Path
) -> list[Path]:
    """Write some images, from first to last, resized to the size that is timed; return them.

    Args:
        images: folder to take them from; None: the validation split.

    Raises:
        SgcpError: the folder has no images, or one is damaged.
    """
    if images is None:
        items = read_dataset(layout.prepared).split("val", labelled=False)
        files = [layout.raw / item.image for item in items]
    else:
        found = sorted(images.iterdir()) if images.is_dir() else []
        files = [file for file in found if file.suffix.lower() in (".png", ".jpg", ".jpeg")]
        if not files:
            raise SgcpError(f"{images}: no folder of PNG or JPEG images")
    height, width = settings.size
    paths: list[Path] = []
    for file in spread(files, settings.images):
        image = read_image(file)
        if image.shape[:2] != settings.size:
            resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
            image = np.array(resized)
        paths.append(folder / f"{len(paths):03}.png")
        write_png(paths[-1], image)
    return paths


def quantize_for(
    specs: list[Spec], layout: Layout, folder: Path
) -> tuple[list[Spec], dict[str, str]]:
    """Quantise the network for the int8 candidate; return the specs, and why it is left out."""
    if not any(spec.precision == "int8" for spec in specs):
        return specs, {}
    try:
        items = read_dataset(layout.prepared).split("train", labelled=False)
        chosen = [layout.raw / item.image for item in spread(items, INT8_IMAGES)]
        model = write_int8(specs[0].model, chosen, folder)
    except SgcpError as error:
        plain = [spec for spec in specs if spec.precision != "int8"]
        return plain, {f"{SGCPNET}, openvino int8": str(error)}
    return [replace(s, model=model) if s.precision == "int8" else s for s in specs], {}


def count_other_labels(runners: list[Runner], model: Path, paths: list[Path]) -> None:
    """Count the pixels that each way of running our network labels unlike eager PyTorch in fp32."""
    import torch

    from sgcp.inference.predict import Predictor
    from sgcp.models.artifact import load_model
    from sgcp.models.network import Normalize

    network, card = load_model(model)
    predictor = Predictor(network, Normalize(card.mean, card.std))
    images = (torch.from_numpy(read_image(path)).permute(2, 0, 1)[None] for path in paths)
    expected = [predictor(image)[0].numpy() for image in images]
    for runner in runners:
        if runner.spec.network in (SGCPNET, REFERENCE):
            pairs = zip(runner.ask("label"), expected, strict=True)
            runner.other_labels = sum(int(np.count_nonzero(one != other)) for one, other in pairs)


def milliseconds(runner: Runner, task: str, percentile: int = 50) -> float:
    """Return a percentile of a task's times."""
    return float(np.percentile(runner.seconds[task], percentile)) * 1e3


def to_json(runner: Runner, threads: int) -> dict[str, Any]:
    """Return a candidate's row of the metrics file."""
    spec = runner.spec
    tasks = {
        task: {
            "p50_ms": round(milliseconds(runner, task), 2),
            "p95_ms": round(milliseconds(runner, task, 95), 2),
            "images_per_second": round(1e3 / milliseconds(runner, task), 2),
            "runs": len(seconds),
        }
        for task, seconds in runner.seconds.items()
    }
    return {
        "network": spec.network,
        "engine": spec.engine,
        "precision": spec.precision,
        "device": spec.device,
        "threads": threads,
        "tasks": tasks,
        "peak_mib": {task: round(peak / 2**20) for task, peak in runner.peak.items()},
        "other_labels": runner.other_labels,
        **size_of(spec),
    }


def print_table(runners: list[Runner], left_out: dict[str, str], size: tuple[int, int]) -> None:
    """Print the times, with ratios to the authors' way, in 80 columns."""
    reference = next((runner for runner in runners if runner.spec.network == REFERENCE), None)
    table = Table(
        title=f"{size[0]}x{size[1]}, medians in ms; x: times as fast as the reference",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("network, engine")  # wraps on a narrow terminal
    for heading in ("network", "labels", "files", "MiB", "differ"):
        table.add_column(heading, justify="right", no_wrap=True)
    for runner in runners:
        cells = []
        for task in TASKS:
            took = milliseconds(runner, task) if task in runner.seconds else 0
            cell = f"{took:.1f}" if took < 1000 else f"{took:.0f}"
            if reference and took:
                cell += f" {milliseconds(reference, task) / took:4.1f}x"
            cells.append(cell if took else "")
        others = "" if runner.other_labels is None else f"{runner.other_labels:,}"
        peak = f"{runner.peak['labels'] / 2**20:.0f}" if runner.peak else ""
        table.add_row(runner.spec.title, *cells, peak, others)
    answer(table)
    answer("MiB: peak memory; differ: pixels labelled otherwise than by eager PyTorch in fp32")
    for name, reason in left_out.items():
        answer(f"left out: {name}: {reason}")


def installed_versions() -> dict[str, str]:
    """Return the versions of the installed packages."""
    versions = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
