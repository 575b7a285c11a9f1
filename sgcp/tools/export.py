"""``sgcp export``: our model files -> ONNX, OpenVINO IR or torch.export; checked, then written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sgcp.core.errors import SgcpError
from sgcp.core.files import file_sha256, to_json, write_together
from sgcp.core.terminal import say, warn
from sgcp.inference.preprocessing import describe_resize, preprocessing
from sgcp.inference.segmenter import EXPORTED, find_model
from sgcp.models.card import FOR_OTHERS, ModelCard, read_card

if TYPE_CHECKING:
    from sgcp.inference.parity import Parity
    from sgcp.tools.calibration import Calibration
from sgcp.inference.export import SMALLEST_SIDE, ExportOptions

MOST_PIXELS = 2**25  # 4096 x 8192; checking scores them all


def export(
    model: str, out: Path, options: ExportOptions, calibration: Calibration | None = None
) -> None:
    """Write a model in the form that the suffix of ``out`` names, and its description beside it.

    What is about to be written is first run against eager PyTorch.

    Args:
        model: as ``sgcp.load`` takes it.
        calibration: how to write it in 8-bit integers; None: in floating point.

    Raises:
        SgcpError: model, target or options are wrong, or the exported graph gives something else.
    """
    source = find_source(model)
    check_options(out, options, int8=calibration is not None)
    check_target(out)
    from sgcp.inference.export import check_format, export_graph
    from sgcp.inference.graph import InferenceGraph
    from sgcp.inference.parity import check_parity
    from sgcp.models.artifact import load_model

    check_format(out)
    network, card = load_model(source)
    card = fit_card(card, options)
    given = preprocessing(card, options.size)
    images = calibration.read(card, options) if calibration else None
    facts = describe(out, options, source)
    graph = InferenceGraph(network, card, options.labels)
    files = export_graph(graph, out, options.size, given)
    with placed(files) as file:
        found = check_parity(file, network, card, options.size)
        refuse_difference(out, found)
        if images is not None:
            files, facts["int8"] = images.quantize(file, out, card)
    card = replace(card, provenance=card.provenance | {"export": facts})
    # A kill between the renamings leaves `out` without its description, never with a foreign one.
    description = card.to_json(*files.values()) | {FOR_OTHERS: given}
    write_together(files | {out.with_suffix(".json"): to_json(description).encode()})
    report(out, files, options, len(card.classes), found, describe_resize(given["resize"]))


def fit_card(card: ModelCard, options: ExportOptions) -> ModelCard:
    """Return the description of the export, which resizes only to what the graph takes.

    Raises:
        SgcpError: labels would be those of the resized image, whose size is not known.
    """
    side = card.input_side
    if side is None or (options.size is None and not options.labels):
        return card
    if options.size is None:
        height, width = card.input_size(*(card.trained_size or (3, 4)))
        raise SgcpError(
            f"--labels: this model takes images resized to a short side of {side} pixels, and "
            f"the graph would label the resized image. Give the size after resizing, such as "
            f"--size {height} {width}, or leave out --labels"
        )
    if min(options.size) == side and not options.labels:
        return card
    if min(options.size) != side:
        height, width = card.input_size(*options.size)
        warn(
            f"--size {options.size[0]} {options.size[1]}: this model was trained for a short side "
            f"of {side} pixels and labels images of another size less well; --size {height} "
            f"{width} has the same proportions"
        )
    return replace(card, input_side=None)


def find_source(model: str) -> Path:
    """Return the weights to export.

    Raises:
        SgcpError: there is no such model, or it is itself an export.
    """
    if Path(model).suffix in (*EXPORTED, ".pt2"):
        raise SgcpError(f"{model}: is itself an export; give the .safetensors that it came from")
    return find_model(model)


def model_dataset(model: str) -> str:
    """Return the name of the dataset that a model learnt.

    Raises:
        SgcpError: there is no such model, or it is itself an export.
    """
    return read_card(find_source(model)).dataset


def check_options(out: Path, options: ExportOptions, int8: bool) -> None:
    """Refuse what cannot be written or would be of no use.

    Raises:
        SgcpError: a size out of range, or 8 bits in another form than OpenVINO's.
    """
    if options.size is not None:
        height, width = options.size
        if min(height, width) < SMALLEST_SIDE or height * width > MOST_PIXELS:
            raise SgcpError(
                f"--size {height} {width}: height and width in pixels, each at least "
                f"{SMALLEST_SIDE}, their product at most {MOST_PIXELS:,}"
            )
    if int8 and out.suffix != ".xml":
        # Measured at 1024x2048 on two cores: 191 ms, where the same graph in fp32 takes 57 ms.
        raise SgcpError(
            f"{out}: --int8 is for OpenVINO: name it .xml (ONNX Runtime runs this network's 8-bit "
            "graph three times slower than fp32)"
        )
    if int8:
        from sgcp.inference.quantize import check_installed

        check_installed()


def check_target(out: Path) -> None:
    """Refuse a target that cannot be written, or that would cost another model its description.

    Raises:
        SgcpError: it is such a target.
    """
    beside = [out.with_suffix(".json")] + [out.with_suffix(".bin")] * (out.suffix == ".xml")
    for path in (out, *beside):
        if path.is_dir():
            raise SgcpError(f"{path}: is a folder where a file belongs; move it away")
    for path in beside:
        if path.exists() and not out.exists():
            raise SgcpError(
                f"{path}: belongs to another model, and {out.name} would need the same name for "
                f"its own; choose another name, such as {out.stem}-{out.suffix[1:]}{out.suffix}"
            )
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise SgcpError(f"{out}: cannot be written, as {folder} is no folder to write to")


@contextmanager
def placed(files: dict[Path, bytes]) -> Iterator[Path]:
    """Put files into a folder for a while, so that they can be run; yields the first."""
    with TemporaryDirectory() as folder:
        for path, content in files.items():
            (Path(folder) / path.name).write_bytes(content)
        yield Path(folder) / next(iter(files)).name


def refuse_difference(out: Path, found: list[Parity]) -> None:
    """Refuse a graph that gives something else than the network in eager PyTorch.

    Raises:
        SgcpError: it does, or there is nothing here to run it.
    """
    if not found:
        raise SgcpError(f"{out}: nothing here can check it; pip install openvino")
    for one in found:
        if not one.holds:
            raise SgcpError(
                f"{out}: not written: {one.runner} gives something else than PyTorch, by "
                f"{one.difference:.1e} of the largest score; another version of it may be right"
            )


def describe(out: Path, options: ExportOptions, source: Path) -> dict[str, Any]:
    """Return what the description says of the export, by the versions that made it."""
    from sgcp.inference.graph import OPSET

    programs = {".onnx": ["torch"], ".xml": ["torch", "openvino"], ".pt2": ["torch"]}[out.suffix]
    return {
        "form": out.suffix[1:],
        "size": list(options.size) if options.size else None,
        "labels": options.labels,
        "int8": None,
        "opset": None if out.suffix == ".pt2" else OPSET,
        "versions": {name: version(name) for name in ("sgcp", *programs)},
        "weights_sha256": file_sha256(source),
    }


def report(
    out: Path,
    files: dict[Path, bytes],
    options: ExportOptions,
    classes: int,
    found: list[Parity],
    resize: str,
) -> None:
    """Print what was written, its input and output, and how far it is from PyTorch."""
    from sgcp.inference.export import FORMATS
    from sgcp.inference.graph import INPUT

    names = " + ".join(path.name for path in files)
    size = sum(map(len, files.values()))
    say(f"{out}: {FORMATS[out.suffix]}, {names}, {size:,} bytes")
    height, width = options.size or ("height", "width")
    batch = "batch" if options.size is None and out.suffix != ".pt2" else "1"
    first = f"; {resize}" if resize else ""
    say(f"  input  {INPUT}: uint8 ({batch}, {height}, {width}, 3), RGB{first}")
    if options.labels:
        say(f"  output labels: uint8 ({batch}, {height}, {width}), indices of classes")
    else:
        strided = [-(-s // 8) for s in options.size] if options.size else ["height/8", "width/8"]
        say(f"  output scores: float32 ({batch}, {classes}, {strided[0]}, {strided[1]})")
    for one in found:
        equal = "" if one.equal is None else f", {100 * one.equal:.3f} % of the labels equal"
        say(
            f"  {one.runner} against PyTorch: largest difference {one.difference:.1e} "
            f"of the largest score{equal}"
        )
