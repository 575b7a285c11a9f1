"""What the processor is called, and which units for short numbers it has."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

DESCRIBED = Path("/proc/cpuinfo")


@cache
def described() -> dict[str, str]:
    """Return what Linux tells of the first processor; nothing on other systems."""
    if not DESCRIBED.is_file():
        return {}
    first = DESCRIBED.read_text().split("\n\n")[0]
    rows = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in rows}


def processor_name() -> str:
    """Return the processor's name."""
    return described().get("model name") or platform.processor() or platform.machine()


def multiplies_bf16_quickly() -> bool:
    """Tell whether bf16 is quicker than fp32: with AMX's units for tiles of a matrix.

    AVX-512's instructions for bf16 alone do not make up for what converting costs: on two cores
    with AMX bf16 took 0.65 of the time of fp32, on two that have only those 1.47
    (docs/speed.md).
    """
    return "amx_bf16" in described().get("flags", "").split()


def adds_int8_exactly() -> bool:
    """Tell whether sums of products of bytes are kept in 32 bits, as VNNI and AMX do.

    x86 without them adds two products in 16 bits, where large ones are cut off.
    """
    flags = described().get("flags", "").split()
    return not flags or any(unit in flags for unit in ("avx512_vnni", "avx_vnni", "amx_int8"))
