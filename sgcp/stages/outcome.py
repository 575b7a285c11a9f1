"""What ``sgcp segment`` had to do and what came of it, counted for the person who waits."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.progress import ProgressColumn, Task
from rich.text import Text

from sgcp.datasets.images import read_png_text
from sgcp.files import file_sha256, json_digest
from sgcp.inference.video import read_comment
from sgcp.progress import say, warn
from sgcp.stages.media import shown

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
        skipped = f", {len(self.skipped):,} of them skipped as finished" if self.skipped else ""
        new = sum(not job.video and job.source not in {*self.failed, *self.skipped} for job in jobs)
        rate = (self.frames + new) / seconds
        say(f"{out}: {counts}{frames}{skipped}, {rate:.1f} {'frames' if frames else 'pictures'}/s")
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
