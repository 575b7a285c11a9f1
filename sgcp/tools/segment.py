"""``sgcp segment``: images, videos -> label maps, colours, overlays, confidence. Needs no project.

Beside label maps, ``classes.json`` names their values.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
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
from sgcp.core.files import code_digest, file_sha256, json_digest, write_bytes
from sgcp.core.machine import usable_cores
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import progress_bar, say, track, warn
from sgcp.datasets.label_files import train_ids_of, write_labels
from sgcp.inference.engines.base import Engine, cores
from sgcp.inference.engines.choice import INT8_ENDING
from sgcp.inference.prediction import Prediction
from sgcp.inference.segmenter import Segmenter, choose_device, find_model, load
from sgcp.inference.smoothing import Smoother
from sgcp.labelling.outlines import ANNOTATIONS, Labelled, annotate
from sgcp.media.formats import is_video
from sgcp.media.images import ONE_FILTER, UInt8, encode_png, read_photo, read_png_text
from sgcp.models.card import model_digest
from sgcp.reporting.panels import add_legend
from sgcp.tools.segment_inputs import STDIN, display_name, find_media, name_outputs, with_stdin
from sgcp.tools.segment_outputs import (
    CLASSES,
    FILES_ALONE,
    Labeller,
    Painted,
    SegmentOptions,
    render,
    write_classes,
)

KEYWORD = "sgcp-made"  # of a PNG's text that holds ``Job.key``


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
    options: SegmentOptions,
    force: bool = False,
    accelerator: str = "auto",
    shares: bool = False,
) -> dict[str, Any]:
    """Segment images and videos, and those in folders; write the outputs of each to ``out``.

    Unreadable files are reported and skipped. So are files whose outputs an earlier run of the
    same model with the same options has finished: each output stores a digest of them.

    Args:
        paths: files, folders, patterns, and ``-`` for standard input.
        model: as ``sgcp.load`` takes it.
        force: overwrite existing files, finished or not.
        shares: count the pixels of each class.

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
    options.check()
    if options.form and STDIN in paths:
        raise SgcpError(FILES_ALONE)
    with with_stdin(paths, out) as given:
        device, path = choose_device(accelerator), find_model(model)
        settings = json_digest(
            [
                model_digest(path),
                model_digest(path.with_name(path.stem + INT8_ENDING)),  # may run in its place
                [device, options.input_size, list(vars(options.inference).values()), options.alpha],
                [options.legend, options.threshold, options.smooth],
                code_digest("inference", "models"),
            ]
        )
        jobs = _plan(given, out, options, settings)
        if options.smooth and not any(job.video for job in jobs):
            raise SgcpError("--smooth: of videos, cameras and streams alone. Leave it out")
        if options.form and all(job.video for job in jobs):
            raise SgcpError(FILES_ALONE)
        log = Log()
        _leave_out_videos(jobs, log)
        able = [job for job in jobs if job.source not in log.failed]
        finished = set() if force else _finished(able)
        todo = [job for job in able if job.source not in finished]
        if options.form:
            _refuse_annotations(options.form, jobs, todo, out, force)
        segmenter = load(model, device, callers=cores())
        labeller = Labeller(segmenter, options)
        if any("labels" in job.targets for job in todo):
            write_classes(out / CLASSES, segmenter, force)

        def paint(image: UInt8, job: Job, prediction: Prediction | None = None) -> Painted:
            made = labeller.label(image, prediction)
            labels = made["labels"]
            if shares:
                log.count(job.source, labels)
            made |= render(image, labels, segmenter, job.targets, options.alpha)
            if options.legend and "overlay" in made and not job.video:
                made["overlay"] = add_legend(made["overlay"], labels, segmenter.classes)
            return {kind: made[kind] for kind in job.targets}

        _label_images([job for job in todo if not job.video], paint, segmenter, log)
        for job in todo:
            if job.video:
                _label_video(job, paint, labeller, log)
    seconds = perf_counter() - started
    if options.form:
        _annotate(options.form, jobs, segmenter, log, out, force)
    summary = _summarize(jobs, finished, log, out, seconds, segmenter.engine)
    if shares:
        summary["shares"] = _shares(log, segmenter)
    return summary


def _plan(paths: Sequence[Path], out: Path, options: SegmentOptions, settings: str) -> list[Job]:
    jobs = []
    for source, stem in name_outputs(find_media(paths, out), out).items():
        video = is_video(source)
        jobs.append(Job(source, options.paths(stem, video), video, settings))
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

    smooth = labeller.options.smooth
    smoothed = InOrder(labeller.predict, Smoother(smooth)) if smooth else None
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


def _refuse_annotations(
    form: str, jobs: Sequence[Job], todo: Sequence[Job], out: Path, force: bool
) -> None:
    """Refuse, before anything is labelled, polygons that overwrite others or share a name."""
    taken = out / ANNOTATIONS.get(form, "")
    if taken.is_file() and not force and any(_is_readable(job.source) for job in todo):
        raise SgcpError(
            f"{taken}: exists, and has not all of these images. Pass --force to overwrite it, or "
            "choose another --out"
        )
    named: dict[Path, Path] = {}
    for source, labels in ((job.source, job.targets["labels"]) for job in jobs if not job.video):
        if form == "labelme" and labels == out / CLASSES.replace(".json", "_labels.png"):
            raise SgcpError(f"{source}: its polygons would overwrite {CLASSES}. Rename the image")
        first = named.setdefault(labels.parent / source.name, source)
        if form in ANNOTATIONS and first != source:
            raise SgcpError(
                f"{first} and {source}: --format {form} tells images by their names. Pass the "
                "folder above both"
            )


def _is_readable(source: Path) -> bool:
    try:
        read_photo(source, doubt=str)
    except SgcpError:
        return False
    return True


def _annotate(
    form: str, jobs: Sequence[Job], segmenter: Segmenter, log: Log, out: Path, force: bool
) -> None:
    """Write polygons of the images that were labelled, now or earlier."""
    images = [
        Labelled(labels.parent.relative_to(out) / job.source.name, job.source, labels)
        for job in jobs
        if not job.video and job.source not in log.failed and (labels := job.targets["labels"])
    ]
    kept = annotate(form, images, segmenter.classes, out, force)
    if kept and form == "labelme":
        log.notes.append(f"{shorten(kept)}, corrected or of another run. --force overwrites them")
    elif kept:
        raise SgcpError(
            f"{kept[0]}: exists with other content. Pass --force to overwrite it, or choose "
            "another --out"
        )


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
