"""Stage ``benchmark``: model and prepared images -> how fast, in how much memory."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.core.files import write_json
from sgcp.core.terminal import say, track
from sgcp.datasets.index import read_dataset, spread
from sgcp.inference.engines.base import cores
from sgcp.inference.engines.choice import onnx_of
from sgcp.inference.segmenter import choose_device, describe_processor
from sgcp.media.images import UInt8, read_image
from sgcp.models.card import model_digest, stage_model
from sgcp.speed.candidate import TASKS
from sgcp.speed.int8 import write_int8
from sgcp.speed.rows import Row, show, title
from sgcp.speed.runner import Runner, write_images
from sgcp.speed.specs import OWN, REFERENCE, Job, jobs_on_cpu, jobs_on_gpu

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.settings import BenchmarkSettings, MachineSettings

INT8_IMAGES = 100  # training images that ranges are taken from
PACKAGES = ("torch", "openvino", "onnxruntime", "opencv-python-headless", "numpy", "pillow")


def benchmark(
    layout: Layout,
    settings: BenchmarkSettings,
    machine: MachineSettings,
    images: Path | None = None,
    out: Path | None = None,
    by_hand: bool = False,
) -> dict[str, Any]:
    """Time every engine, the authors' way and the peers by turns.

    Args:
        images: folder of images to take instead of the dataset's.
        out: where to write; None: ``layout.speed``, which holds what params.yaml asks for.
        by_hand: something else than that is asked for: without ``out``, nothing is written.

    Returns:
        What the metrics file holds.

    Raises:
        SgcpError: there is no model or no image, or nothing could be timed.
    """
    model = stage_model(layout)
    digest = model_digest(model)
    onnx_of(model)  # kept in the cache, so that no candidate's process has to make it
    device, threads = choose_device(machine.accelerator), settings.threads or cores()
    jobs = jobs_on_cpu(model, settings.size, threads, settings.candidates)
    if device == "cuda":
        jobs = jobs_on_gpu(model, settings.size, settings.candidates) + jobs
    with TemporaryDirectory() as folder, ExitStack() as stack:
        files = folder_images(images) if images else dataset_images(layout)
        paths = write_images(load_images(files, settings), Path(folder))
        jobs, left_out = give_int8(jobs, layout, Path(folder))
        runners = start(jobs, paths, stack, left_out)
        rows = [Row(runner, threads) for runner in runners]
        take_turns(rows, settings.rounds)
        agree(rows, plain_labels(model, paths))
    content = describe(settings, device, threads) | {
        "model_sha256": digest,
        "images": {"from": str(images) if images else layout.dataset, "number": len(paths)},
        "rows": [row.to_json() for row in rows],
        "left_out": left_out,
    }
    show(rows, left_out, settings.size)
    target = out or (None if by_hand else layout.speed)
    if target is not None:
        layout.snapshot.check()
        write_json(target, content)
        say(f"{target}: {len(rows)} candidates")
    return content


def dataset_images(layout: Layout) -> list[Path]:
    """Return the images of the validation split."""
    items = read_dataset(layout.prepared).split("val", labelled=False)
    return [layout.raw / item.image for item in items]


def folder_images(folder: Path) -> list[Path]:
    """Return the images of a folder, by their names.

    Raises:
        SgcpError: it has none.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    paths = [file for file in files if file.suffix.lower() in (".png", ".jpg", ".jpeg")]
    if not paths:
        raise SgcpError(f"{folder}: no folder of PNG or JPEG images")
    return paths


def load_images(files: list[Path], settings: BenchmarkSettings) -> list[UInt8]:
    """Read some of the images, from first to last, resized to the size that is timed."""
    height, width = settings.size
    images = []
    for file in spread(files, settings.images):
        image = read_image(file)
        if image.shape[:2] != settings.size:
            resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
            image = np.array(resized)
        images.append(image)
    return images


def give_int8(jobs: list[Job], layout: Layout, folder: Path) -> tuple[list[Job], dict[str, str]]:
    """Quantise the network for the job that wants it; return the jobs, and why it is left out."""
    if not any(job.precision == "int8" for job in jobs):
        return jobs, {}
    plain = [job for job in jobs if job.precision != "int8"]
    try:
        learnt = read_dataset(layout.prepared).split("train", labelled=False)
        chosen = [layout.raw / item.image for item in spread(learnt, INT8_IMAGES)]
        model = write_int8(jobs[0].model, chosen, folder)
    except SgcpError as error:
        return plain, {f"{OWN}, openvino int8": str(error)}
    return [replace(job, model=model) if job.precision == "int8" else job for job in jobs], {}


def start(
    jobs: list[Job], paths: list[Path], stack: ExitStack, left_out: dict[str, str]
) -> list[Runner]:
    """Start the candidates one after the other; add to ``left_out`` why others could not."""
    runners = []
    for job in track(jobs, "starting", len(jobs)):
        runner = Runner(job, paths)
        stack.callback(runner.close)
        try:
            runner.start()
            runners.append(runner)
        except SgcpError as error:
            left_out[title(job)] = str(error)
    if not runners:
        raise SgcpError(f"nothing could be timed: {'; '.join(left_out.values())}")
    return runners


def take_turns(rows: list[Row], rounds: int) -> None:
    """Time every task of every candidate, by turns, so that a noisy moment hits all alike."""
    turns = [
        (row, task)
        for task in TASKS  # the folder last: its second engine adds to the peak memory
        for _ in range(rounds)
        for row in rows
        if task in row.seconds
    ]
    for row, task in track(turns, "timing", len(turns)):
        row.take_turn(task)


def plain_labels(model: Path, paths: list[Path]) -> list[UInt8]:
    """Label images by eager PyTorch in fp32, all scores resized: what all are compared to."""
    import torch

    from sgcp.inference.predict import Predictor
    from sgcp.models.artifact import load_model
    from sgcp.models.network import Normalize

    network, card = load_model(model)
    predictor = Predictor(network, Normalize(card.mean, card.std))
    images = (torch.from_numpy(read_image(path)).permute(2, 0, 1)[None] for path in paths)
    return [predictor(image)[0].numpy() for image in images]


def agree(rows: list[Row], plain: list[UInt8]) -> None:
    """Count the pixels that each way of running our network labels otherwise."""
    for row in rows:
        if row.job.network in (OWN, REFERENCE):
            pairs = zip(row.runner.ask("label"), plain, strict=True)
            row.others = sum(int(np.count_nonzero(one != other)) for one, other in pairs)


def describe(settings: BenchmarkSettings, device: str, threads: int) -> dict[str, Any]:
    """Return where and how was timed."""
    return {
        "size": list(settings.size),
        "batch": 1,
        "threads": threads,
        "device": device,
        "processor": describe_processor(device),
        "warm_up": "loading and one run, then one run before each turn",
        "timed": "network and labels: the first image; files: all, an image's share",
        "tasks": TASKS,
        "versions": {name: found for name in PACKAGES if (found := installed(name))},
    }


def installed(name: str) -> str | None:
    """Return a package's version, if it is there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
