"""The inference graph in 8-bit integers, by NNCF's post-training quantisation."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rich

from sgcp.inference.engines.openvino_engine import read_model
from sgcp.inference.graph import INPUT
from sgcp.media.images import UInt8

# What stays in floating point, by the names of nodes in the ONNX graph.
FLOATING = (
    # Squeeze-and-excite: its gates multiply whole channels, so a rounded gate moves every pixel.
    r".*/se/.*",
    r".*/block\.\d+/(avgpool|fc1|activation|fc2|scale_activation|Mul).*",  # torchvision's
    # Sums of maps: rounding each term costs more than adding bytes saves.
    r".*/top_down.*/(Mul|Add|Sigmoid).*",
    r".*/encoder/.*/Add.*",
)


def quantize(file: Path, images: Sequence[Path], read: Callable[[Path], UInt8]) -> Any:
    """Return an ``.onnx`` or ``.xml`` with its convolutions in 8 bits, ranges from real images.

    Weights take half of the range: x86 without VNNI adds two products of bytes in 16 bits, where
    large ones are cut off. So a graph gives the same labels on every processor (docs/export.md).

    Args:
        images: a few hundred.
        read: returns one as (H, W, 3) uint8 RGB, when its turn comes: not all fit into memory.

    Returns:
        An ``onnx.ModelProto``, with pairs of QuantizeLinear and DequantizeLinear (QDQ), or an
        ``openvino.Model``.
    """
    with _quiet():
        import nncf
        from nncf.quantization.advanced_parameters import OverflowFix

        advanced = nncf.AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE)
        return nncf.quantize(
            _read(file),
            nncf.Dataset(images, lambda path: {INPUT: read(path)[None]}),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            advanced_parameters=advanced,
            ignored_scope=nncf.IgnoredScope(patterns=list(FLOATING), validate=False),
        )


def _read(file: Path) -> Any:
    if file.suffix == ".onnx":
        import onnx

        return onnx.load(file)
    from openvino._offline_transformations import apply_moc_transformations

    model = read_model(file)
    apply_moc_transformations(model, cf=True)  # folds constants; x * sigmoid(x) becomes one
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF from a line for every node, and from bars."""
    logging.disable(logging.WARNING)
    console = rich.get_console()  # on which it draws its bars
    before, console.quiet = console.quiet, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        console.quiet = before
        logging.disable(logging.NOTSET)
