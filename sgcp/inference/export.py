"""Write the inference graph in the forms that other programs run."""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from sgcp.core.errors import SgcpError
from sgcp.inference.graph import INPUT, InferenceGraph, to_onnx

if TYPE_CHECKING:
    import openvino


FORMATS = {".onnx": "ONNX", ".xml": "OpenVINO IR", ".pt2": "torch.export"}
# Height and width that a .pt2 of any size accepts, pixels: below the first, the coarsest level is
# a single score, which torch.export takes for another network.
SMALLEST, LARGEST = 129, 16384
METADATA = "preprocessing"  # name of the property


def check_format(path: Path) -> None:
    """Refuse a file name whose suffix is no format, or one that needs a package not installed.

    Raises:
        SgcpError: it is.
    """
    if path.suffix not in FORMATS:
        forms = ", ".join(f"{suffix} ({name})" for suffix, name in FORMATS.items())
        raise SgcpError(f"{path}: the suffix says what is written; choose one of {forms}")
    if path.suffix == ".xml" and not find_spec("openvino"):
        raise SgcpError(f"{path}: needs OpenVINO; pip install openvino")


def export_graph(
    graph: InferenceGraph, path: Path, size: tuple[int, int] | None, given: dict[str, Any]
) -> dict[Path, bytes]:
    """Return the files of a graph in the form that the suffix of ``path`` names.

    Args:
        path: with a suffix of ``FORMATS``.
        size: (height, width) of the only images it takes; None: of any.
        given: ``preprocessing`` of its images, for the metadata of ONNX and OpenVINO IR.
    """
    if path.suffix == ".pt2":
        return {path: to_program(graph, size)}
    content = to_onnx(graph, size)
    if path.suffix == ".onnx":
        return {path: add_metadata(content, given)}
    model = read_onnx(content)
    model.set_rt_info(json.dumps(given), [METADATA])
    return ir_files(model, path)


def add_metadata(content: bytes, given: dict[str, Any]) -> bytes:
    """Return an ONNX graph that carries ``preprocessing`` as a metadata property."""
    import onnx

    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, {METADATA: json.dumps(given)})
    return model.SerializeToString()


def to_program(graph: InferenceGraph, size: tuple[int, int] | None) -> bytes:
    """Return the graph as an exported program, for ``torch.export.load``: one image a call."""
    image = torch.zeros((1, *(size or (320, 576)), 3), dtype=torch.uint8)
    any_size = {
        axis: torch.export.Dim(name, min=SMALLEST, max=LARGEST)
        for axis, name in ((1, "height"), (2, "width"))
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations
        program = torch.export.export(
            graph.eval(), (image,), dynamic_shapes=None if size else {INPUT: any_size}
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names files of this machine
    program.example_inputs = None  # an image of zeros, larger than the weights
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def read_onnx(content: bytes) -> openvino.Model:
    """Return an ONNX graph as OpenVINO's."""
    import openvino

    return openvino.Core().read_model(content)


def ir_files(model: openvino.Model, path: Path) -> dict[Path, bytes]:
    """Return the two files of an OpenVINO model, weights in full precision."""
    import openvino

    with TemporaryDirectory() as folder:
        target = Path(folder) / "model.xml"
        openvino.serialize(model, target, target.with_suffix(".bin"))
        return {path.with_suffix(s): target.with_suffix(s).read_bytes() for s in (".xml", ".bin")}


SMALLEST_SIDE = 32  # below, the network's deepest features are a single pixel


@dataclass(frozen=True)
class ExportOptions:
    """What is written."""

    size: tuple[int, int] | None = None
    """(height, width) of the only images it takes, pixels; None: of any."""
    labels: bool = False
    """Labels of the image's size rather than scores at stride 8."""
