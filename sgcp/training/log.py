"""What a training run shows and logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dvclive.live import Live
from rich.progress import MofNCompleteColumn, TextColumn
from scmrepo.exceptions import SCMError

from sgcp.core.errors import SgcpError
from sgcp.core.terminal import progress_bar, say
from sgcp.training.checkpoints import Progress

NONE = "-"  # shown before there is a number
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
        self.shown: dict[str, Any] = {"loss": NONE, "miou": NONE, "speed": NONE}
        self.bar = progress_bar(
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  mIoU {task.fields[miou]}"),
            TextColumn("{task.fields[speed]} images/s"),
        )
        if self.active:
            self.live = open_log(folder)

    def __enter__(self) -> Reporter:
        if self.active:
            self.bar.start()
            total = self.epochs * self.images
            self.task = self.bar.add_task(self.title(1), total=total, **self.shown)
        return self

    def __exit__(self, *error: object) -> None:
        if self.active:
            self.bar.stop()
            if error[0] is None:
                self.live.end()

    def title(self, epoch: int) -> str:
        """Return what stands before the bar."""
        return f"epoch {epoch}/{self.epochs}"

    def step(self, images: int, loss: float | None, speed: float) -> None:
        """Advance the bar to ``images`` of the epoch in progress.

        Args:
            loss: of the last step; None: no pixel of its batch was labelled.
            speed: images a second, without validation.
        """
        if self.active:
            if loss is not None:
                self.shown["loss"] = f"{loss:.3f}"
            self.shown["speed"] = f"{speed:.1f}"
            done = self.logged * self.images + images
            self.bar.update(
                self.task, description=self.title(self.logged + 1), completed=done, **self.shown
            )

    def validating(self, progress: Progress) -> None:
        """Say that the epoch in progress is trained, and is being scored."""
        if self.active:
            self.bar.update(
                self.task,
                description=f"{self.title(progress.epoch + 1)}, validating",
                completed=(progress.epoch + 1) * self.images,
            )

    def describe(self, content: dict[str, Any]) -> None:
        """Put what the numbers mean beside them, into DVCLive's metrics file."""
        if self.active:
            self.live.summary |= content
            self.live.make_summary()

    def resume(self, progress: Progress, steps: int) -> None:
        """Log the epochs of an earlier session again, and start the clock anew."""
        if self.active:
            place = f"at step {progress.step} of {steps} of epoch {progress.epoch + 1}"
            say(f"resuming {place if progress.step else f'after epoch {progress.epoch}'}")
            if progress.history:
                self.epoch(progress)
            title = self.title(progress.epoch + 1)
            self.bar.reset(self.task, completed=self.logged * self.images, description=title)

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
            if "miou" in row:
                self.shown["miou"] = f"{row['miou']:.3f}"
        row = progress.history[-1]
        if self.bar.disable:
            loss = f"{row['loss']:.4f}" if "loss" in row else f"{NONE} (no labelled pixel)"
            miou = f"  mIoU {row['miou']:.4f}" if "miou" in row else ""
            say(
                f"{self.title(progress.epoch)}  loss {loss}{miou}  "
                f"{row['images_per_second']:.1f} images/s, {row['waiting']:.1%} waiting for data"
            )
        self.bar.update(self.task, **self.shown)
