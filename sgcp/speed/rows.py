"""What was measured of each candidate, and the table of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from sgcp.core.terminal import answer
from sgcp.speed.candidate import TASKS
from sgcp.speed.runner import Runner
from sgcp.speed.size import size_of
from sgcp.speed.specs import REFERENCE, Job


class Row:
    """One candidate's times, in seconds, and what else is known of it."""

    def __init__(self, runner: Runner, threads: int) -> None:
        self.runner = runner
        self.job = runner.job
        self.size = size_of(self.job)
        self.threads = threads
        self.seconds: dict[str, list[float]] = {task: [] for task in runner.tasks}
        self.peak: dict[str, int] = {}
        self.others: int | None = None
        """Pixels labelled otherwise than by eager PyTorch in fp32, over all images."""

    def take_turn(self, task: str) -> None:
        """Time a task once more."""
        self.seconds[task] += self.runner.ask(task)
        if not self.job.exports_itself:
            self.peak["files" if task == "files" else "labels"] = self.runner.ask("memory")

    def milliseconds(self, task: str, percentile: int = 50) -> float:
        """Return a percentile of a task's times."""
        return float(np.percentile(self.seconds[task], percentile)) * 1e3

    def to_json(self) -> dict[str, Any]:
        """Return what the metrics file says of it."""
        tasks = {
            task: {
                "p50_ms": round(self.milliseconds(task), 2),
                "p95_ms": round(self.milliseconds(task, 95), 2),
                "images_per_second": round(1e3 / self.milliseconds(task), 2),
                "runs": len(self.seconds[task]),
            }
            for task in self.seconds
        }
        return {
            "network": self.job.network,
            "engine": self.job.engine,
            "precision": self.job.precision,
            "device": self.job.device,
            "threads": self.threads,
            "tasks": tasks,
            "peak_mib": {task: round(peak / 2**20) for task, peak in self.peak.items()},
            "other_labels": self.others,
            **self.size,
        }


def title(job: Job) -> str:
    """Name a candidate in one line."""
    place = " GPU" if job.device == "cuda" else ""
    return f"{job.network}, {job.engine} {job.precision}{place}"


def show(rows: list[Row], left_out: dict[str, str], size: tuple[int, int]) -> None:
    """Print the table, with ratios to the authors' way; it fits 80 columns."""
    reference = next((row for row in rows if row.job.network == REFERENCE), None)
    table = Table(
        title=f"{size[0]}x{size[1]}, medians in ms; x: times as fast as the reference",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("network, engine")  # the one that wraps where it is narrow
    for heading in ("network", "labels", "files", "MiB", "differ"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [cell(row, reference, task) for task in TASKS]
        others = "" if row.others is None else f"{row.others:,}"
        peak = f"{row.peak['labels'] / 2**20:.0f}" if row.peak else ""
        table.add_row(title(row.job), *cells, peak, others)
    answer(table)
    answer("MiB: peak memory; differ: pixels labelled otherwise than by eager PyTorch in fp32")
    for name, reason in left_out.items():
        answer(f"left out: {name}: {reason}")


def cell(row: Row, reference: Row | None, task: str) -> str:
    """Return a time and its ratio to the authors'."""
    if task not in row.seconds:
        return ""
    took = row.milliseconds(task)
    text = f"{took:.1f}" if took < 1000 else f"{took:.0f}"
    if reference is None:
        return text
    return f"{text} {reference.milliseconds(task) / took:4.1f}x"
