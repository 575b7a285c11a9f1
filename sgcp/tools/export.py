"""``sgcp export``: model files -> ONNX, OpenVINO IR or torch.export, checked before writing."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from sgcp.core.errors import SgcpError
from sgcp.core.extras import DISTRIBUTION, require
from sgcp.core.files import file_sha256, to_json, write_together
from sgcp.core.terminal import percent, say, warn
from sgcp.datasets.index import summarize_digests
from sgcp.inference.graph import INPUT, OPSET, InferenceGraph, export_graph
from sgcp.inference.parity import Parity, check_parity
from sgcp.inference.segmenter import EXPORTED, find_model
from sgcp.models import SGCPNET
from sgcp.models.artifact import load_model
from sgcp.models.card import (
    FOR_OTHERS,
    MAX_ENLARGED,
    STRIDE,
    ModelCard,
    model_digest,
    read_card,
    whole_cells,
)
from sgcp.tools.calibration import Calibration
from sgcp.tools.export_readme import refuse_foreign, score_grid, write_readme

FORMATS = {".onnx": "ONNX", ".xml": "OpenVINO IR", ".pt2": "torch.export"}
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}  # by the name of a format
SMALLEST_SIDE = 32  # below, the network's deepest features are a single pixel
MAX_PIXELS = 2**25  # 4096 x 8192; the check computes the scores of them all


@dataclass(frozen=True)
class ExportOptions:
    """What is written."""

    size: tuple[int, int] | None = None
    """(height, width) of the only images it takes, pixels; None: of any."""
    labels: bool = False
    """Labels of the image's size rather than scores at stride 8."""
    format: Literal["onnx", "openvino", "torch"] | None = None
    """None: as the suffix of the file says; for a folder, ``onnx``."""


def export(
    model: str,
    out: Path,
    options: ExportOptions,
    calibration: Calibration | None = None,
    scores: Mapping[str, Any] | None = None,
) -> None:
    """Write a model for other programs, and its description beside it.

    The graph is compared with eager PyTorch before it is written.

    Args:
        model: as ``sgcp.load`` takes it.
        out: a file, whose suffix says the format, or a folder: ``model.onnx`` (``.xml``, ``.pt2``),
            ``model.json`` and a README.md as model hubs show it.
        calibration: images for 8-bit integers; None: floating point.
        scores: content of ``validate.json``, for the README; used if it is of this model.

    Raises:
        SgcpError: model, target or options are wrong, or the graph's output differs.
    """
    source = _find_source(model)
    readme = None if out.suffix else out / "README.md"
    out = _name_file(out, options.format)
    _check_options(out, options, int8=calibration is not None)
    _check_target(out)
    if readme:
        refuse_foreign(readme)
    network, card = load_model(source)
    card = _fit_card(card, options)
    given = preprocessing(card, options)
    quantizer = calibration.read(card, options.size, options.labels) if calibration else None
    programs = ["torch", "openvino"] if out.suffix == ".xml" else ["torch"]
    facts: dict[str, Any] = {
        "form": out.suffix[1:],
        "size": list(options.size) if options.size else None,
        "labels": options.labels,
        "int8": None,
        "opset": None if out.suffix == ".pt2" else OPSET,
        "versions": {"sgcp": version(DISTRIBUTION)} | {name: version(name) for name in programs},
        "weights_sha256": file_sha256(source),
        "trained_on": summarize_digests(card.trained_on),
    }
    with TemporaryDirectory() as folder:
        file = Path(folder) / out.name
        try:
            whole = InferenceGraph(network, card, options.labels)
            graph = export_graph(whole, out, options.size, given)
            for path, content in graph.items():
                (Path(folder) / path.name).write_bytes(content)
            found = check_parity(file, network, card, options.size, options.labels)
        except RuntimeError as error:
            if card.network == SGCPNET:
                raise
            reason = " ".join(str(error).split())[:200]
            raise SgcpError(
                f"{card.network}: does not take any size, or not this one ({reason}). Pass --size "
                "with a size that it takes"
            ) from None
        for one in found:
            if not one.holds:
                raise SgcpError(
                    f"{out}: not written: the output of {one.runner} differs from PyTorch's by "
                    f"{one.difference:.1e} of the largest score. Try another version of it"
                )
        if not found:
            raise SgcpError(f"{out}: cannot be checked without OpenVINO. `pip install openvino`")
        if quantizer is not None:
            graph, facts["int8"] = quantizer.quantize(file, out)
    # The digests of the images, thousands of lines, stay with the weights.
    card = replace(card, trained_on={}, provenance=card.provenance | {"export": facts})
    description = out.with_suffix(".json")
    texts = {description: to_json(card.to_json(*graph.values()) | {FOR_OTHERS: given})}
    if readme:
        own = scores if scores and is_score_of(scores, source, card, options.size) else None
        texts = {readme: write_readme(out, card, given["resize"], own)} | texts
    # A kill between the renamings leaves `out` without its description, never with a foreign one.
    write_together(graph | {path: text.encode() for path, text in texts.items()})
    _report(out, graph, options, card.network, len(card.classes), found, given["resize"])


