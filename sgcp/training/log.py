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


class Reporter:
    """Show and log a run: a progress bar, a line an epoch off a terminal, DVCLive's files.

    Args:
        folder: where DVCLive writes, empty at first: rows are replayed from the checkpoint after a
            resume. None: nothing is logged, in all processes but the first.
        epochs: of the whole run.
        images: seen in an epoch, by all processes together.
        about: stands beside the numbers in DVCLive's metrics file.
    """

    def __init__(
        self, folder: Path | None, epochs: int, images: int, about: dict[str, Any]
    ) -> None:
        self.epochs, self.images, self.logged = epochs, images, 0
        self.shown: dict[str, Any] = {"loss": NONE, "miou": NONE, "speed": NONE}
        self.bar = progress_bar(
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  mIoU {task.fields[miou]}"),
            TextColumn("{task.fields[speed]} images/s"),
        )
        self.live: Live | None = None
        if folder is None:
            return
        try:
            self.live = Live(
                str(folder), resume=False, report=None, save_dvc_exp=False, dvcyaml=None
            )
        except SCMError as error:
            raise SgcpError(
                f"{folder}: DVCLive needs a git repository with a commit ({error}); run "
                "`git add . && git commit -m start`"
            ) from None
        self.live.summary |= about
        self.live.make_summary()

    def __enter__(self) -> Reporter:
        self.bar.start()
        total = self.epochs * self.images
        self.task = self.bar.add_task(self._title(1), total=total, **self.shown)
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()
        if self.live and error[0] is None:
            self.live.end()

    def _title(self, epoch: int) -> str:
        return f"epoch {epoch}/{self.epochs}"

    def step(self, images: int, loss: float | None, speed: float, spent: float = 0.0) -> None:
        """Advance the bar to ``images`` of the epoch; a batch without labels has no loss.

        ``spent``: share of a time budget, which may end the run before its last epoch.
        """
        if loss is not None:
            self.shown["loss"] = f"{loss:.3f}"
        self.shown["speed"] = f"{speed:.1f}"
        title, done = self._title(self.logged + 1), self.logged * self.images + images
        done = max(done, int(min(1.0, spent) * self.epochs * self.images))
        self.bar.update(self.task, description=title, completed=done, **self.shown)

    def validating(self, progress: Progress) -> None:
        """Show that the epoch in progress is trained, and is being scored."""
        epoch = progress.epoch + 1
        title = f"{self._title(epoch)}, validating"
        self.bar.update(self.task, description=title, completed=epoch * self.images)

    def resume(self, progress: Progress, steps: int) -> None:
        """Log the epochs of an earlier session again, and restart the time estimate."""
        place = f"at step {progress.step} of {steps} of epoch {progress.epoch + 1}"
        say(f"resuming {place if progress.step else f'after epoch {progress.epoch}'}")
        if progress.history:
            self.epoch(progress)
        title = self._title(progress.epoch + 1)
        self.bar.reset(self.task, completed=self.logged * self.images, description=title)

    def epoch(self, progress: Progress) -> None:
        """Log the epochs that are not logged yet."""
        for row in progress.history[self.logged :]:
            self.logged += 1
            if "miou" in row:
                self.shown["miou"] = f"{row['miou']:.3f}"
            if self.live:
                self.live.step = self.logged
                for name, value in row.items():
                    if name not in TIMINGS:
                        self.live.log_metric(name, value, timestamp=False)
                self.live.make_summary()
        row = progress.history[-1]
        if self.bar.disable:
            loss = f"{row['loss']:.4f}" if "loss" in row else f"{NONE} (no labelled pixel)"
            miou = f"  mIoU {row['miou']:.4f}" if "miou" in row else ""
            say(
                f"{self._title(progress.epoch)}  loss {loss}{miou}  "
                f"{row['images_per_second']:.1f} images/s, {row['waiting']:.1%} waiting for data"
            )
        self.bar.update(self.task, **self.shown)
