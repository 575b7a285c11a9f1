"""What ``sgcp segment`` had to do and what came of it, counted for the person who waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from rich.progress import ProgressColumn, Task
from rich.text import Text

from sgcp.progress import say
from sgcp.stages.media import shown


@dataclass(frozen=True)
class Job:
    """One picture or video, and the files to be made of it."""

    source: Path
    targets: Mapping[str, Path]
    video: bool


class Tally:
    """What came of the jobs."""

    def __init__(self) -> None:
        self.started = perf_counter()
        self.frames = 0
        self.notes: list[str] = []
        self.failed: dict[Path, str] = {}

    def say(self, out: Path, jobs: Sequence[Job]) -> None:
        """Print what was left out and why, and in one line how many were labelled."""
        for message in [*sorted(self.failed.values()), *self.notes]:
            say(f"left out: {shown(message)}")
        parts, seen = [], self.frames
        for kind, video in (("pictures", False), ("videos", True)):
            all_ = [job.source for job in jobs if job.video == video]
            done = len([source for source in all_ if source not in self.failed])
            if all_:
                parts.append(f"{done} of {len(all_)} {kind}")
            seen += 0 if video else done
        frames = f" ({self.frames:,} frames)" if any(job.video for job in jobs) else ""
        rate = seen / (perf_counter() - self.started)
        say(f"{out}: {', '.join(parts)}{frames}, {rate:.1f} {'frames' if frames else 'pictures'}/s")


class Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """Return it as text."""
        return Text(f"{task.speed or 0:.1f}/s")
