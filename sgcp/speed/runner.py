"""Candidates in processes of their own, timed by turns.

A process each separates one candidate's threads and memory from another's, and its peak memory is
that of a user's program. While one is timed, the others wait.
"""

from __future__ import annotations

import gc
import os
import signal
import timeit
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sgcp.core.errors import SgcpError
from sgcp.core.machine import peak_bytes
from sgcp.core.parallel import follow_parent
from sgcp.core.terminal import track
from sgcp.media.images import read_image
from sgcp.models import TRUSTED, trust
from sgcp.speed.candidates import TASKS, Ours, Reference, Spec

TIMED_RUNS = 3  # of a candidate's turn, after one that is not counted


class Runner:
    """A candidate's process, and the times measured so far."""

    def __init__(self, spec: Spec, paths: Sequence[Path]) -> None:
        self.spec, self.paths = spec, paths
        self.process = ProcessPoolExecutor(1, get_context("spawn"), _begin, (spec, list(TRUSTED)))
        tasks = ["network"] if spec.is_other else list(TASKS)  # the labels of others mean nothing
        self.seconds: dict[str, list[float]] = {task: [] for task in tasks}
        self.peak: dict[str, int] = {}
        self.other_labels: int | None = None
        """Pixels labelled otherwise than by eager PyTorch in fp32, over all images."""

    def take_turn(self, task: str) -> None:
        """Time a task once more."""
        self.seconds[task] += self.ask(task)
        # Not of a process that makes its own graph, which takes more memory than running it.
        if self.spec.engine == "torch" or not self.spec.is_other:
            self.peak["files" if task == "files" else "labels"] = self.ask("memory")

    def ask(self, request: str) -> Any:
        """Send a request and return its answer."""
        try:
            return self.process.submit(_answer, self.spec, self.paths, request).result()
        except BrokenProcessPool:
            raise SgcpError("its process ended, possibly out of memory") from None


def start_all(
    specs: list[Spec], paths: list[Path], stack: ExitStack, left_out: dict[str, str]
) -> list[Runner]:
    """Start the candidates one after the other; add to ``left_out`` why others do not start."""
    runners = []
    for spec in track(specs, "starting", len(specs)):
        runner = Runner(spec, paths)
        stack.enter_context(runner.process)
        try:
            runner.ask("network")  # until it is loaded and has run once
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


def _begin(spec: Spec, trusted: Sequence[str]) -> None:
    follow_parent()
    for network in trusted:
        trust(network)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a long turn at once
    if spec.device == "cpu" and hasattr(os, "sched_setaffinity"):
        # However many threads its libraries start, it has these cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: spec.threads])


_open = cache(Spec.open)


def _answer(spec: Spec, paths: Sequence[Path], request: str) -> Any:
    try:
        candidate, image = _open(spec), read_image(paths[0])
        if request == "memory":
            return peak_bytes()
        if request == "network" or not isinstance(candidate, Ours | Reference):
            return _time(candidate.network(image))
        if request == "label":
            return [candidate.label(read_image(path)) for path in paths]
        if request == "labels":
            return _time(lambda: candidate.label(image))
        with TemporaryDirectory() as folder:
            target = Path(folder)
            candidate.label_files(paths[:2], target)
            # timeit stops garbage collection, which a user's program has.
            seconds = timeit.timeit(
                lambda: candidate.label_files(paths, target), gc.enable, number=1
            )
        return [seconds / len(paths)]
    except SgcpError:
        raise
    except Exception as error:  # a library's own: reported, and the other candidates continue
        first = (str(error).splitlines() or [""])[0][:200]
        raise SgcpError(f"{type(error).__name__}: {first}") from None


def _time(run: Callable[[], Any]) -> list[float]:
    run()
    return timeit.repeat(run, gc.enable, repeat=TIMED_RUNS, number=1)
