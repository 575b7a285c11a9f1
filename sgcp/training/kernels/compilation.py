"""Compile the network for training where that pays, or go on without."""

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
    """Return the network compiled, or itself.

    Tried out at once, forward and backward, so that a run is compiled from its first step to its
    last or not at all; parameters, gradients and statistics are left as they were.

    Args:
        network: on its device; takes images of ``shape``, always.
        shape: (B, 3, H, W) of a process's batch.
        steps: of the whole run: counting those left would let a resumed run decide otherwise.
        wanted: ``auto`` compiles long runs on one process, and goes on without where it fails.

    Raises:
        SgcpError: it was wanted for certain and failed.
    """
    alone = fabric.world_size == 1
    if wanted is False or (wanted == "auto" and not (alone and steps >= PAYS_FROM_STEPS)):
        return network
    if fabric.is_global_zero:
        say("compiling the network, a minute or two")
    reason = ""
    for _ in range(ATTEMPTS):
        compiled = torch.compile(network, dynamic=False)
        try:
            with silent_compiler():
                try_out(fabric, network, compiled, shape)
            return compiled
        except Exception as error:  # a missing compiler, a broken one, a full disk: a dozen types
            reason = first_line(error)
            torch._dynamo.reset()
    if wanted is True:
        raise SgcpError(
            f"machine.compile: true, but compiling failed ({reason}); install a C++ compiler "
            "such as g++, or set it to auto"
        )
    say(f"training goes on uncompiled, a little slower: compiling failed ({reason})")
    return network


def try_out(
    fabric: Fabric, network: nn.Module, compiled: Any, shape: tuple[int, int, int, int]
) -> None:
    """Run the two passes of a step, which compiles them; leave no trace in the network."""
    image = torch.zeros(shape, device=fabric.device).contiguous(memory_format=torch.channels_last)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network.train()
    try:
        with fabric.autocast():
            output = compiled(image)
        scores = [output] if isinstance(output, torch.Tensor) else [output[0], *output[1]]
        torch.stack([part.float().mean() for part in scores]).sum().backward()
    finally:
        network.zero_grad()
        for name, buffer in network.named_buffers():
            buffer.copy_(before[name])


def first_line(error: Exception) -> str:
    """Return what an error says, short: compilers print pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}"[:160] if lines else type(error).__name__


@contextmanager
def silent_compiler() -> Iterator[None]:
    """Keep torch's own warnings about compiling to itself; what matters is said in one line."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
