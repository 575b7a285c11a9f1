"""Resume checkpoints: the whole state of a training run after a finished epoch."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from sgcp.errors import SgcpError
from sgcp.files import write_bytes


@dataclass
class Progress:
    """Where a run stands."""

    fingerprint: str
    """Settings and data that the run belongs to: another run's checkpoint is not resumed."""
    epoch: int = 0
    """Finished epochs."""
    best_miou: float = -1.0
    best_epoch: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    """One row an epoch: what DVCLive logs, replayed after a resume."""
    seconds: float = 0.0
    """Training time so far, over all sessions."""


def save_checkpoint(fabric: Fabric, path: Path, parts: dict[str, Any], progress: Progress) -> None:
    """Write network, optimizer and schedule with ``progress``, whole or not at all."""
    if fabric.is_global_zero:
        states = {name: part.state_dict() for name, part in parts.items()}
        buffer = io.BytesIO()
        torch.save({**states, "progress": vars(progress)}, buffer)
        write_bytes(path, buffer.getvalue())
    fabric.barrier()


def load_checkpoint(path: Path, parts: dict[str, Any], fingerprint: str) -> Progress:
    """Restore a run in place if ``path`` holds one of the same settings and data.

    A checkpoint of another run is left alone and a fresh run begins.

    Raises:
        SgcpError: the file is damaged.
    """
    if not path.is_file():
        return Progress(fingerprint)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        progress = Progress(**content["progress"])
        if progress.fingerprint != fingerprint:
            return Progress(fingerprint)
        for name, part in parts.items():
            part.load_state_dict(content[name])
    except Exception as error:  # torch raises half a dozen types on damaged files
        raise SgcpError(
            f"{path}: the resume checkpoint is damaged; delete it to train from the start"
        ) from error
    return progress
