"""One training run: the network, what moves it forward, and the state of all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sgcp.training.auxiliary import Supervised
from sgcp.training.kernels import use_kernels
from sgcp.training.kernels.compilation import compile_network
from sgcp.training.objective import Objective
from sgcp.training.optimization import make_optimizer, make_schedule

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
    schedule: Any
    settings: TrainSettings
    compiled: bool
    """Whether ``wrapped`` is compiled, which rounds otherwise: no run goes on as the other."""
    average: AveragedModel | None
    """The running mean of weights and statistics over the steps, where the settings ask for it."""
    objective: Objective
    heads: nn.ModuleList | None
    """The auxiliary heads, where the settings ask for them."""

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
        }
        optional = {"average": self.average, "heads": self.heads}
        return parts | {name: part for name, part in optional.items() if part is not None}


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

    Args:
        class_weights: (K,), of each class in the loss; None: pixels weigh the same.

    Raises:
        SgcpError: ``compiling`` is true and not possible.
    """
    use_kernels(network)
    trained = Supervised(cast("SGCPNet", network)) if settings.auxiliary else network
    trained.to(fabric.device).to(memory_format=torch.channels_last)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        # Statistics over the whole batch, as the authors train; it exists on GPUs alone.
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(trained)
    shape = (settings.batch_size // fabric.world_size, 3, *settings.crop)
    optimizer = make_optimizer(trained, getattr(network, "encoder", None), settings)
    called = compile_network(fabric, trained, shape, steps * settings.epochs, compiling)
    wrapped, optimizer = fabric.setup(called, optimizer)
    if class_weights is not None:
        class_weights = class_weights.to(fabric.device)
    return Run(
        fabric=fabric,
        network=network,
        wrapped=wrapped,
        normalize=normalize.to(fabric.device),
        optimizer=optimizer,
        schedule=make_schedule(optimizer, steps * settings.epochs, settings),
        settings=settings,
        compiled=called is not trained,
        average=make_average(network, settings.average),
        objective=Objective(settings, class_weights),
        heads=trained.heads if isinstance(trained, Supervised) else None,
    )


def make_average(network: nn.Module, decay: float) -> AveragedModel | None:
    """Return a running mean of a network, batch-norm statistics included; None without decay."""
    if not decay:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
