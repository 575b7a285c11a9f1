"""``sgcp segment``: images, videos -> label maps, colours, overlays, confidence. Needs no project.

Beside label maps, ``classes.json`` names their values.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgcp.core.errors import SgcpError, printable, shorten
from sgcp.core.extras import require
from sgcp.core.files import code_digest, file_sha256, json_digest, to_json, write_bytes, write_text
from sgcp.core.machine import usable_cores
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import progress_bar, say, track, warn
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.label_files import train_ids_of, write_labels
from sgcp.inference.engines.base import Engine, cores
from sgcp.inference.engines.choice import INT8_ENDING
from sgcp.inference.prediction import Prediction, grey_levels
from sgcp.inference.segmenter import Segmenter, choose_device, find_model, load
from sgcp.inference.smoothing import Smoother
from sgcp.inference.tta import PLAIN, InferenceOptions
from sgcp.media.formats import is_video
from sgcp.media.images import ONE_FILTER, UInt8, encode_png, read_photo, read_png_text
from sgcp.models.card import model_digest
from sgcp.reporting.panels import add_legend, blend, colorize
from sgcp.tools.segment_inputs import display_name, find_media, name_outputs, with_stdin

MAX_SIDE, MIN_SCALE, MAX_SCALE = 16384, 0.01, 16.0  # as in params.yaml
VIDEO_SUFFIXES = {"labels": ".mkv", "colors": ".mp4", "overlay": ".mp4", "confidence": ".mkv"}
KEYWORD = "sgcp-made"  # of a PNG's text that holds ``Job.key``
CLASSES = "classes.json"


@dataclass(frozen=True)
class Outputs:
    """The files to write for each image and video."""

    labels: bool | None = None
    """The model's train ids, 8 bits a pixel; None: of images, not of videos."""
    colors: bool = False
    """Class colours."""
    overlay: bool = True
    """Class colours over the image."""
    alpha: float = 0.5
    """Opacity of the colours in an overlay, 0 .. 1."""
    legend: bool = False
    """Names and colours of the classes that occur, below the overlay of an image."""
    confidence: bool = False
    """The highest class probability of each pixel, 8 bits: 255 is 1."""
    threshold: float | None = None
    """Pixels of a lower confidence get the label 255, and no colour; None: all are labelled."""

    def paths(self, stem: Path, video: bool) -> dict[str, Path]:
        """Return the files of one image or video, by kind."""
        labels = not video if self.labels is None else self.labels
        kinds = {
            "labels": labels,
            "colors": self.colors,
            "overlay": self.overlay,
            "confidence": self.confidence,
        }
        return {
            kind: stem.with_name(f"{stem.name}_{kind}{VIDEO_SUFFIXES[kind] if video else '.png'}")
            for kind, wanted in kinds.items()
            if wanted
        }


@dataclass(frozen=True)
class Job:
    """One image or video, and the files to write for it."""

    source: Path
    targets: Mapping[str, Path]
    video: bool
    settings: str
    """Digest of the model and of every option that changes the outputs."""

    @cached_property
    def key(self) -> str:
        """Digest of source and settings, stored in each output."""
        return json_digest([file_sha256(self.source), self.settings])

    def made(self, path: Path) -> bool:
        """Return whether a file exists and is an output of this job."""
        if not path.is_file():
            return False
        if not self.video:
            return read_png_text(path).get(KEYWORD) == self.key
        from sgcp.media.video import read_comment

        return read_comment(path) == self.key

    def is_finished(self) -> bool:
        """Return whether every output exists."""
        return all(map(self.made, self.targets.values()))


