"""What a training run shows and logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dvclive.live import Live
from rich.progress import MofNCompleteColumn, TextColumn
from scmrepo.exceptions import SCMError

from sgcp.errors import SgcpError
from sgcp.progress import progress_bar, say
from sgcp.training.checkpoints import Progress

TIMINGS = ("images_per_second", "waiting")  # differ between equal runs: shown, not logged


def open_log(folder: Path) -> Live:
    """Open DVCLive's log, empty: rows are replayed from the checkpoint after a resume.

    Raises:
        SgcpError: the git repository around it has no commit.
    """
    try:
        return Live(str(folder), resume=False, report=None, save_dvc_exp=False, dvcyaml=None)
    except SCMError as error:
        raise SgcpError(
            f"{folder}: DVCLive needs a git repository with a commit ({error}); run `git commit`"
        ) from None


class Reporter:
    """Show and log a run: a progress bar, a line an epoch off a terminal, DVCLive's files.

    Args:
        folder: where DVCLive writes.
        epochs: of the whole run.
        images: seen in an epoch, by all processes together.
        active: whether this process reports; of several, one does.
    """

    def __init__(self, folder: Path, epochs: int, images: int, active: bool) -> None:
        self.active = active
        self.epochs = epochs
        self.images = images
        self.logged = 0
        self.miou = float("nan")
        self.bar = progress_bar(
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  mIoU {task.fields[miou]:.3f}"),
            TextColumn("{task.fields[speed]:.1f} images/s"),
        )
        if self.active:
            self.live = open_log(folder)

    def __enter__(self) -> Reporter:
        if self.active:
            self.bar.start()
            self.task = self.bar.add_task("epoch 1", total=None, loss=0, miou=self.miou, speed=0)
        return self

    def __exit__(self, *error: object) -> None:
        if self.active:
            self.bar.stop()
            if error[0] is None:
                self.live.end()

    def step(self, images: int, loss: float) -> None:
        """Advance the bar to ``images`` of the epoch in progress."""
        if self.active:
            done = self.logged * self.images + images
            speed = self.bar.tasks[0].speed or 0
            total = self.epochs * self.images
            self.bar.update(self.task, completed=done, total=total, loss=loss, speed=speed)

    def describe(self, content: dict[str, Any]) -> None:
        """Put what the numbers mean beside them, into DVCLive's metrics file."""
        if self.active:
            self.live.summary |= content

    def resume(self, progress: Progress, steps: int) -> None:
        """Log the epochs of an earlier session again, and start the clock anew."""
        if self.active:
            place = f"at step {progress.step} of {steps} of epoch {progress.epoch + 1}"
            say(f"resuming {place if progress.step else f'after epoch {progress.epoch}'}")
            if progress.history:
                self.epoch(progress)
            self.bar.reset(self.task, completed=self.logged * self.images)

    def epoch(self, progress: Progress) -> None:
        """Log the epochs that are not logged yet."""
        if not self.active:
            return
        for row in progress.history[self.logged :]:
            self.logged += 1
            self.live.step = self.logged
            for name, value in row.items():
                if name not in TIMINGS:
                    self.live.log_metric(name, value, timestamp=False)
            self.live.make_summary()
            self.miou = row.get("miou", self.miou)
        row = progress.history[-1]
        self.bar.update(self.task, description=f"epoch {self.logged + 1}", miou=self.miou)
        if self.bar.disable:
            miou = f"  mIoU {row['miou']:.4f}" if "miou" in row else ""
            say(
                f"epoch {progress.epoch}/{self.epochs}  loss {row['loss']:.4f}{miou}  "
                f"{row['images_per_second']:.1f} images/s, {row['waiting']:.1%} waiting for data"
            )
