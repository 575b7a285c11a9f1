"""What ``sgcp segment`` had to do and what came of it, counted for the person who waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.progress import ProgressColumn, Task
from rich.text import Text

from sgcp.progress import say, warn
from sgcp.stages.media import shown


@dataclass(frozen=True)
class Job:
    """One picture or video, and the files to be made of it."""

    source: Path
    targets: Mapping[str, Path]
    video: bool


class Outcome:
    """What came of the jobs."""

    def __init__(self) -> None:
        self.started = perf_counter()
        self.frames = 0
        self.notes: list[str] = []
        self.failed: dict[Path, str] = {}

    def summary(self, out: Path, jobs: Sequence[Job]) -> dict[str, Any]:
        """Print what was left out and why, and in one line how many were labelled; return it."""
        left_out = [shown(message) for message in sorted(self.failed.values())]
        for message in [*left_out, *map(shown, self.notes)]:
            warn(f"left out: {message}")
        kinds: dict[str, list[Job]] = {"pictures": [], "videos": []}
        for job in jobs:
            kinds["videos" if job.video else "pictures"].append(job)
        done = {
            kind: sum(job.source not in self.failed for job in those)
            for kind, those in kinds.items()
        }
        seconds = perf_counter() - self.started
        counts = ", ".join(f"{done[k]} of {len(those)} {k}" for k, those in kinds.items() if those)
        frames = f" ({self.frames:,} frames)" if kinds["videos"] else ""
        rate = (self.frames + done["pictures"]) / seconds
        say(f"{out}: {counts}{frames}, {rate:.1f} {'frames' if frames else 'pictures'}/s")
        return {
            "out": str(out),
            **{kind: len(those) for kind, those in kinds.items()},
            "labelled": sum(done.values()),
            "frames": self.frames,
            "seconds": round(seconds, 3),
            "left_out": left_out,
            "notes": [shown(note) for note in self.notes],
        }


class Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """Return it as text."""
        return Text(f"{task.speed or 0:.1f}/s")
