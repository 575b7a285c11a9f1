"""One training run: the network, what moves it forward, and the state of all of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sgcp.training.kernels import use_kernels
from sgcp.training.kernels.compilation import compile_network
from sgcp.training.objective import Objective, Supervised

if TYPE_CHECKING:
    from sgcp.models.network import Normalize, SGCPNet
    from sgcp.settings import TrainSettings


@dataclass
class Run:
    """Everything that one training run moves forward."""

    fabric: Fabric
    network: nn.Module
    wrapped: Any
    """Fabric's wrapper of the network, which training calls."""
    normalize: Normalize
    optimizer: Any
    schedule: LambdaLR = field(init=False)
    """Stepped once a training step."""
    settings: TrainSettings
    compiled: bool
    """Whether ``wrapped`` is compiled. Rounding differs, so no run resumes as the other kind."""
    average: AveragedModel | None
    """The running mean of weights and statistics over the steps, where the settings ask for it."""
    objective: Objective
    heads: nn.ModuleList | None
    """The auxiliary heads, where the settings ask for them."""
    spent: float = 0.0
    """Share of the run's minutes, 0 without a limit. The schedule follows it where it is ahead."""

    @property
    def learnt(self) -> nn.Module:
        """The network that is scored and kept."""
        return self.network if self.average is None else self.average.module

    def parts(self) -> dict[str, Any]:
        """Return what has a state, for checkpoints."""
        parts = {
            "network": self.network,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "precision": self.fabric.strategy.precision,  # the loss scale of 16-bit training
            "average": self.average,
            "heads": self.heads,
        }
        return {name: part for name, part in parts.items() if part is not None}


def start(
    fabric: Fabric,
    network: nn.Module,
    normalize: Normalize,
    settings: TrainSettings,
    steps: int,
    compiling: Literal["auto"] | bool,
    class_weights: Tensor | None = None,
) -> Run:
    """Place the network, its optimizer and schedule on the device; ``steps`` are an epoch's.

    ``class_weights``: (K,), of each class in the loss; None: pixels weigh the same. Raise SgcpError
    if ``compiling`` is true and not possible.
    """
    use_kernels(network)
    trained = Supervised(cast("SGCPNet", network)) if settings.auxiliary else network
    trained.to(fabric.device).to(memory_format=torch.channels_last)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        # Statistics over the whole batch, as the authors train; it exists on GPUs alone.
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(trained)
    shape = (settings.batch_size // fabric.world_size, 3, *settings.crop)
    optimizer = make_optimizer(trained, getattr(network, "encoder", None), settings)
    total = steps * settings.epochs
    called = compile_network(fabric, trained, shape, total, compiling)
    wrapped, optimizer = fabric.setup(called, optimizer)
    average = None
    if settings.average:
        mean = get_ema_multi_avg_fn(settings.average)
        average = AveragedModel(network, multi_avg_fn=mean, use_buffers=True)
    if class_weights is not None:
        class_weights = class_weights.to(fabric.device)
    run = Run(
        fabric=fabric,
        network=network,
        wrapped=wrapped,
        normalize=normalize.to(fabric.device),
        optimizer=optimizer,
        settings=settings,
        compiled=called is not trained,
        average=average,
        objective=Objective(settings, class_weights),
        heads=trained.heads if isinstance(trained, Supervised) else None,
    )
    run.schedule = LambdaLR(  # made after the run, which it asks for the time spent
        optimizer, lambda step: rate_factor(max(step, round(run.spent * total)), total, settings)
    )
    return run


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
    momentum, decay = settings.momentum, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=momentum, weight_decay=decay, fused=True)
    return torch.optim.AdamW(groups, betas=(momentum, 0.999), weight_decay=decay, fused=True)


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
