"""Our network in 8-bit integers, made for the time of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sgcp.core.files import to_json, write_bytes
from sgcp.media.images import read_image


def write_int8(model: Path, images: Sequence[Path], folder: Path) -> Path:
    """Quantise a model by the ranges that some images give; return the ``.xml`` in ``folder``.

    Raises:
        SgcpError: NNCF is not installed, or a file is damaged.
    """
    from sgcp.inference.quantize import check_installed, quantize

    check_installed()
    from sgcp.inference.export import ir_files, read_onnx
    from sgcp.inference.graph import InferenceGraph, to_onnx
    from sgcp.models.artifact import load_model

    network, card = load_model(model)
    plain = read_onnx(to_onnx(InferenceGraph(network, card)))
    path = folder / "int8.xml"
    facts = {"int8": {"images": len(images)}}
    card = replace(card, provenance=card.provenance | {"export": facts})
    files = ir_files(quantize(plain, images, read_image), path)
    for file, content in files.items():
        write_bytes(file, content)
    write_bytes(path.with_suffix(".json"), to_json(card.to_json()).encode())
    return path
