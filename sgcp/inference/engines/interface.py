"""What an exported graph declares, checked before any of it runs.

Engines work out constants while they load a graph, so one more output can cost all memory. Both
would also print warnings of their own about files that are no graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from sgcp.core.errors import SgcpError
from sgcp.models.card import MAX_BYTES

if TYPE_CHECKING:
    import onnx
    import openvino

Side = int | None  # None: any


@dataclass(frozen=True)
class Port:
    """An input or output of a graph."""

    name: str
    type: str
    """uint8 or float32; any other as the format names it."""
    shape: tuple[Side, ...] | None
    """None: of any rank."""

    def fits(self, type: str, shape: tuple[Side, ...]) -> bool:
        """Tell whether it is of this type and rank, and has these sides or leaves them open."""
        return (
            self.type == type
            and self.shape is not None
            and len(self.shape) == len(shape)
            and all(None in (have, want) or have == want
                    for have, want in zip(self.shape, shape, strict=True))
        )  # fmt: skip

    def __str__(self) -> str:
        sides = ["?" if side is None else str(side) for side in self.shape or ()]
        return f"{self.name} {self.type} ({', '.join(sides) if self.shape else 'of any rank'})"


def check_graph(file: Path, classes: int) -> None:
    """Refuse a file that is no graph as ``sgcp export`` writes it.

    Args:
        file: ``.onnx`` or ``.xml``.
        classes: how many the description beside it names.

    Raises:
        SgcpError: damaged or incomplete; other inputs and outputs than one image and its scores or
            labels; or scores of another number of classes.
    """
    for part in (file, *[file.with_suffix(".bin")] * (file.suffix == ".xml")):
        if not part.is_file():
            raise SgcpError(f"{part}: no such file; copy it beside {file.name}, or export it again")
        if part.stat().st_size > MAX_BYTES:
            raise SgcpError(
                f"{part}: {part.stat().st_size:,} bytes, far more than this network has"
            )
    if file.suffix == ".onnx":
        inputs, outputs = read_onnx_ports(file)
    elif find_spec("openvino"):
        inputs, outputs = read_ir_ports(file)
    else:
        return  # nothing runs it
    if len(inputs) != 1 or not inputs[0].fits("uint8", (1, None, None, 3)):
        refuse(file, "input", inputs, "one image of type uint8 and shape (1, ?, ?, 3)")
    if len(outputs) != 1 or not (
        outputs[0].fits("float32", (1, classes, None, None))
        or outputs[0].fits("uint8", (1, None, None))
    ):
        refuse(
            file, "output", outputs,
            f"either scores of type float32 and shape (1, {classes}, ?, ?) for the {classes} "
            f"classes of {file.with_suffix('.json').name}, or labels, uint8 (1, ?, ?)",
        )  # fmt: skip


def refuse(file: Path, kind: str, found: Sequence[Port], wanted: str) -> None:
    """Raise the error of a graph with other inputs or outputs.

    Raises:
        SgcpError: always.
    """
    shown = "; ".join(map(str, found[:3])) + ("; ..." if len(found) > 3 else "")
    raise SgcpError(
        f"{file}: not a graph of `sgcp export`: {kind}s are {shown or 'missing'}. Expected {wanted}"
    )


def read_onnx_ports(file: Path) -> tuple[list[Port], list[Port]]:
    """Return the inputs and outputs that an ONNX file declares.

    Raises:
        SgcpError: no ONNX.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_model_from_string(file.read_bytes()).graph
    except DecodeError:
        graph = onnx.GraphProto()
    if not graph.node:
        raise SgcpError(f"{file}: damaged or not an ONNX graph; export it again")
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [port for port in graph.input if port.name not in constants]
    return [onnx_port(port) for port in inputs], [onnx_port(port) for port in graph.output]


def onnx_port(info: onnx.ValueInfoProto) -> Port:
    """Return an input or output of an ONNX graph."""
    import onnx

    tensor = info.type.tensor_type
    names: dict[int, str] = {onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.FLOAT: "float32"}
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(side.dim_value if side.HasField("dim_value") else None
                      for side in tensor.shape.dim)  # fmt: skip
    return Port(info.name, names.get(tensor.elem_type, f"type {tensor.elem_type}"), shape)


def read_ir_ports(file: Path) -> tuple[list[Port], list[Port]]:
    """Return the inputs and outputs of an OpenVINO IR.

    Raises:
        SgcpError: no IR, or its ``.bin`` is too short.
    """
    from sgcp.inference.engines.openvino_engine import read_model

    try:
        root = next(element for _, element in ElementTree.iterparse(file, events=("start",)))
        is_ir = root.tag == "net"
    except (ElementTree.ParseError, StopIteration):
        is_ir = False
    if not is_ir:  # OpenVINO would try it as every other format, aloud
        raise SgcpError(f"{file}: damaged or not an OpenVINO IR; export it again")
    model = read_model(file)
    types = {"u8": "uint8", "f32": "float32"}

    def ports(found: Sequence[openvino.Output]) -> list[Port]:
        return [
            Port(
                min(one.get_names(), default="?"),
                types.get(kind := one.get_element_type().get_type_name(), kind),
                None if (shape := one.get_partial_shape()).rank.is_dynamic else
                tuple(None if side.is_dynamic else side.get_length() for side in shape),
            )
            for one in found
        ]  # fmt: skip

    return ports(model.inputs), ports(model.outputs)
