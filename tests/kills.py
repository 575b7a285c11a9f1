"""Run stages in processes that can be killed at any moment, and compare what they leave."""

import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

STAGES = ("download", "prepare", "train", "validate", "predict", "package-submission")
# What leaves a trace on the disk; each is a moment at which a crash could show.
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "shutil.rmtree"}

# One process imports torch; the others are forked from it, ready at once.
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    ["sgcp.cli", *(f"sgcp.stages.{name.split('-')[0]}" for name in STAGES), "kills"]
)


class Countdown:
    """Count changes of the file system by this process; end it, killed, at the ``kill_at``-th."""

    def __init__(self, kill_at: int | None) -> None:
        self.kill_at = kill_at
        self.seen = 0
        self.process = os.getpid()

    def __call__(self, event: str, arguments: tuple) -> None:
        opens = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if (event in CHANGES or opens) and os.getpid() == self.process:
            self.seen += 1
            if self.seen == self.kill_at:
                os.kill(self.process, signal.SIGKILL)


def run(root: Path, stage: str, kill_at: int | None) -> None:
    """Run one stage, with its options, on the sample; the entry point of a forked process."""
    os.chdir(root)
    sys.dont_write_bytecode = True  # which a first run would count among its changes
    log = os.open(root / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from sgcp.cli import app

    countdown = Countdown(kill_at)
    sys.addaudithook(countdown)
    try:
        name, *options = stage.split()
        app([name, "sample", *options])
    finally:
        (root / "changes.txt").write_text(str(countdown.seen))


def finish(root: Path, stage: str) -> tuple[int, float]:
    """Run a stage to its end; return how many changes it made, and in how many seconds."""
    started = time.monotonic()
    process = context.Process(target=run, args=(root, stage, None))
    process.start()
    process.join()
    assert process.exitcode == 0, (root / "log.txt").read_text()[-2000:]
    seconds = time.monotonic() - started
    return int((root / "changes.txt").read_text()), seconds


def kill_at_change(
    root: Path, stage: str, number: int | None, seconds: float | None = None
) -> bool:
    """Run a stage; kill it just before its ``number``-th change of the file system, or in time.

    Returns:
        Whether it was killed: a second run has less to do.
    """
    process = context.Process(target=run, args=(root, stage, number))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), (root / "log.txt").read_text()[-2000:]
    return process.exitcode != 0


def kill_somewhere(root: Path, stage: str, rng: random.Random, whole: tuple[int, float]) -> str:
    """Kill a stage once, at a random change or a random moment; return which."""
    changes, seconds = whole
    if rng.random() < 0.5:
        number = rng.randint(1, changes)
        landed, place = kill_at_change(root, stage, number), f"change {number} of {changes}"
    else:
        moment = rng.uniform(0, seconds)
        landed, place = (
            kill_at_change(root, stage, None, moment),
            f"{moment:.3f} s of {seconds:.3f} s",
        )
    return place if landed else f"{place}, too late"


def tree(root: Path, *parts: str) -> dict[str, bytes]:
    """Return every file below some folders, data and metrics unless named, with its content."""
    files = (path for part in parts or ("data", "metrics") for path in (root / part).rglob("*"))
    # Locks stay, empty; stamps hold times.
    kept = (p for p in files if p.is_file() and not p.name.endswith((".lock", ".stamps.json")))
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in kept}
