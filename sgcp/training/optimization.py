"""Optimizer and learning-rate schedule, as the settings ask."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

if TYPE_CHECKING:
    from sgcp.settings import TrainSettings


def make_optimizer(
    trained: nn.Module, encoder: nn.Module | None, settings: TrainSettings
) -> torch.optim.Optimizer:
    """Return SGD or AdamW over two groups of ``trained``: its encoder, and everything else.

    ``fused``: one pass over all parameters instead of ten small operations for each of them, 2 ms
    a step instead of 9 (``benchmarks/training_throughput.py``).
    """
    inner = list(encoder.parameters()) if encoder is not None else []
    inside = {id(parameter) for parameter in inner}
    decoder = [p for p in trained.parameters() if id(p) not in inside]
    groups = [
        {"params": inner, "lr": settings.lr * settings.encoder_lr_factor},
        {"params": decoder, "lr": settings.lr},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            groups, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True
        )
    return torch.optim.AdamW(
        groups, betas=(settings.momentum, 0.999), weight_decay=settings.weight_decay, fused=True
    )


def rate_factor(step: int, steps: int, settings: TrainSettings) -> float:
    """Return the learning rate of one step, 0 .. steps - 1, as a share of its peak.

    A linear rise over the first ``warmup`` share, then ``poly``: (1 - t) ** power, or
    ``one-cycle``: a half cosine, with t the share of the remaining steps done.
    """
    rise = round(settings.warmup * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    done = min(1.0, (step - rise) / max(1, steps - rise))
    if settings.schedule == "poly":
        return float((1 - done) ** settings.poly_power)
    return 0.5 * (1 + math.cos(math.pi * done))


def make_schedule(
    optimizer: torch.optim.Optimizer, steps: int, settings: TrainSettings
) -> LambdaLR:
    """Return a schedule to be stepped once a training step."""
    return LambdaLR(optimizer, lambda step: rate_factor(step, steps, settings))
