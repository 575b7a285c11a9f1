"""Resume checkpoints: the whole state of a training run between two steps."""

from __future__ import annotations

import hashlib
import io
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from sgcp.core.files import write_bytes
from sgcp.core.terminal import say

NAMES = ("a.ckpt", "b.ckpt")
MAGIC = b"sgcp-resume-2 "  # then the SHA-256 of all that follows the line, and a line end


@dataclass
class Progress:
    """Where a run stands."""

    fingerprint: str
    """Settings, code and data that the run belongs to: another run's checkpoint is not resumed."""
    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    """Finished steps of the epoch in progress."""
    losses: list[float | None] = field(default_factory=list)
    """Loss of each of those steps; None where no pixel of the batch was labelled."""
    lr: float = 0.0
    """Learning rate of the last step."""
    best_miou: float = -1.0
    best_epoch: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    """One row an epoch: what DVCLive logs, replayed after a resume."""
    seconds: float = 0.0
    """Training time so far, over all sessions, without validation."""
    validated: float = 0.0
    """Seconds of validation, likewise."""
    waited: float = 0.0
    """Seconds of it spent waiting for data."""
    images: int = 0
    """Images trained on in that time, by all processes together."""
    threads: list[int] = field(default_factory=list)
    """Numbers of threads of torch, in turn; several if a run resumed with another. They round
    differently on a CPU, and change nothing on a GPU: there, none is listed."""


class Checkpoints:
    """Two files in rotation, with checksums: if a power cut corrupts one, the other is used.

    Args:
        parts: what has a state: network, optimizer, schedule, precision.
        seconds: interval between two checkpoints; 0: every step.
    """

    def __init__(
        self, fabric: Fabric, folder: Path, parts: dict[str, Any], fingerprint: str, seconds: float
    ) -> None:
        self.fabric, self.parts, self.folder = fabric, parts, folder
        self.paths = [folder / name for name in NAMES]  # the next one to overwrite stands first
        self.fingerprint, self.seconds = fingerprint, seconds
        self.saved_at = time.monotonic()

    def restore(self) -> Progress:
        """Load the newest state of this run into every part; without one, start from the beginning.

        The first process reads for all, so machines need not share a disk.
        """
        content = self.fabric.broadcast(self._read_newest() if self.fabric.is_global_zero else None)
        if content is None:
            return Progress(self.fingerprint)
        for name, part in self.parts.items():
            part.load_state_dict(content[name])
        _restore_random(content["random"])
        return Progress(**content["progress"])

    def save(self, progress: Progress) -> None:
        """Overwrite the older of the two files; only the first process writes."""
        self.saved_at = time.monotonic()
        if self.fabric.is_global_zero:
            states = {name: part.state_dict() for name, part in self.parts.items()}
            content = states | {"random": _random_states(), "progress": vars(progress)}
            write_bytes(self.paths[0], pack(content))
            self.paths.reverse()

    def save_if_due(self, progress: Progress) -> None:
        """Write the state if the last one is old enough."""
        if time.monotonic() - self.saved_at >= self.seconds:
            self.save(progress)

    def clear(self) -> None:
        """Remove this run's files, those of others stay; only the first process does."""
        if self.fabric.is_global_zero:
            for path in self.paths:
                path.unlink(missing_ok=True)
            shutil.rmtree(self._kept(self.fingerprint), ignore_errors=True)

    def _read_newest(self) -> dict[str, Any] | None:
        states = self._read_all()
        runs = {state["progress"]["fingerprint"]: state["progress"] for state in states.values()}
        if self.fingerprint not in runs:
            for fingerprint, progress in runs.items():
                if progress["epoch"]:
                    place = self._kept(fingerprint)
                    say(
                        "note: an unfinished run with other settings, data or code, at epoch "
                        f"{progress['epoch'] + 1}, is kept in {place}; with those it goes on"
                    )
                    _move(self.paths, place)
            if (place := self._kept(self.fingerprint)).is_dir():
                _move([place / path.name for path in self.paths], self.folder)
                states = self._read_all()
        own = {path: state["progress"] for path, state in states.items()
               if state["progress"]["fingerprint"] == self.fingerprint}  # fmt: skip
        if not own:
            return None
        newest = max(own, key=lambda path: (own[path]["epoch"], own[path]["step"]))
        self.paths.sort(key=newest.__eq__)  # the other one is overwritten next
        return states[newest]

    def _read_all(self) -> dict[Path, dict[str, Any]]:
        states = {}
        for path in [path for path in self.paths if path.is_file()]:
            if (content := unpack(path.read_bytes())) is None:
                say(f"{path}: corrupt or written by an older version; ignored")
            else:
                states[path] = content
        return states

    def _kept(self, fingerprint: str) -> Path:
        return self.folder / f"run-{hashlib.sha256(fingerprint.encode()).hexdigest()[:16]}"


def _move(paths: Sequence[Path], folder: Path) -> None:
    for path in [path for path in paths if path.is_file()]:
        folder.mkdir(parents=True, exist_ok=True)
        path.replace(folder / path.name)


def pack(content: dict[str, Any]) -> bytes:
    """Return a checkpoint's bytes: a line with the checksum, then torch's own form."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    body = buffer.getvalue()
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unpack(content: bytes) -> dict[str, Any] | None:
    """Read what ``pack`` wrote, running no code; None if a byte differs or it holds objects."""
    line, _, body = content.partition(b"\n")
    if line != MAGIC + hashlib.sha256(body).hexdigest().encode():
        return None
    try:
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception:  # torch raises half a dozen types
        return None
    return state if isinstance(state, dict) and isinstance(state.get("progress"), dict) else None


def _random_states() -> dict[str, Any]:
    """Return the state of every random generator that a training step may draw from."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore_random(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
