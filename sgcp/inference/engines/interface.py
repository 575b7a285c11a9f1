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
from sgcp.models.card import MAX_BYTES

if TYPE_CHECKING:
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
    if not find_spec("openvino"):
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


def _onnx_ports(file: Path) -> list[list[Port]]:
    """Return the inputs and outputs that an ONNX file declares; nothing of it is worked out."""
    from openvino.frontend import FrontEndManager

    try:
        model = FrontEndManager().load_by_framework("onnx").load(str(file))
        places = model.get_inputs(), model.get_outputs()
    except Exception:  # OpenVINO's own classes derive from Exception alone
        places = [], []
    if places == ([], []):
        raise SgcpError(f"{file}: damaged or not an ONNX graph; export it again")
    return [
        [_port(p.get_names(), model.get_element_type(p), model.get_partial_shape(p)) for p in side]
        for side in places
    ]


def _ir_ports(file: Path) -> list[list[Port]]:
    """Return the inputs and outputs of an OpenVINO IR, whose ``.bin`` must be whole."""
    from sgcp.inference.engines.openvino_engine import read_model

    try:
        _, root = next(ElementTree.iterparse(file, events=("start",)))
        is_ir = root.tag == "net"
    except (ElementTree.ParseError, StopIteration):
        is_ir = False
    if not is_ir:  # OpenVINO would try it as every other format, aloud
        raise SgcpError(f"{file}: damaged or not an OpenVINO IR; export it again")
    model = read_model(file)
    return [
        [_port(p.get_names(), p.get_element_type(), p.get_partial_shape()) for p in side]
        for side in (model.inputs, model.outputs)
    ]


def _port(names: set[str] | list[str], kind: openvino.Type, shape: openvino.PartialShape) -> Port:
    sides = None
    if not shape.rank.is_dynamic:
        sides = tuple(None if side.is_dynamic else side.get_length() for side in shape)
    name = kind.get_type_name()
    return Port(min(names, default="?"), {"u8": "uint8", "f32": "float32"}.get(name, name), sides)
