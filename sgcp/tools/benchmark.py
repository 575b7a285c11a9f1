"""``sgcp benchmark``: model and prepared images -> times and memory of every candidate."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from sgcp.core.errors import SgcpError
from sgcp.core.files import write_json
from sgcp.core.layout import Layout
from sgcp.core.machine import processor_name
from sgcp.core.terminal import answer, say
from sgcp.datasets.index import read_dataset, spread
from sgcp.inference.engines.base import cores
from sgcp.inference.engines.choice import onnx_of
from sgcp.inference.engines.measured import MeasuredEngine, Trial, explain
from sgcp.inference.segmenter import choose_device, load
from sgcp.inference.tta import resize_input
from sgcp.media.images import UInt8, read_image, write_png
from sgcp.models.card import model_digest, stage_model
from sgcp.settings import BenchmarkSettings, MachineSettings
from sgcp.speed.candidates import (
    REFERENCE,
    SGCPNET,
    TASKS,
    Spec,
    check_network,
    list_specs,
    size_of,
    write_int8,
)
from sgcp.speed.runner import Runner, start_all, take_turns

INT8_IMAGES = 100  # training images that give the ranges
PACKAGES = ("torch", "openvino", "onnxruntime", "opencv-python-headless", "numpy", "pillow")


def benchmark(
    layout: Layout,
    settings: BenchmarkSettings,
    machine: MachineSettings,
    images: Path | None = None,
    out: Path | None = None,
    by_hand: bool = False,
    networks: Sequence[str] = (),
) -> dict[str, Any]:
    """Time every engine, the authors' way and the baselines by turns; return the metrics file.

    Args:
        images: folder of images to take instead of the dataset's.
        out: where to write; None: ``layout.speed``.
        by_hand: options differ from params.yaml: without ``out``, nothing is written.
        networks: other networks to time too, as ``build_other`` names them.

    Raises:
        SgcpError: there is no model or no image, or nothing could be timed.
    """
    for network in networks:
        check_network(network)
    model = stage_model(layout)
    digest = model_digest(model)
    onnx_of(model)  # into the cache, so that no candidate's process has to make it
    device, threads = choose_device(machine.accelerator), settings.threads or cores()
    names = dict.fromkeys([*settings.candidates, *networks])
    specs = list_specs(model, settings.size, threads, list(names), device)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        paths = write_images(layout, settings, images, Path(folder))
        specs, left_out = quantize_for(specs, layout, Path(folder))
        runners = start_all(specs, paths, stack, left_out)
        take_turns(runners, settings.rounds)
        count_other_labels(runners, model, paths)
        trials: list[Trial] = []
        try:
            if device == "cpu":
                trials = try_auto(model, threads, read_image(paths[0]))
        except SgcpError as error:
            left_out["auto"] = str(error)
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
        "versions": {
            name: package.version
            for package in distributions()
            if (name := package.name.lower()) in PACKAGES
        },
        "model_sha256": digest,
        "images": {"from": str(images) if images else layout.dataset, "number": len(paths)},
        "rows": rows,
        "left_out": left_out,
        "auto": [asdict(trial) for trial in trials],
    }
    print_table(content)
    if trials:
        answer(f"{explain(trials)} (a part of the image)")
    target = out or (None if by_hand else layout.speed)
    if target is not None:
        layout.snapshot.check()
        write_json(target, content)
        say(f"{target}: {len(runners)} candidates")
    return content


def write_images(
    layout: Layout, settings: BenchmarkSettings, images: Path | None, folder: Path
) -> list[Path]:
    """Write some images, from first to last, resized to the size that is timed; return them."""
    if images is None:
        items = read_dataset(layout.prepared).split("val", labelled=False)
        files = [layout.raw / item.image for item in items]
    else:
        found = sorted(images.iterdir()) if images.is_dir() else []
        files = [file for file in found if file.suffix.lower() in (".png", ".jpg", ".jpeg")]
        if not files:
            raise SgcpError(f"{images}: no folder of PNG or JPEG images")
    paths: list[Path] = []
    for file in spread(files, settings.images):
        paths.append(folder / f"{len(paths):03}.png")
        write_png(paths[-1], resize_input(read_image(file), settings.size))
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


def try_auto(model: Path, threads: int, image: UInt8) -> list[Trial]:
    """Return what ``precision="auto"`` measures for such an image; none where it has no choice."""
    segmenter = load(model, threads=threads)
    if not isinstance(segmenter.engine, MeasuredEngine):
        return []
    size = segmenter.card.input_size(image.shape[0], image.shape[1])
    return segmenter.engine.measure(resize_input(image, size))


def to_json(runner: Runner, threads: int) -> dict[str, Any]:
    """Return a candidate's row of the metrics file."""
    spec, tasks = runner.spec, {}
    for task, seconds in runner.seconds.items():
        median, late = 1e3 * np.percentile(seconds, [50, 95])
        tasks[task] = {
            "p50_ms": round(median, 2),
            "p95_ms": round(late, 2),
            "images_per_second": round(1e3 / median, 2),
            "runs": len(seconds),
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


def print_table(content: dict[str, Any]) -> None:
    """Print the times, with ratios to the authors' way, in 80 columns."""
    height, width = content["size"]
    table = Table(
        "network, engine",  # wraps on a narrow terminal
        title=f"{height}x{width}, medians in ms; x: times as fast as the reference",
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False,
    )  # fmt: skip
    for heading in (*TASKS, "MiB", "differ"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = content["rows"]
    reference = next((row["tasks"] for row in rows if row["network"] == REFERENCE), None)
    for row in content["rows"]:
        cells = []
        for task in TASKS:
            took = row["tasks"].get(task, {}).get("p50_ms", 0)
            cell = f"{took:.1f}" if took < 1000 else f"{took:.0f}"
            if reference and took:
                cell += f" {reference[task]['p50_ms'] / took:4.1f}x"
            cells.append(cell if took else "")
        others = "" if row["other_labels"] is None else f"{row['other_labels']:,}"
        gpu = " GPU" if row["device"] == "cuda" else ""
        name = f"{row['network']}, {row['engine']} {row['precision']}{gpu}"
        table.add_row(name, *cells, str(row["peak_mib"].get("labels", "")), others)
    answer(table)
    answer("MiB: peak memory; differ: pixels labelled otherwise than by eager PyTorch in fp32")
    left_out: dict[str, str] = content["left_out"]
    for reason in dict.fromkeys(left_out.values()):
        names = [name for name, why in left_out.items() if why == reason]
        answer(f"left out: {'; '.join(names)}: {reason}")


def describe_processor(device: str) -> str:
    """Name what a model runs on: this machine's processor, and for ``cuda`` the GPU beside it."""
    name = f"{cores()} cores of {processor_name()}"
    if device == "cpu":
        return name
    import torch

    return f"{name}, {torch.cuda.get_device_name()}"
