"""Compile the network for training, or record it on a GPU, where that pays; or go on without."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import nn

from sgcp.core.errors import SgcpError
from sgcp.core.terminal import say

# Compiling takes a minute or two and makes a step about 50 ms shorter (docs/results.md).
PAYS_FROM_STEPS = 3_000
ATTEMPTS = 2  # 2 of some 15 could not import a kernel just written; the next could


def compile_network(
    fabric: Fabric,
    network: nn.Module,
    shape: tuple[int, int, int, int],
    steps: int,
    wanted: Literal["auto"] | bool,
) -> Any:
    """Return the network compiled or recorded, or itself.

    Tried out at once, forward and backward, so that a run is compiled from its first step to its
    last or not at all; parameters, gradients and statistics stay unchanged.

    Args:
        network: on its device; takes images of ``shape`` (B, 3, H, W), always.
        steps: of the whole run: counting those left would let a resumed run decide otherwise.
        wanted: ``auto`` records on a GPU and compiles long runs on a CPU, in one process each, and
            goes on without where that fails; true raises SgcpError then.
    """
    alone, on_gpu = fabric.world_size == 1, fabric.device.type == "cuda"
    if wanted == "auto" and alone and on_gpu:
        return record(fabric, network, shape)
    pays = alone and steps >= PAYS_FROM_STEPS
    if wanted is False or (wanted == "auto" and not pays):
        return network
    say("compiling the network, a minute or two")
    reason = ""
    for _ in range(ATTEMPTS):
        compiled = torch.compile(network, dynamic=False)
        logging.disable(logging.CRITICAL)  # torch's warnings are pages long
        try:
            try_out(fabric, network, compiled, shape)
            return compiled
        except Exception as error:  # a missing compiler, a broken one, a full disk: a dozen types
            text = str(error).strip().partition("\n")[0]
            reason = f"{type(error).__name__}: {text}"[:160]
            torch._dynamo.reset()
        finally:
            logging.disable(logging.NOTSET)
    if wanted is True:
        raise SgcpError(
            f"machine.compile: true, but compiling failed ({reason}); install a C++ compiler "
            "such as g++, or set it to auto"
        )
    say(f"training goes on uncompiled, a little slower: compiling failed ({reason})")
    return network


def record(fabric: Fabric, network: nn.Module, shape: tuple[int, int, int, int]) -> nn.Module:
    """Return the network with both passes recorded as CUDA graphs, or itself where that fails.

    Launching its many small kernels from Python takes longer than they run
    (``benchmarks/gpu.py steps``).
    """
    image = torch.zeros(shape, device=fabric.device).contiguous(memory_format=torch.channels_last)
    recorded = Recorded(network).train()
    # Else torch warns, in a page, that gradients arrive on another stream than that of recording.
    if quiet := getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None):
        quiet(False)
    try:
        with unchanged(network), fabric.autocast(), uncached_autocast():
            torch.cuda.make_graphed_callables(recorded, (image,))
        return recorded
    except Exception as error:  # of a user's network, which may ask the GPU for numbers
        reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0][:160]
        say(f"training goes on without a CUDA graph, slower: recording failed ({reason})")
        return network


class Recorded(nn.Module):
    """What is recorded in the network's stead, so that copies of the network run themselves."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Any:
        """Return what the network makes of ``x``."""
        return self.network(x)


@contextmanager
def uncached_autocast() -> Iterator[None]:
    """Forbid autocast to keep cast weights, which belong to one pass."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


@contextmanager
def unchanged(network: nn.Module) -> Iterator[None]:
    """Put the statistics of a network back at the end, without gradients."""
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network.train()
    try:
        yield
    finally:
        network.zero_grad()
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(before[name])


def try_out(
    fabric: Fabric, network: nn.Module, compiled: Any, shape: tuple[int, int, int, int]
) -> None:
    """Run the two passes of a step, which compiles them; leave no trace in the network."""
    image = torch.zeros(shape, device=fabric.device).contiguous(memory_format=torch.channels_last)
    with unchanged(network):
        with fabric.autocast():
            output = compiled(image)
        scores = [output] if isinstance(output, torch.Tensor) else [output[0], *output[1]]
        torch.stack([part.float().mean() for part in scores]).sum().backward()
