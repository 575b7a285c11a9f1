"""How large a network is: parameters and arithmetic."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sgcp.models.card import read_card
from sgcp.speed.specs import OWN, REFERENCE

if TYPE_CHECKING:
    from sgcp.speed.specs import Job


def size_of(job: Job) -> dict[str, Any]:
    """Return parameters, and GFLOP (two a multiply-add) of one image, of a candidate's network.

    Counted in PyTorch on tensors without content, so no arithmetic is done.
    """
    card = read_card(job.model)
    network = card.network if job.network in (OWN, REFERENCE) else job.network
    return _count(network, len(card.classes), card.encoder, job.size)


@cache
def _count(network: str, classes: int, encoder: Any, size: tuple[int, int]) -> dict[str, Any]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from sgcp.models import build_network

    with torch.device("meta"):
        module = build_network(network, classes, encoder)
        image = torch.empty(1, 3, *size)
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        module.eval()(image)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return {"parameters": parameters, "gflop": round(counter.get_total_flops() / 1e9, 2)}
