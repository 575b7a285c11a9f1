"""What the page does: label a dropped file, show it in another style, cancel; results as HTML.

One worker thread labels one file after another: several at a time would add up their memory. The
server does not wait for it when it ends.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import traceback
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from sgcp.core.errors import DEBUG_VARIABLE, SgcpError, explain_os_error, printable
from sgcp.demo.media import (
    Facts,
    LabelledImage,
    Shares,
    StoppedError,
    Style,
    VideoJob,
    label_image,
    shares,
)
from sgcp.demo.model_cache import ModelCache
from sgcp.media.formats import is_video

TICK = 0.25  # seconds between two updates of a video's progress
Result = TypeVar("Result")
Updates = tuple[Any, ...]


class Actions:
    """The page's actions, for several tabs at a time.

    Args:
        models: the models on offer.
        folder: where results are written; removed at the end of the server.
        max_seconds: of a video.
    """

    def __init__(self, models: ModelCache, folder: Path, max_seconds: float) -> None:
        self.models, self.folder, self.max_seconds = models, folder, max_seconds
        self.jobs: dict[str, VideoJob] = {}
        """Running videos, by tab."""
        self.turns: dict[str, int] = {}
        """Number of requests, by tab."""
        self.worker = ThreadPoolExecutor(1)
        self.busy = False
        """Whether the worker runs."""

    async def label(
        self, source: str | None, model: str, engine: str, view: str, strength: float,
        kept: LabelledImage | None, request: gr.Request,
    ) -> AsyncIterator[Updates]:  # fmt: skip
        """Label the dropped file; yield updates of the page."""
        if source is None:
            raise complaint("Drop an image or a video on the page first")
        path, style, tab = Path(source), Style(view, strength / 100), request.session_hash or ""
        self.cancel(request)
        turn = self.turns[tab] = self.turns.get(tab, 0) + 1
        take = partial(self.models.take, model, engine)
        folder, job, given = None, None, False
        try:
            moving = await self.work(is_video, path)
            if self.turns.get(tab) != turn:  # another file was dropped meanwhile
                return
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            if moving:
                target = folder / style.name(path.stem, ".mp4")
                job = self.jobs[tab] = VideoJob(path, target, take, style, self.max_seconds)
                steps = self.label_video(job)
            else:
                steps = self.label_image(path, take, style, folder)
            async for updates in steps:
                if given := self.turns.get(tab) == turn:
                    yield updates
                    self.forget(kept)  # the page no longer shows it
        except Exception as error:
            raise explain(error, path) from None
        finally:
            if job and self.jobs.get(tab) is job:
                del self.jobs[tab]
            if folder and not given:
                shutil.rmtree(folder, ignore_errors=True)

    async def label_again(
        self, source: str | None, model: str, engine: str, view: str, strength: float,
        kept: LabelledImage | None, request: gr.Request,
    ) -> AsyncIterator[Updates]:  # fmt: skip
        """Label an image again with other weights or another engine; a video needs the button."""
        if kept is None or source is None:
            yield (gr.skip(),) * len(show())
            return
        async for updates in self.label(source, model, engine, view, strength, kept, request):
            yield updates

    async def label_image(
        self, path: Path, take: Callable[[], Any], style: Style, folder: Path
    ) -> AsyncIterator[Updates]:
        """Yield the labelled image."""
        yield show_image(await self.work(lambda: label_image(path, take(), style, folder)), style)

    async def label_video(self, job: VideoJob) -> AsyncIterator[Updates]:
        """Yield the progress of a video, then the video."""
        running = asyncio.ensure_future(self.work(job.run))
        try:
            while not (await asyncio.wait({running}, timeout=TICK))[0]:
                yield show(facts=_progress(job), cancel=True)
            found = running.result()
        except StoppedError:
            yield show(facts="<p>Cancelled.</p>")
            return
        finally:
            job.stop.set()
        legend = _legend(shares(job.counts, job.classes))
        yield show(video=str(job.target), facts=_list(found), legend=legend, shown=job.target)

    async def restyle(self, view: str, strength: float, kept: LabelledImage | None) -> Updates:
        """Show the labelled image in another style."""
        if kept is None:
            return gr.skip(), gr.skip()
        try:
            path = await self.work(kept.write_view, Style(view, strength / 100))
        except Exception as error:
            raise explain(error, kept.source) from None
        return str(path), gr.DownloadButton(value=path)

    def cancel(self, request: gr.Request) -> None:
        """Stop this tab's video, if there is one."""
        if job := self.jobs.pop(request.session_hash or "", None):
            job.stop.set()

    def leave(self, request: gr.Request) -> None:
        """Forget a closed tab."""
        self.cancel(request)
        self.turns.pop(request.session_hash or "", None)

    def stop(self) -> None:
        """Stop all work: the server ends."""
        self.worker.shutdown(wait=False, cancel_futures=True)
        for job in list(self.jobs.values()):
            job.stop.set()

    @staticmethod
    def forget(kept: LabelledImage | None) -> None:
        """Remove the files of a result that is replaced or whose tab is closed."""
        if kept is not None:
            shutil.rmtree(kept.folder, ignore_errors=True)

    async def work(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run a function in the worker, after earlier ones."""

        def run() -> Result:
            self.busy = True
            try:
                return function(*arguments)
            finally:
                self.busy = False

        return await asyncio.get_running_loop().run_in_executor(self.worker, run)


def explain(error: Exception, path: Path) -> gr.Error:
    """Return one sentence for the page, with the name of the user's file."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, SgcpError):
        return complaint(str(error).replace(str(path), path.name))
    if isinstance(error, OSError):
        place = str(error.filename)
        return complaint(explain_os_error(error).replace(place, Path(place).name))
    if DEBUG_VARIABLE in os.environ:
        traceback.print_exception(error)
    return complaint(f"unexpected {type(error).__name__}; this is a bug in sgcp")


def complaint(sentence: str) -> gr.Error:
    """Return an error for the page; the sentence is text, not HTML."""
    return gr.Error(_escaped(sentence), title="That did not work", print_exception=False)


def show(
    kept: LabelledImage | None = None, image: str | None = None, video: str | None = None,
    facts: str = "", legend: str = "", labels: Path | None = None, shown: Path | None = None,
    cancel: bool = False,
) -> Updates:  # fmt: skip
    """Return updates of the page's parts in their order; parts that are not given become empty."""
    return (
        kept,
        gr.Image(image, visible=image is not None),
        gr.Video(video, visible=video is not None),
        facts,
        gr.HTML(legend, visible=bool(legend)),
        gr.DownloadButton(value=labels, visible=labels is not None),
        gr.DownloadButton(value=shown, visible=shown is not None),
        gr.Button(visible=cancel),
    )


def show_image(made: LabelledImage, style: Style) -> Updates:
    """Return the page's updates for an image."""
    shown = made.folder / style.name(made.source.stem, ".png")
    return show(
        kept=made, image=str(shown), facts=_list(made.facts),
        legend=_legend(shares(made.counts, made.classes)), labels=made.labels, shown=shown,
    )  # fmt: skip


def _escaped(content: object) -> str:
    return escape(printable(content))


def _legend(found: Shares) -> str:
    """Return a table of classes: colour, name, share of the pixels."""
    rows = "".join(
        f'<tr><td><span class="swatch" style="background:rgb{item.color}"></span></td>'
        f'<th scope="row">{_escaped(item.name)}</th>'
        f'<td class="number">{100 * share:.1f} %</td></tr>'
        for item, share in found
    )
    head = '<tr><th scope="col">Colour</th><th scope="col">Class</th>' \
           '<th scope="col" class="number">Share</th></tr>'  # fmt: skip
    return f'<table class="legend"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _list(facts: Facts) -> str:
    rows = (f"<div><dt>{name}</dt><dd>{_escaped(value)}</dd></div>" for name, value in facts)
    return f'<dl class="facts">{"".join(rows)}</dl>'


def _progress(job: VideoJob) -> str:
    known, of = "", ""
    if job.total:
        known, of = f'value="{job.done}" max="{job.total}"', f" of {job.total}"
    return (
        f'<progress {known} aria-label="Frames done"></progress>'
        f"<p>{job.done}{of} frames, {job.rate():.1f} frames/s</p>"
    )
