"""What an exported graph declares, checked before any of it runs.

Engines work out constants while they load a graph, so one more output can cost all memory. Both
would also print warnings of their own about files that are no graph.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

from sgcp.core.errors import SgcpError
from sgcp.core.extras import require
from sgcp.models.card import MAX_BYTES

if TYPE_CHECKING:
    import onnx
    import openvino


class Port(NamedTuple):
    """An input or output of a graph, or one that is expected."""

    name: str
    type: str
    """uint8 or float32; any other as the format names it."""
    shape: tuple[int | None, ...] | None
    """A side None: any; all None: of any rank."""

    def fits(self, wanted: Port) -> bool:
        """Tell whether it is of this type and rank, and has these sides or leaves them open."""
        if self.type != wanted.type or self.shape is None or wanted.shape is None:
            return False
        return len(self.shape) == len(wanted.shape) and all(
            None in sides or sides[0] == sides[1]
            for sides in zip(self.shape, wanted.shape, strict=True)
        )

    def __str__(self) -> str:
        sides = ["?" if side is None else str(side) for side in self.shape or ()]
        return f"{self.name} {self.type} ({', '.join(sides) if self.shape else 'of any rank'})"


def check_graph(file: Path, classes: int) -> None:
    """Refuse an ``.onnx`` or ``.xml`` that is no graph of ``sgcp export`` for so many classes."""
    for part in (file, *[file.with_suffix(".bin")] * (file.suffix == ".xml")):
        if not part.is_file():
            raise SgcpError(f"{part}: no such file; copy it beside {file.name}, or export it again")
        if part.stat().st_size > MAX_BYTES:
            raise SgcpError(
                f"{part}: {part.stat().st_size:,} bytes, far more than this network has"
            )
    if file.suffix == ".xml" and not find_spec("openvino"):
        return  # nothing runs it
    inputs, outputs = _onnx_ports(file) if file.suffix == ".onnx" else _ir_ports(file)
    image = Port("image", "uint8", (1, None, None, 3))
    scores = Port("scores", "float32", (1, classes, None, None))
    labels = Port("labels", "uint8", (1, None, None))
    for kind, found, wanted in (
        ("inputs", inputs, [image]), ("outputs", outputs, [scores, labels])
    ):  # fmt: skip
        if len(found) != 1 or not any(found[0].fits(one) for one in wanted):
            shown = "; ".join(map(str, found[:3])) + ("; ..." if len(found) > 3 else "")
            raise SgcpError(
                f"{file}: not a graph of `sgcp export`: {kind} are {shown or 'missing'}. Expected "
                f"{' or '.join(map(str, wanted))}, for the {classes} classes of "
                f"{file.with_suffix('.json').name}"
            )


def _onnx_ports(file: Path) -> tuple[list[Port], list[Port]]:
    """Return the inputs and outputs that an ONNX file declares."""
    require("onnx", str(file))
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_model_from_string(file.read_bytes()).graph
    except DecodeError:
        graph = onnx.GraphProto()
    if not graph.node:
        raise SgcpError(f"{file}: damaged or not an ONNX graph; export it again")
    types: dict[int, str] = {onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.FLOAT: "float32"}

    def port(info: onnx.ValueInfoProto) -> Port:
        tensor = info.type.tensor_type
        sides = [side.dim_value if side.HasField("dim_value") else None
                 for side in tensor.shape.dim]  # fmt: skip
        kind = types.get(tensor.elem_type, f"type {tensor.elem_type}")
        return Port(info.name, kind, tuple(sides) if tensor.HasField("shape") else None)

    constants = {tensor.name for tensor in graph.initializer}
    inputs = [port(info) for info in graph.input if info.name not in constants]
    return inputs, [port(info) for info in graph.output]


def _ir_ports(file: Path) -> tuple[list[Port], list[Port]]:
    """Return the inputs and outputs of an OpenVINO IR, whose ``.bin`` must be whole."""
    from sgcp.inference.engines.openvino_engine import read_model

    try:
        _, root = next(ElementTree.iterparse(file, events=("start",)))
        is_ir = root.tag == "net"
    except (ElementTree.ParseError, StopIteration):
        is_ir = False
    if not is_ir:  # OpenVINO would try it as every other format, aloud
        raise SgcpError(f"{file}: damaged or not an OpenVINO IR; export it again")
    types = {"u8": "uint8", "f32": "float32"}

    def port(info: openvino.Output) -> Port:
        kind = info.get_element_type().get_type_name()
        shape = info.get_partial_shape()
        sides = None
        if not shape.rank.is_dynamic:
            sides = tuple(None if side.is_dynamic else side.get_length() for side in shape)
        return Port(min(info.get_names(), default="?"), types.get(kind, kind), sides)

    model = read_model(file)
    return [port(info) for info in model.inputs], [port(info) for info in model.outputs]