def is_score_of(
    scores: Mapping[str, Any], source: Path, card: ModelCard, size: tuple[int, int] | None
) -> bool:
    """Return whether scores are of this model, as its export runs it."""
    seen = size or card.input_size(*scores.get("scored_size", (STRIDE, STRIDE)))
    plain = {"flip": False, "scales": [1.0], "window": None}
    return (
        scores.get("model", {}).get("sha256") == model_digest(source)
        and all(scores.get(key) == value for key, value in plain.items())
        and scores.get("input_size") == [*seen]
    )


def model_dataset(model: str) -> str:
    """Return the name of the dataset that a model was trained on."""
    return read_card(_find_source(model)).dataset


def preprocessing(card: ModelCard, options: ExportOptions) -> dict[str, Any]:
    """Return what goes into a graph: for programs to read, in its metadata and beside it.

    The graph normalizes but never resizes: OpenVINO ignores the antialiasing of ONNX's Resize, and
    without it 0.5 % of the labels change at half size (docs/export.md).
    """
    resize: dict[str, Any] | None = None
    if options.size:
        resize = {"height": options.size[0], "width": options.size[1]}
    elif not options.labels:
        resize = {"multiple_of": STRIDE}
        if card.input_side is not None:
            resize |= {"short_side": card.input_side, "max_enlarged_pixels": MAX_ENLARGED}
    if resize:
        resize |= {"filter": "bilinear", "antialias": True}
    return {"color": "RGB", "dtype": "uint8", "layout": "NHWC", "resize": resize}


def _name_file(out: Path, form: str | None) -> Path:
    """Return the file to write: ``out``, or the one in the folder ``out``."""
    if not out.suffix:
        return out / f"model{SUFFIXES[form or 'onnx']}"
    if form and out.suffix != SUFFIXES[form]:
        raise SgcpError(f"{out}: --format {form} ends in {SUFFIXES[form]}; leave --format out")
    return out


def _find_source(model: str) -> Path:
    if Path(model).suffix in (*EXPORTED, ".pt2"):
        raise SgcpError(f"{model}: is itself an export. Pass the .safetensors that it came from")
    return find_model(model)


