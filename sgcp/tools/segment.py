"""``sgcp segment``: anybody's images and videos -> label maps, colours and overlays.

Needs no project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import MofNCompleteColumn

from sgcp.core.errors import SgcpError, printable, shorten
from sgcp.core.files import code_digest, json_digest
from sgcp.core.parallel import map_threads, usable_cores
from sgcp.core.terminal import progress_bar, track
from sgcp.datasets.label_files import Meaning, train_ids_of, write_labels
from sgcp.inference.engines.base import cores
from sgcp.inference.segmenter import choose_device, find_model, load
from sgcp.inference.tta import PLAIN, InferenceOptions
from sgcp.media.images import UInt8, read_photo, write_png
from sgcp.media.video import is_video, transform_video
from sgcp.models.card import model_digest
from sgcp.reporting.panels import blend, colorize
from sgcp.tools.segment_inputs import find_media, name_outputs, shown, with_stdin

if TYPE_CHECKING:
    from sgcp.inference.segmenter import Segmenter
from collections.abc import Collection, Mapping
from functools import cached_property
from time import perf_counter

from rich.progress import ProgressColumn, Task
from rich.text import Text

from sgcp.core.files import file_sha256
from sgcp.core.terminal import say, warn
from sgcp.media.images import read_png_text
from sgcp.media.video import read_comment

MOST, LEAST_SCALE, MOST_SCALE = 16384, 0.01, 16.0  # as in params.yaml
SHARE = 0.5  # of the colours in an overlay
VIDEO_SUFFIXES = {"labels": ".mkv", "colors": ".mp4", "overlay": ".mp4"}


@dataclass(frozen=True)
class Wanted:
    """What is written of each image and video."""

    labels: bool | None = None
    """The model's train ids, 8 bits a pixel; None: of images, not of videos. The PNG says which
    class each value is."""
    colors: bool = False
    """Class colours."""
    overlay: bool = True
    """Class colours over the image."""
    alpha: float = SHARE
    """Share of the colours in an overlay, 0 .. 1."""

    def paths(self, stem: Path, video: bool = False) -> dict[str, Path]:
        """Return the files of one image or video, by kind."""
        labels = not video if self.labels is None else self.labels
        kinds = {"labels": labels, "colors": self.colors, "overlay": self.overlay}
        return {
            kind: stem.with_name(f"{stem.name}_{kind}{VIDEO_SUFFIXES[kind] if video else '.png'}")
            for kind, on in kinds.items()
            if on
        }


@dataclass(frozen=True)
class Look:
    """How the network sees an image."""

    input_size: tuple[int, int] | None = None
    """(height, width); None: as the model was trained."""
    views: InferenceOptions = PLAIN
    """How often, and how."""

    @classmethod
    def checked(
        cls,
        input_size: tuple[int, int] | None,
        flip: bool,
        scales: Sequence[float],
        window: tuple[int, int] | None,
    ) -> Look:
        """Return what a command line asks for.

        Raises:
            SgcpError: a size or a scale is out of range.
        """
        for name, size in (("--input-size", input_size), ("--window", window)):
            if size and not (1 <= min(size) <= max(size) <= MOST):
                raise SgcpError(f"{name}: height and width, 1 .. {MOST} pixels, got {size}")
        if not all(LEAST_SCALE <= scale <= MOST_SCALE for scale in scales):
            raise SgcpError(f"--scale: {LEAST_SCALE} .. {MOST_SCALE}, got {list(scales)}")
        return cls(input_size, InferenceOptions(flip, tuple(scales), window))


def segment(
    paths: Sequence[Path],
    model: str,
    out: Path,
    wanted: Wanted,
    look: Look,
    force: bool = False,
    accelerator: str = "auto",
) -> dict[str, Any]:
    """Label images and videos, and those in folders; write the wanted outputs of each to ``out``.

    Unreadable files are reported and skipped. So are files whose outputs an earlier run of the
    same model with the same options has finished: each output carries a digest of them.

    Args:
        paths: files, folders, patterns, and ``-`` for standard input.
        model: as ``sgcp.load`` takes it.
        force: overwrite existing files, finished or not.

    Returns:
        For JSON: where to, how many images, videos and frames were labelled in how many seconds,
        how many were ``skipped`` as finished, and which were ``left_out``, why.

    Raises:
        SgcpError: no image, no model, nothing wanted, or an output exists that was made otherwise.
    """
    if not 0 <= wanted.alpha <= 1:
        raise SgcpError(f"--alpha: 0 (the image) .. 1 (the colours), got {wanted.alpha}")
    with with_stdin(paths, out) as given:
        device = choose_device(accelerator)
        settings = json_digest(
            [
                model_digest(find_model(model)),
                [device, look.input_size, list(vars(look.views).values()), wanted.alpha],
                code_digest("inference", "models"),
            ]
        )
        jobs = plan(given, out, wanted, settings)
        outcome = Outcome()
        outcome.skipped = () if force else finished(jobs)
        todo = [job for job in jobs if job.source not in outcome.skipped]
        if not force:
            refuse_existing(todo)
        segmenter = load(model, device, callers=cores())

        def paint(image: UInt8, kinds: Iterable[str]) -> dict[str, UInt8]:
            return render(image, segmenter, look, kinds, wanted.alpha)

        meaning = train_ids_of(segmenter.classes, segmenter.card.dataset)
        images = [job for job in todo if not job.video]
        label_images(images, paint, meaning, segmenter.workers, outcome)
        for job in todo:
            if job.video:
                label_video(job, paint, segmenter.workers, outcome)
    return outcome.summary(out, jobs)


def plan(paths: Sequence[Path], out: Path, wanted: Wanted, settings: str) -> list[Job]:
    """Return what is to be done.

    Raises:
        SgcpError: nothing is wanted of an image or video, or an output would overwrite an input
            or is a folder.
    """
    named = name_outputs(find_media(paths, out), out)
    videos = {source: is_video(source) for source in named}
    jobs = [Job(s, wanted.paths(stem, videos[s]), videos[s], settings) for s, stem in named.items()]
    if empty := [job for job in jobs if not job.targets]:
        of = f" of {shown(empty[0].source)}" if empty[0].video else ""
        raise SgcpError(f"nothing to write{of}: leave one of --labels, --colors, --overlay on")
    targets = [path for job in jobs for path in job.targets.values()]
    sources = {source.resolve() for source in named}
    if mixed := [path for path in targets if path.resolve() in sources]:
        raise SgcpError(f"{mixed[0]}: would be written over and is to be read too; another --out")
    if folders := [path for path in targets if path.is_dir()]:
        raise SgcpError(f"{folders[0]}: is a folder where a file belongs; take another --out DIR")
    return jobs


def finished(jobs: Sequence[Job]) -> frozenset[Path]:
    """Return the sources of which an earlier run has made every output, by the same settings."""
    begun = [job for job in jobs if all(path.is_file() for path in job.targets.values())]
    done = track(map_threads(Job.is_finished, begun, usable_cores()), "checking", len(begun))
    return frozenset(job.source for job, yes in zip(begun, done, strict=True) if yes)


def refuse_existing(jobs: Sequence[Job]) -> None:
    """Refuse to overwrite files that these jobs did not make.

    Raises:
        SgcpError: naming the first, and how many there are.
    """
    foreign = [
        path
        for job in jobs
        for path in job.targets.values()
        if path.exists() and not job.made(path)
    ]
    if foreign:
        raise SgcpError(
            f"{shorten(foreign, 1)}: exists, and was made by another model or other options, of "
            "another image, or not by sgcp. Pass --force to overwrite it, or another --out DIR"
        )


Paint = Callable[[UInt8, Iterable[str]], dict[str, UInt8]]


def label_images(
    jobs: Sequence[Job], paint: Paint, meaning: Meaning, workers: int, outcome: Outcome
) -> None:
    """Label images, several at a time; ``meaning`` goes into their label maps."""

    def label(job: Job) -> None:
        try:
            painted = paint(read_photo(job.source, outcome.doubts.append), job.targets)
        except SgcpError as error:
            outcome.failed[job.source] = str(error)
            return
        for kind, content in painted.items():
            made = {MADE: job.key}
            if kind == "labels":
                write_labels(job.targets[kind], content, meaning, made)
            else:
                write_png(job.targets[kind], content, made)

    with progress_bar(MofNCompleteColumn(), Rate()) as bar:
        done = map_threads(label, jobs, workers)
        for _ in bar.track(done, total=len(jobs), description="segmenting"):
            pass


def label_video(job: Job, paint: Paint, workers: int, outcome: Outcome) -> None:
    """Label a video, several frames at a time."""
    with progress_bar(MofNCompleteColumn(), Rate()) as bar:
        task = bar.add_task(printable(shown(job.source.name)), total=None)
        try:
            summary = transform_video(
                job.source,
                job.targets,
                lambda frame: paint(frame, job.targets),
                workers,
                lambda done, total: bar.update(task, completed=done, total=total),
                job.key,
            )
        except SgcpError as error:
            outcome.failed[job.source] = str(error)
            return
    outcome.frames += summary.frames
    outcome.notes += [f"{job.source}: {what}" for what in summary.left_out]


def render(
    image: UInt8, segmenter: Segmenter, look: Look, kinds: Iterable[str], alpha: float = SHARE
) -> dict[str, UInt8]:
    """Label (H, W, 3) and return the images of the kinds that are wanted."""
    labels = segmenter.segment(image, look.input_size, look.views)
    made = {"labels": labels}
    if {"colors", "overlay"} & set(kinds):
        made["colors"] = colorize(labels, segmenter.classes)
    if "overlay" in kinds:
        made["overlay"] = blend(image, made["colors"], alpha)
    return {kind: made[kind] for kind in kinds}


MADE = "sgcp-made"  # keyword of a PNG's text: ``Job.key``


@dataclass(frozen=True)
class Job:
    """One image or video, and the files to be made of it."""

    source: Path
    targets: Mapping[str, Path]
    video: bool
    settings: str
    """Digest of the model and of every option that changes the outputs."""

    @cached_property
    def key(self) -> str:
        """Digest of source and settings, which stands in each output."""
        return json_digest([file_sha256(self.source), self.settings])

    def made(self, path: Path) -> bool:
        """Tell whether an existing output was made of this source by these settings."""
        found = read_comment(path) if self.video else read_png_text(path).get(MADE)
        return found == self.key

    def is_finished(self) -> bool:
        """Tell whether every output exists and was made of this source by these settings."""
        return all(path.is_file() and self.made(path) for path in self.targets.values())


class Outcome:
    """What came of the jobs."""

    def __init__(self) -> None:
        self.started = perf_counter()
        self.frames = 0
        self.skipped: Collection[Path] = ()
        self.notes: list[str] = []
        self.doubts: list[str] = []
        self.failed: dict[Path, str] = {}

    def summary(self, out: Path, jobs: Sequence[Job]) -> dict[str, Any]:
        """Print what was left out and why, and in one line how many are labelled; return it."""
        left_out = [shown(message) for message in sorted(self.failed.values())]
        for message in [*left_out, *map(shown, self.notes)]:
            warn(f"left out: {message}")
        doubts = [shown(doubt) for doubt in sorted(self.doubts)]
        for doubt in doubts:
            warn(f"warning: {doubt}")
        kinds: dict[str, list[Job]] = {"images": [], "videos": []}
        for job in jobs:
            kinds["videos" if job.video else "images"].append(job)
        done = {
            kind: sum(job.source not in self.failed for job in those)
            for kind, those in kinds.items()
        }
        seconds = perf_counter() - self.started
        counts = ", ".join(f"{done[k]} of {len(those)} {k}" for k, those in kinds.items() if those)
        frames = f" ({self.frames:,} frames)" if kinds["videos"] else ""
        skipped = f", {len(self.skipped):,} of them skipped as finished" if self.skipped else ""
        new = sum(not job.video and job.source not in {*self.failed, *self.skipped} for job in jobs)
        rate = (self.frames + new) / seconds
        say(f"{out}: {counts}{frames}{skipped}, {rate:.1f} {'frames' if frames else 'images'}/s")
        return {
            "out": str(out),
            **{kind: len(those) for kind, those in kinds.items()},
            "labelled": sum(done.values()) - len(self.skipped),
            "skipped": len(self.skipped),
            "frames": self.frames,
            "seconds": round(seconds, 3),
            "left_out": left_out,
            "notes": [*map(shown, self.notes), *doubts],
        }


class Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """Return it as text."""
        return Text(f"{task.speed or 0:.1f}/s")
