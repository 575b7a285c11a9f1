"""An exported graph that is not one: one message that names the file, whatever runs it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import random_card, random_image, random_network
from onnx import TensorProto, helper
from PIL import Image

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.core.files import to_json
from sgcp.inference.engines.openvino_engine import read_model
from sgcp.inference.graph import InferenceGraph, ir_files, to_onnx

ENGINES = ("openvino", "onnxruntime")
GIBI = 2**30


@pytest.fixture(scope="module")
def content():
    """A graph as it should be."""
    return to_onnx(InferenceGraph(random_network(), random_card()))


def write(folder: Path, content: bytes, name: str = "m.onnx") -> Path:
    """Write a graph and a description beside it; returns the file of the graph."""
    file = folder / name
    file.write_bytes(content)
    file.with_suffix(".json").write_text(to_json(random_card().to_json()))
    return file


def changed(content: bytes, change) -> bytes:
    model = onnx.load_model_from_string(content)
    change(model.graph)
    return model.SerializeToString()


def refused(file: Path, engine: str) -> str:
    with pytest.raises(SgcpError) as caught:
        sgcp.load(file, engine=engine).segment(random_image(40, 48))
    message = str(caught.value)
    assert str(file.stem) in message
    assert len(message.splitlines()) == 1
    return message


def tensor(value):
    return value.type.tensor_type


def add_output(graph):
    """Return 32 GB of zeros beside the scores."""
    graph.initializer.append(helper.make_tensor("many", TensorProto.INT64, [1], [8 * GIBI]))
    graph.node.append(helper.make_node("ConstantOfShape", ["many"], ["zz"]))
    graph.output.append(helper.make_tensor_value_info("zz", TensorProto.FLOAT, None))


MORE = helper.make_tensor_value_info("more", TensorProto.FLOAT, [1])


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("inputs are image uint8 (?, ?, ?, 3); more float32 (1)", lambda g: g.input.append(MORE)),
        ("outputs are scores float32 (?, 11, ?, ?); zz float32 (of any rank)", add_output),
        ("damaged or not an ONNX graph", lambda g: g.ClearField("input")),
        (
            "inputs are image float32",
            lambda g: setattr(tensor(g.input[0]), "elem_type", TensorProto.FLOAT),
        ),
        (
            "inputs are image uint8 (4, ?, ?, 3)",
            lambda g: setattr(tensor(g.input[0]).shape.dim[0], "dim_value", 4),
        ),
        (
            "inputs are image uint8 (?, ?, ?, 1)",
            lambda g: setattr(tensor(g.input[0]).shape.dim[3], "dim_value", 1),
        ),
        ("inputs are image uint8 (?, ?, 3)", lambda g: tensor(g.input[0]).shape.dim.pop(0)),
        (
            "outputs are scores float32 (of any rank)",
            lambda g: tensor(g.output[0]).ClearField("shape"),
        ),
        (
            "Expected scores float32 (1, 11, ?, ?) or labels uint8 (1, ?, ?), for the 11 classes",
            lambda g: setattr(tensor(g.output[0]).shape.dim[1], "dim_value", 19),
        ),
        (
            "outputs are scores i64",
            lambda g: setattr(tensor(g.output[0]), "elem_type", TensorProto.INT64),
        ),
    ],
)
def test_other_inputs_and_outputs_are_refused_before_anything_runs(
    tmp_path, content, message, change
):
    assert message in refused(write(tmp_path, changed(content, change)), "auto")


def test_other_outputs_of_an_ir_are_refused(tmp_path, content):
    model = read_model(content)
    inner = next(node for node in model.get_ops() if node.get_type_name() == "Sigmoid")
    model.add_outputs(inner.output(0))
    for path, part in ir_files(model, tmp_path / "m.xml").items():
        write(tmp_path, part, path.name)
    assert "outputs are" in refused(tmp_path / "m.xml", "openvino")


@pytest.mark.parametrize("engine", ENGINES)
def test_what_an_engine_cannot_run_is_named(tmp_path, content, engine):
    """The node is declared nowhere: only running it fails."""

    def misfit(graph):
        graph.initializer.append(helper.make_tensor("odd", TensorProto.FLOAT, [7, 7], [0.0] * 49))
        graph.output[0].name, scores = "sum", graph.output[0].name
        graph.node.append(helper.make_node("Add", [scores, "odd"], ["sum"]))

    assert "cannot r" in refused(write(tmp_path, changed(content, misfit)), engine)


def test_scores_of_another_stride_are_refused(tmp_path):
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("ReduceMean", ["planes", "axis"], ["mean"]),
        helper.make_node("Expand", ["mean", "shape"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["b", "h", "w", 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["b", 11, "h", "w"])],
        [helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
         helper.make_tensor("shape", TensorProto.INT64, [4], [1, 11, 1, 1])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    file = write(tmp_path, model.SerializeToString())
    assert "an image of 40x48 gives 40x48 outputs, not 5x6" in refused(file, "auto")


def test_labels_beyond_the_named_classes_are_refused(tmp_path):
    graph = InferenceGraph(random_network(), random_card(), labels=True)
    file = write(tmp_path, to_onnx(graph))
    description = random_card().to_json()
    description["classes"] = description["classes"][:1]
    file.with_suffix(".json").write_text(to_json(description))
    assert "the JSON beside it names 1 classes" in refused(file, "auto")


NOISE = np.random.default_rng(0).bytes(1000)
IR_WITHOUT_GRAPH = b'<?xml version="1.0"?><net name="a" version="11"><layers></layers></net>'


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("m.onnx", NOISE),
        ("m.onnx", b""),
        ("m.onnx", None),
        ("m.xml", NOISE),
        ("m.xml", b""),
        ("m.xml", b"<html></html>"),
        ("m.xml", IR_WITHOUT_GRAPH),
    ],
)
def test_a_damaged_export_is_one_error_line_and_no_foreign_noise(tmp_path, name, damage, content):
    """Native code writes past Python, so this is a process of its own."""
    file = write(tmp_path, content[:-1000] if damage is None else damage, name)
    file.with_suffix(".bin").write_bytes(b"123")
    Image.fromarray(random_image(40, 48)).save(tmp_path / "street.png")
    command = [sys.executable, "-m", "sgcp", "segment", "street.png", "--model", name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {name}: ")
    assert "bug" not in line


def test_an_ir_without_its_weights_is_told_so(tmp_path, content):
    for path, part in ir_files(read_model(content), tmp_path / "m.xml").items():
        write(tmp_path, part, path.name)
    weights = (tmp_path / "m.bin").read_bytes()
    (tmp_path / "m.bin").write_bytes(weights[: len(weights) // 2])
    assert "OpenVINO cannot read it" in refused(tmp_path / "m.xml", "openvino")
    (tmp_path / "m.bin").unlink()
    assert "m.bin: no such file; copy it beside m.xml" in refused(tmp_path / "m.xml", "openvino")


def test_missing_files_are_named_with_the_command_that_makes_them(tmp_path, content):
    (tmp_path / "n.onnx").mkdir()
    for name in ("m.onnx", "n.onnx"):
        assert "no such file; give another path, or `sgcp export`" in refused(
            tmp_path / name, "auto"
        )
    write(tmp_path, content).with_suffix(".json").unlink()
    assert "sgcp export" in refused(tmp_path / "m.onnx", "auto")


def test_provenance_of_another_form_is_a_damaged_description(tmp_path, content):
    file = write(tmp_path, content)
    description = random_card().to_json() | {"provenance": {"export": "x"}}
    file.with_suffix(".json").write_text(to_json(description))
    assert "m.json: damaged model description: provenance" in refused(file, "auto")
