"""Contenders in processes of their own, timed by turns.

A process each keeps one candidate's threads and memory from another's, and its peak memory is what
a user's program would take. While one is timed the others wait for their pipe.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.core.memory import peak_bytes
from sgcp.media.images import read_image, write_png
from sgcp.speed.candidate import Candidate
from sgcp.speed.specs import Job

TIMED_RUNS = 3  # of a candidate's turn, after one that is not counted


class Runner:
    """The parent's end of a candidate's process."""

    def __init__(self, job: Job, paths: Sequence[Path]) -> None:
        context = multiprocessing.get_context("spawn")
        self.job = job
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(job, list(paths), theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.tasks: tuple[str, ...] = ()

    def start(self) -> None:
        """Wait until the candidate is loaded and has run once.

        Raises:
            SgcpError: it cannot be had here.
        """
        self.tasks = self.ask("tasks")
        self.ask("network")

    def ask(self, *request: Any) -> Any:
        """Send a request and return its answer.

        Raises:
            SgcpError: it failed, or its process is gone.
        """
        try:
            self.pipe.send(request)
            answer = self.pipe.recv()
        except (EOFError, OSError):
            raise SgcpError("its process ended, perhaps for want of memory") from None
        if isinstance(answer, SgcpError):
            raise answer
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.join()


def serve(job: Job, paths: list[Path], pipe: Connection) -> None:
    """Open a candidate and answer requests until the pipe closes."""
    if job.device == "cpu" and hasattr(os, "sched_setaffinity"):
        # However many threads its libraries start, it has these cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
    try:
        candidate: Candidate | SgcpError = job.open()
    except SgcpError as error:
        candidate = error
    except Exception as error:  # a library's own: it is told, and the others go on
        candidate = SgcpError(_one_line(error))
    while True:
        try:
            request = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            if isinstance(candidate, SgcpError):
                raise candidate
            pipe.send(_answer(candidate, paths, *request))
        except KeyboardInterrupt:
            return
        except SgcpError as error:
            pipe.send(error)
        except Exception as error:
            pipe.send(SgcpError(_one_line(error)))


def _one_line(error: Exception) -> str:
    """Return what kind of error it is, and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def _answer(candidate: Candidate, paths: list[Path], kind: str, *details: Any) -> Any:
    if kind == "tasks":
        return candidate.tasks
    if kind == "memory":
        return peak_bytes()
    if kind == "label":
        return [candidate.label(read_image(path)) for path in paths]
    if kind == "files":
        return [_time_files(candidate, paths)]
    image = read_image(paths[0])
    run = candidate.network(image) if kind == "network" else lambda: candidate.label(image)
    run()
    return [_time(run) for _ in range(TIMED_RUNS)]


def _time(run: Any) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _time_files(candidate: Candidate, paths: list[Path]) -> float:
    """Return seconds an image over the folder."""
    with TemporaryDirectory() as folder:
        candidate.label_files(paths[:2], Path(folder))
        seconds = _time(lambda: candidate.label_files(paths, Path(folder)))
    return seconds / len(paths)


def write_images(images: Sequence[np.ndarray], folder: Path) -> list[Path]:
    """Write the images that every candidate reads."""
    paths = [folder / f"{index:03}.png" for index in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        write_png(path, image)
    return paths
