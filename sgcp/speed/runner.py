"""Contenders in processes of their own, timed by turns.

A process each keeps one contender's threads and memory from another's, and its peak memory is what
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

from sgcp.datasets.images import read_image, write_png
from sgcp.errors import SgcpError
from sgcp.memory import peak_bytes
from sgcp.speed.contender import Contender
from sgcp.speed.jobs import Job

TIMED_RUNS = 3  # of a contender's turn, after one that is not counted


class Runner:
    """The parent's end of a contender's process."""

    def __init__(self, job: Job, pictures: Sequence[Path]) -> None:
        context = multiprocessing.get_context("spawn")
        self.job = job
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(job, list(pictures), theirs), daemon=True
        )
        self.process.start()
        theirs.close()
        self.tasks: tuple[str, ...] = ()

    def start(self) -> None:
        """Wait until the contender is loaded and has run once.

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


def serve(job: Job, pictures: list[Path], pipe: Connection) -> None:
    """Open a contender and answer requests until the pipe closes."""
    if job.device == "cpu" and hasattr(os, "sched_setaffinity"):
        # However many threads its libraries start, it has these cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
    try:
        contender: Contender | SgcpError = job.open()
    except SgcpError as error:
        contender = error
    except Exception as error:  # a library's own: it is told, and the others go on
        contender = SgcpError(_one_line(error))
    while True:
        try:
            request = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            if isinstance(contender, SgcpError):
                raise contender
            pipe.send(_answer(contender, pictures, *request))
        except KeyboardInterrupt:
            return
        except SgcpError as error:
            pipe.send(error)
        except Exception as error:
            pipe.send(SgcpError(_one_line(error)))


def _one_line(error: Exception) -> str:
    """Return what kind of error it is, and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def _answer(contender: Contender, pictures: list[Path], kind: str, *details: Any) -> Any:
    if kind == "tasks":
        return contender.tasks
    if kind == "memory":
        return peak_bytes()
    if kind == "label":
        return [contender.label(read_image(picture)) for picture in pictures]
    if kind == "files":
        return [_time_files(contender, pictures)]
    image = read_image(pictures[0])
    run = contender.network(image) if kind == "network" else lambda: contender.label(image)
    run()
    return [_time(run) for _ in range(TIMED_RUNS)]


def _time(run: Any) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _time_files(contender: Contender, pictures: list[Path]) -> float:
    """Return seconds a picture over the folder."""
    with TemporaryDirectory() as folder:
        contender.label_files(pictures[:2], Path(folder))
        seconds = _time(lambda: contender.label_files(pictures, Path(folder)))
    return seconds / len(pictures)


def write_pictures(images: Sequence[np.ndarray], folder: Path) -> list[Path]:
    """Write the pictures that every contender reads."""
    paths = [folder / f"{index:03}.png" for index in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        write_png(path, image)
    return paths
