"""Candidates in processes of their own, timed by turns.

A process each separates one candidate's threads and memory from another's, and its peak memory is
that of a user's program. While one is timed, the others wait for their pipe.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sgcp.core.errors import SgcpError
from sgcp.core.memory import peak_bytes
from sgcp.core.terminal import track
from sgcp.media.images import read_image
from sgcp.speed.candidates import TASKS, Baseline, Candidate, Spec
from sgcp.speed.timing import seconds_of

TIMED_RUNS = 3  # of a candidate's turn, after one that is not counted


class Runner:
    """The parent's end of a candidate's process, and the times measured so far."""

    def __init__(self, spec: Spec, paths: Sequence[Path]) -> None:
        context = multiprocessing.get_context("spawn")
        self.spec = spec
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(spec, list(paths), theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.seconds: dict[str, list[float]] = {}
        self.peak: dict[str, int] = {}
        self.other_labels: int | None = None
        """Pixels labelled otherwise than by eager PyTorch in fp32, over all images."""

    def start(self) -> None:
        """Wait until the candidate is loaded and has run once.

        Raises:
            SgcpError: it is not available on this machine.
        """
        self.seconds = {task: [] for task in self.ask("tasks")}
        self.ask("network")

    def take_turn(self, task: str) -> None:
        """Time a task once more."""
        self.seconds[task] += self.ask(task)
        if not self.spec.exports_itself:
            self.peak["files" if task == "files" else "labels"] = self.ask("memory")

    def ask(self, *request: Any) -> Any:
        """Send a request and return its answer.

        Raises:
            SgcpError: it failed, or its process ended.
        """
        try:
            self.pipe.send(request)
            answer = self.pipe.recv()
        except (EOFError, OSError):
            raise SgcpError("its process ended, possibly out of memory") from None
        if isinstance(answer, SgcpError):
            raise answer
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.join()


def start_all(
    specs: list[Spec], paths: list[Path], stack: ExitStack, left_out: dict[str, str]
) -> list[Runner]:
    """Start the candidates one after the other; add to ``left_out`` why others do not start.

    Raises:
        SgcpError: none starts.
    """
    runners = []
    for spec in track(specs, "starting", len(specs)):
        runner = Runner(spec, paths)
        stack.callback(runner.close)
        try:
            runner.start()
            runners.append(runner)
        except SgcpError as error:
            left_out[spec.title] = str(error)
    if not runners:
        raise SgcpError(f"nothing could be timed: {'; '.join(left_out.values())}")
    return runners


def take_turns(runners: list[Runner], rounds: int) -> None:
    """Time every task of every candidate, by turns, so that a noisy moment hits all alike."""
    turns = [
        (runner, task)
        for task in TASKS  # the folder last: its second engine adds to the peak memory
        for _ in range(rounds)
        for runner in runners
        if task in runner.seconds
    ]
    for runner, task in track(turns, "timing", len(turns)):
        runner.take_turn(task)


def _serve(spec: Spec, paths: list[Path], pipe: Connection) -> None:
    """Open a candidate and answer requests until the pipe closes."""
    if spec.device == "cpu" and hasattr(os, "sched_setaffinity"):
        # However many threads its libraries start, it has these cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: spec.threads])
    candidate: Candidate | None = None
    while True:
        try:
            request = pipe.recv()
            candidate = candidate or spec.open()
            pipe.send(_answer(candidate, paths, *request))
        except (EOFError, KeyboardInterrupt):
            return
        except SgcpError as error:
            pipe.send(error)
        except Exception as error:  # a library's own: reported, and the other candidates continue
            first = (str(error).splitlines() or [""])[0][:200]
            pipe.send(SgcpError(f"{type(error).__name__}: {first}"))


def _answer(candidate: Candidate, paths: list[Path], request: str) -> Any:
    if request == "tasks":
        return candidate.tasks
    if request == "memory":
        return peak_bytes()
    image = read_image(paths[0])
    if request == "network" or isinstance(candidate, Baseline):
        return _time(candidate.network(image))
    if request == "label":
        return [candidate.label(read_image(path)) for path in paths]
    if request == "files":
        with TemporaryDirectory() as folder:
            candidate.label_files(paths[:2], Path(folder))
            seconds = seconds_of(lambda: candidate.label_files(paths, Path(folder)))
        return [seconds / len(paths)]
    return _time(lambda: candidate.label(image))


def _time(run: Callable[[], Any]) -> list[float]:
    run()
    return [seconds_of(run) for _ in range(TIMED_RUNS)]