def _check_options(out: Path, options: ExportOptions, int8: bool) -> None:
    if out.suffix not in FORMATS:
        forms = ", ".join(f"{suffix} ({name})" for suffix, name in FORMATS.items())
        raise SgcpError(
            f"{out}: the suffix says what is written; choose one of {forms}, or a folder "
            "without a dot in its name"
        )
    if out.suffix == ".xml":
        require("openvino", str(out))
    if options.size is not None:
        height, width = options.size
        if (nearest := whole_cells(height, width)) != options.size and not options.labels:
            raise SgcpError(
                f"--size {height} {width}: expected multiples of {STRIDE} pixels, which a score "
                f"stands for: --size {nearest[0]} {nearest[1]}"
            )
        if min(height, width) < SMALLEST_SIDE or height * width > MAX_PIXELS:
            raise SgcpError(
                f"--size {height} {width}: expected height and width in pixels, each at least "
                f"{SMALLEST_SIDE}, their product at most {MAX_PIXELS:,}"
            )
    if int8 and out.suffix == ".pt2":
        raise SgcpError(f"{out}: --int8 is for .onnx and .xml; leave it out")
    if int8:
        require("nncf", "--int8")
        if out.suffix == ".onnx":
            require("onnxruntime", f"--int8 for {out}")


def _check_target(out: Path) -> None:
    """Refuse a target that cannot be written or would replace another model's description."""
    beside = [out.with_suffix(".json")] + [out.with_suffix(".bin")] * (out.suffix == ".xml")
    for path in (out, *beside):
        if path.is_dir():
            raise SgcpError(f"{path}: is a folder, not a file. Choose another name")
        if path.exists() and not out.exists():
            raise SgcpError(
                f"{path}: belongs to another model, and {out.name} needs the same name. Choose "
                f"another folder, or another name, such as {out.stem}-{out.suffix[1:]}{out.suffix}"
            )
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise SgcpError(f"{out}: {folder} is not a folder that can be written")


def _fit_card(card: ModelCard, options: ExportOptions) -> ModelCard:
    """Return the description of the export, whose images may be resized to a fixed size only."""
    side = card.input_side
    if side is None or (options.size is None and not options.labels):
        return card
    if options.size is None:
        height, width = card.input_size(*(card.trained_size or (3, 4)))
        raise SgcpError(
            f"--labels: images are resized to a short side of {side} pixels first, and the graph "
            f"would label the resized image. Pass its size, such as --size {height} {width}, or "
            "leave out --labels"
        )
    if min(options.size) == side and not options.labels:
        return card
    if min(options.size) != side:
        height, width = card.input_size(*options.size)
        warn(
            f"--size {options.size[0]} {options.size[1]}: this model was trained for a short side "
            f"of {side} pixels and is less accurate at other sizes; --size {height} {width} has "
            "the same proportions"
        )
    return replace(card, input_side=None)


def _report(
    out: Path,
    files: dict[Path, bytes],
    options: ExportOptions,
    network: str,
    classes: int,
    found: list[Parity],
    resize: dict[str, Any] | None,
) -> None:
    """Print the files, the graph's input and output, and its difference from PyTorch."""
    names = " + ".join(path.name for path in files)
    say(f"{out}: {FORMATS[out.suffix]}, {names}, {sum(map(len, files.values())):,} bytes")
    height, width = options.size or ("height", "width")
    batch = "batch" if options.size is None and out.suffix != ".pt2" else "1"
    first = ""
    if resize:
        target = f"to {height}x{width}"
        if not options.size:
            side = resize.get("short_side")
            target = f"to multiples of {STRIDE}{f', the short side to {side}' if side else ''}"
        first = f"; resize {target} (bilinear, antialiased) first"
    say(f"  input  {INPUT}: uint8 ({batch}, {height}, {width}, 3), RGB{first}")
    if options.labels:
        say(f"  output labels: uint8 ({batch}, {height}, {width}), indices of classes")
    else:
        rows, columns = score_grid(network, options.size, ("height", "width"))
        say(f"  output scores: float32 ({batch}, {classes}, {rows}, {columns})")
    for one in found:
        equal = "" if one.equal is None else f", {percent(one.equal, 3)} % of the labels equal"
        say(
            f"  {one.runner} against PyTorch: largest difference {one.difference:.1e} "
            f"of the largest score{equal}"
        )
