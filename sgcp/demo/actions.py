"""What the page does: label what was dropped on it, show it in another way, cancel.

One thread does the work, one file after another: several at the same time would add up their
memory. It is let go of when the server ends: an image is soon labelled, but nobody wants to wait
for it.
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
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from sgcp.core.errors import DEBUG_VARIABLE, SgcpError, explain_os_error
from sgcp.demo import facts
from sgcp.demo.images import Labelled, Style, label_image
from sgcp.demo.model_cache import ModelCache
from sgcp.demo.videos import StoppedError, VideoJob
from sgcp.media.video import is_video

TICK = 0.25  # seconds between two looks at how far a video is
Result = TypeVar("Result")
Updates = tuple[Any, ...]


class Actions:
    """The page's actions, for several tabs at a time.

    Args:
        shelf: models on offer.
        folder: where results are written; removed at the end of the server.
        most_seconds: how long a video may be.
    """

    def __init__(self, shelf: ModelCache, folder: Path, most_seconds: float) -> None:
        self.shelf, self.folder, self.most_seconds = shelf, folder, most_seconds
        self.jobs: dict[str, VideoJob] = {}
        """Videos on their way, by tab."""
        self.turns: dict[str, int] = {}
        """How much each tab has asked to be labelled."""
        self.worker = ThreadPoolExecutor(1)
        self.busy = False
        """Whether it is at work."""

    async def label(
        self, source: str | None, model: str, engine: str, view: str, strength: float,
        kept: Labelled | None, request: gr.Request,
    ) -> AsyncIterator[Updates]:  # fmt: skip
        """Label the file that was dropped; yield what the page is to show."""
        if source is None:
            raise complaint("drop an image or a video on the page first")
        path, style, tab = Path(source), Style(view, strength / 100), request.session_hash or ""
        self.cancel(request)
        turn = self.turns[tab] = self.turns.get(tab, 0) + 1
        folder, job, given = None, None, False
        try:
            moving = await self.work(is_video, path)
            if self.turns.get(tab) != turn:  # something else was dropped meanwhile
                return
            folder = self.new_folder()
            if moving:
                target = folder / style.name(path.stem, ".mp4")
                take = partial(self.shelf.take, model, engine)
                job = VideoJob(path, target, take, style, self.most_seconds)
                self.jobs[tab] = job
                steps = self.label_video(job)
            else:
                made = await self.work(self.label_image, path, model, engine, style, folder)
                steps = one(self.show_image(made, style))
            async for updates in steps:
                if given := self.turns.get(tab) == turn:
                    yield updates
                    self.forget(kept)  # the page shows it no more
        except Exception as error:
            raise self.explain(error, path) from None
        finally:
            if job and self.jobs.get(tab) is job:
                del self.jobs[tab]
            if folder and not given:
                shutil.rmtree(folder, ignore_errors=True)

    async def label_again(
        self, source: str | None, model: str, engine: str, view: str, strength: float,
        kept: Labelled | None, request: gr.Request,
    ) -> AsyncIterator[Updates]:  # fmt: skip
        """Label an image anew, by other weights or another engine; a video waits to be asked."""
        if kept is None or source is None:
            yield (gr.skip(),) * len(show())
            return
        async for updates in self.label(source, model, engine, view, strength, kept, request):
            yield updates

    async def label_video(self, job: VideoJob) -> AsyncIterator[Updates]:
        """Yield how far a video is, and then the video."""
        running = asyncio.ensure_future(self.work(job.run))
        try:
            while not (await asyncio.wait({running}, timeout=TICK))[0]:
                yield show(facts=facts.video_progress(job.done, job.total, job.rate()), cancel=True)
            try:
                made = running.result()
            except StoppedError:
                yield show(facts="<p>Cancelled.</p>")
                return
        finally:
            job.stop.set()
        yield show(
            video=str(job.target),
            facts=facts.video_facts(made.frames, made.seconds, made.size, job.engine),
            legend=facts.legend(job.shares()),
            shown=job.target,
        )

    def label_image(
        self, path: Path, model: str, engine: str, style: Style, folder: Path
    ) -> Labelled:
        """Label an image, by a model that is loaded where need be."""
        return label_image(path, self.shelf.take(model, engine), style, folder)

    @staticmethod
    def show_image(kept: Labelled, style: Style) -> Updates:
        """Return what the page is to show of an image."""
        shown = kept.folder / style.name(kept.source.stem, ".png")
        return show(
            kept=kept,
            image=str(shown),
            facts=facts.image_facts(kept.timing),
            legend=facts.legend(kept.shares()),
            labels=kept.labels,
            shown=shown,
        )

    async def restyle(self, view: str, strength: float, kept: Labelled | None) -> Updates:
        """Show the labelled image in another way."""
        if kept is None:
            return gr.skip(), gr.skip()
        try:
            path = await self.work(kept.write_shown, Style(view, strength / 100))
        except Exception as error:
            raise self.explain(error, kept.source) from None
        return str(path), gr.DownloadButton(value=path)

    def cancel(self, request: gr.Request) -> None:
        """Stop this tab's video, if there is one."""
        if job := self.jobs.pop(request.session_hash or "", None):
            job.stop.set()

    def leave(self, request: gr.Request) -> None:
        """Forget a tab that is closed."""
        self.cancel(request)
        self.turns.pop(request.session_hash or "", None)

    def stop(self) -> None:
        """Stop all work: the server ends."""
        self.worker.shutdown(wait=False, cancel_futures=True)
        for job in list(self.jobs.values()):
            job.stop.set()

    @staticmethod
    def forget(kept: Labelled | None) -> None:
        """Remove a result's files: another takes its place, or its tab is closed."""
        if kept is not None:
            shutil.rmtree(kept.folder, ignore_errors=True)

    def new_folder(self) -> Path:
        """Return a new folder for one result."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    async def work(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run in the thread for work, after what was asked for before."""

        def run() -> Result:
            self.busy = True
            try:
                return function(*arguments)
            finally:
                self.busy = False

        return await asyncio.get_running_loop().run_in_executor(self.worker, run)

    @staticmethod
    def explain(error: Exception, path: Path) -> gr.Error:
        """Return what a person is shown: one sentence, with the name of the file they know."""
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
    """Return an error of the page; the sentence is text, not HTML."""
    return gr.Error(facts.text(sentence), title="That did not work", print_exception=False)


async def one(updates: Updates) -> AsyncIterator[Updates]:
    """Yield updates, once."""
    yield updates


def show(
    kept: Labelled | None = None, image: str | None = None, video: str | None = None,
    facts: str = "", legend: str = "", labels: Path | None = None, shown: Path | None = None,
    cancel: bool = False,
) -> Updates:  # fmt: skip
    """Return what the page is to show, in the order of its parts; what is not given is empty."""
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