@dataclass
class Log:
    """What happened to the jobs."""

    failed: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    frames: int = 0
    pixels: dict[Path, NDArray[np.int64]] = field(default_factory=dict)
    """(256,) by image or video: how many pixels got each label."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, source: Path, labels: UInt8) -> None:
        """Add the pixels of an image, or of a frame of a video."""
        counts = np.bincount(labels.ravel(), minlength=256)
        with self.lock:
            self.pixels[source] = self.pixels.get(source, 0) + counts


def segment(
    paths: Sequence[Path],
    model: str,
    out: Path,
    outputs: Outputs,
    input_size: tuple[int, int] | None = None,
    options: InferenceOptions = PLAIN,
    force: bool = False,
    accelerator: str = "auto",
    shares: bool = False,
    smooth: float = 0.0,
) -> dict[str, Any]:
    """Segment images and videos, and those in folders; write the outputs of each to ``out``.

    Unreadable files are reported and skipped. So are files whose outputs an earlier run of the
    same model with the same options has finished: each output stores a digest of them.

    Args:
        paths: files, folders, patterns, and ``-`` for standard input.
        model: as ``sgcp.load`` takes it.
        input_size: (height, width) of the network's input; None: as the model was trained.
        force: overwrite existing files, finished or not.
        shares: count the pixels of each class.
        smooth: share of the earlier frames in the scores of a video's frame, 0 .. 1.

    Returns:
        For JSON: counts of images, videos and frames, ``seconds``, ``engine`` and ``precision``,
        how many are ``skipped`` as finished, and the messages of those ``left_out``; where asked
        for, the ``shares`` of pixels by class name of each file that was labelled now, of videos
        their mean over the frames.

    Raises:
        SgcpError: no image, no model, no output, an option out of range, or an existing output
            that another model or other options made.
    """
    started = perf_counter()
    check_options(outputs, input_size, options, smooth)
    with with_stdin(paths, out) as given:
        device, path = choose_device(accelerator), find_model(model)
        settings = json_digest(
            [
                model_digest(path),
                model_digest(path.with_name(path.stem + INT8_ENDING)),  # may run in its place
                [device, input_size, list(vars(options).values()), outputs.alpha],
                [outputs.legend, outputs.threshold, smooth],
                code_digest("inference", "models"),
            ]
        )
        jobs = _plan(given, out, outputs, settings)
        if smooth and not any(job.video for job in jobs):
            raise SgcpError("--smooth: of videos, cameras and streams alone. Leave it out")
        log = Log()
        _leave_out_videos(jobs, log)
        able = [job for job in jobs if job.source not in log.failed]
        finished = set() if force else _finished(able)
        todo = [job for job in able if job.source not in finished]
        segmenter = load(model, device, callers=cores())
        labeller = Labeller(segmenter, outputs, input_size, options, smooth)
        if any("labels" in job.targets for job in todo):
            write_classes(out / CLASSES, segmenter, force)

        def paint(image: UInt8, job: Job, prediction: Prediction | None = None) -> Painted:
            made = labeller.label(image, prediction)
            labels = made["labels"]
            if shares:
                log.count(job.source, labels)
            made |= render(image, labels, segmenter, job.targets, outputs.alpha)
            if outputs.legend and "overlay" in made and not job.video:
                made["overlay"] = add_legend(made["overlay"], labels, segmenter.classes)
            return {kind: made[kind] for kind in job.targets}

        _label_images([job for job in todo if not job.video], paint, segmenter, log)
        for job in todo:
            if job.video:
                _label_video(job, paint, labeller, log)
    summary = _summarize(jobs, finished, log, out, perf_counter() - started, segmenter.engine)
    if shares:
        summary["shares"] = _shares(log, segmenter)
    return summary


@dataclass(frozen=True)
class Labeller:
    """Make labels, and what is asked for beside them, of images.

    Raises:
        SgcpError: the model was exported with labels, and more is asked for.
    """

    segmenter: Segmenter
    outputs: Outputs
    input_size: tuple[int, int] | None
    options: InferenceOptions
    smooth: float

    def __post_init__(self) -> None:
        if (self._unsure or self.smooth) and self.segmenter.engine.labels:
            raise SgcpError(
                "--confidence, --threshold, --smooth: this model was exported with --labels, so it "
                "has no confidence. Export it without"
            )

    @property
    def _unsure(self) -> bool:
        return self.outputs.confidence or self.outputs.threshold is not None

    def predict(self, image: UInt8) -> Prediction:
        """Predict (H, W, 3) uint8 with the options of this run."""
        return self.segmenter.predict(image, self.input_size, self.options)

    def label(self, image: UInt8, prediction: Prediction | None = None) -> Painted:
        """Return ``labels``, and ``confidence`` where it is computed, of (H, W, 3) uint8.

        Args:
            prediction: of the image; None: it is made.
        """
        if prediction is None:
            if not self._unsure:
                return {"labels": self.segmenter.segment(image, self.input_size, self.options)}
            prediction = self.predict(image)
        made = {"labels": prediction.labels}
        if self._unsure:
            confidence = prediction.confidence
            if self.outputs.threshold is not None:
                made["labels"][confidence < self.outputs.threshold] = IGNORE
            made["confidence"] = grey_levels(confidence)
        return made


def check_options(
    outputs: Outputs,
    input_size: tuple[int, int] | None,
    options: InferenceOptions,
    smooth: float = 0.0,
) -> None:
    """Raise SgcpError where a value is out of range."""
    for name, size in (("--input-size", input_size), ("--window", options.window)):
        if size and not 1 <= min(size) <= max(size) <= MAX_SIDE:
            raise SgcpError(f"{name}: expected height and width, 1 .. {MAX_SIDE} pixels: {size}")
    if not all(MIN_SCALE <= scale <= MAX_SCALE for scale in options.scales):
        raise SgcpError(f"--scale: expected {MIN_SCALE} .. {MAX_SCALE}, got {options.scales}")
    if not 0 <= outputs.alpha <= 1:
        raise SgcpError(f"--alpha: expected 0 (image) .. 1 (colours), got {outputs.alpha}")
    if outputs.threshold is not None and not 0 <= outputs.threshold <= 1:
        raise SgcpError(f"--threshold: expected 0 .. 1, got {outputs.threshold}")
    if not 0 <= smooth < 1:
        raise SgcpError(f"--smooth: expected 0 (off) to below 1, got {smooth}")


def _plan(paths: Sequence[Path], out: Path, outputs: Outputs, settings: str) -> list[Job]:
    jobs = []
    for source, stem in name_outputs(find_media(paths, out), out).items():
        video = is_video(source)
        jobs.append(Job(source, outputs.paths(stem, video), video, settings))
        if not jobs[-1].targets:
            raise SgcpError(
                f"{display_name(source)}: no output selected. Leave --labels, --colors or "
                "--overlay on"
            )
    sources = {job.source.resolve() for job in jobs}
    for path in chain.from_iterable(job.targets.values() for job in jobs):
        if path.resolve() in sources:
            raise SgcpError(f"{path}: is both an input and an output. Choose another --out")
        if path.is_dir():
            raise SgcpError(f"{path}: is a folder, not a file. Choose another --out")
    return jobs


def _leave_out_videos(jobs: Sequence[Job], log: Log) -> None:
    """Note videos as failed where PyAV is missing; refuse where there is nothing else."""
    for job in jobs:
        try:
            if job.video:
                require("av", display_name(job.source))
        except SgcpError as error:
            if all(one.video for one in jobs):
                raise
            log.failed[job.source] = str(error)


def _finished(jobs: Sequence[Job]) -> set[Path]:
    """Return the sources whose outputs an earlier run has written with the same settings."""
    done = list(track(map_threads(Job.is_finished, jobs, usable_cores()), "checking", len(jobs)))
    todo = [job for job, yes in zip(jobs, done, strict=True) if not yes]
    targets = ((job, path) for job in todo for path in job.targets.values())
    if foreign := [path for job, path in targets if path.exists() and not job.made(path)]:
        raise SgcpError(
            f"{shorten(foreign, 1)}: exists, and was not made by this model with these options "
            "from this image. Pass --force to overwrite it, or choose another --out"
        )
    return {job.source for job in jobs} - {job.source for job in todo}


def write_classes(path: Path, segmenter: Segmenter, force: bool) -> None:
    """Write what the values of the label maps mean, unless an earlier run has."""
    rows = [
        {"index": item.train_id, "name": item.name, "color": list(item.color),
         "label_id": item.label_id}
        for item in segmenter.classes
    ]  # fmt: skip
    content = to_json(rows)
    before = path.read_bytes() if path.is_file() else b"" if path.exists() else None
    if before == content.encode():
        return
    if before is not None and not force:
        raise SgcpError(
            f"{path}: names the classes of another model. Pass --force to overwrite it, or choose "
            "another --out"
        )
    write_text(path, content)


Painted = dict[str, UInt8]
Paint = Callable[..., Painted]


def _label_images(jobs: Sequence[Job], paint: Paint, segmenter: Segmenter, log: Log) -> None:
    meaning = train_ids_of(segmenter.classes, segmenter.card.dataset)

    def label(job: Job) -> None:
        try:
            painted = paint(read_photo(job.source, log.doubts.append), job)
        except SgcpError as error:
            log.failed[job.source] = str(error)
            return
        for kind, content in painted.items():
            if kind == "labels":
                write_labels(job.targets[kind], content, meaning, {KEYWORD: job.key})
            else:
                encoded = encode_png(content, {KEYWORD: job.key}, ONE_FILTER)
                write_bytes(job.targets[kind], encoded, flush=False)

    with progress_bar() as bar:
        done = map_threads(label, jobs, segmenter.workers)
        list(bar.track(done, total=len(jobs), description="segmenting"))


def _label_video(job: Job, paint: Paint, labeller: Labeller, log: Log) -> None:
    from sgcp.media.video import InOrder, transform_video

    smoothed = InOrder(labeller.predict, Smoother(labeller.smooth)) if labeller.smooth else None
    with progress_bar() as bar:
        task = bar.add_task(printable(display_name(job.source.name)), total=None)
        try:
            summary = transform_video(
                job.source,
                job.targets,
                lambda frame, *prediction: paint(frame, job, *prediction),
                labeller.segmenter.workers,
                lambda done, total: bar.update(task, completed=done, total=total),
                job.key,
                in_order=smoothed,
            )
        except SgcpError as error:
            log.failed[job.source] = str(error)
            return
    log.frames += summary.frames
    log.notes += [f"{job.source}: {stream}" for stream in summary.left_out]


def render(
    image: UInt8, labels: UInt8, segmenter: Segmenter, kinds: Iterable[str], alpha: float
) -> dict[str, UInt8]:
    """Return the images of some kinds for an image (H, W, 3) and its train ids (H, W).

    Pixels without a class are black in colours and as they were in an overlay.
    """
    made = {"labels": labels}
    if {"colors", "overlay"} & set(kinds):
        made["colors"] = colorize(labels, segmenter.classes)
    if "overlay" in kinds:
        made["overlay"] = blend(image, made["colors"], alpha)
        unknown = labels == IGNORE
        if unknown.any():  # below --threshold alone
            made["overlay"][unknown] = image[unknown]
    return {kind: made[kind] for kind in kinds if kind in made}


def _shares(log: Log, segmenter: Segmenter) -> dict[str, dict[str, float]]:
    """Return the share of pixels by class name of each file; those without a class are missing."""
    return {
        display_name(source.as_posix()): {
            item.name: round(float(counts[item.train_id] / counts.sum()), 6)
            for item in segmenter.classes
        }
        for source, counts in sorted(log.pixels.items())
        if source not in log.failed
    }


def _summarize(
    jobs: Sequence[Job], finished: set[Path], log: Log, out: Path, seconds: float, engine: Engine
) -> dict[str, Any]:
    """Print skipped files with their reasons and a line of counts; return the same for JSON."""
    left_out = [display_name(message) for message in sorted(log.failed.values())]
    notes = [display_name(note) for note in log.notes]
    doubts = [display_name(doubt) for doubt in sorted(log.doubts)]
    for line in [*(f"left out: {m}" for m in left_out + notes), *(f"warning: {d}" for d in doubts)]:
        warn(line)
    images = [job.source for job in jobs if not job.video]
    videos = [job.source for job in jobs if job.video]
    counts = ", ".join(
        f"{len(set(group) - log.failed.keys())} of {len(group)} {kind}"
        for kind, group in (("images", images), ("videos", videos))
        if group
    )
    done = log.frames + len(set(images) - log.failed.keys() - finished)
    frames = f" ({log.frames:,} frames)" if videos else ""
    skipped = f", {len(finished):,} of them skipped as finished" if finished else ""
    unit = "frames" if videos else "images"
    way = f" ({engine.way})" if done else ""
    say(f"{out}: {counts}{frames}{skipped}, {done / seconds:.1f} {unit}/s{way}")
    return {
        "out": out.as_posix(),
        "images": len(images),
        "videos": len(videos),
        "labelled": len(jobs) - len(log.failed) - len(finished),
        "skipped": len(finished),
        "frames": log.frames,
        "seconds": round(seconds, 3),
        "engine": engine.name if done else None,
        "precision": engine.precision if done else None,
        "left_out": left_out,
        "notes": [*notes, *doubts],
    }
