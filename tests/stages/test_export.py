"""``sgcp export``: what it writes gives what eager PyTorch gives, or nothing is written."""

import json

import numpy as np
import pytest
import torch
from networks import eager_scores, picture, random_card, random_network, save_random

import sgcp
from sgcp.inference.predict import resize_logits


@pytest.fixture
def model(project):
    save_random(project.root)
    return project


def plain_scores(image):
    return eager_scores(random_network(), random_card(), image)


def plain_labels(image):
    scores = torch.from_numpy(plain_scores(image))[None]
    return resize_logits(scores, image.shape[:2]).argmax(1)[0].numpy()


def run(file, image):
    """Run an exported file, by ``sgcp.load`` or, for a program, by torch."""
    if file.suffix == ".pt2":
        program = torch.export.load(file).module()
        return program(torch.from_numpy(image)[None])[0].detach().numpy()
    return sgcp.load(file, precision="fp32").engine.run(image)


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2"])
def test_scores_of_any_odd_size_are_those_of_pytorch(model, suffix):
    text = model.ok("export", "model.safetensors", f"out{suffix}")
    assert "against PyTorch: largest difference" in text
    for size in ((131, 201), (177, 130)):
        image = picture(*size)
        wanted = plain_scores(image)
        found = run(model.root / f"out{suffix}", image)
        assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2"])
def test_baked_labels_of_a_fixed_size_are_those_of_pytorch(model, suffix):
    model.ok("export", "model.safetensors", f"out{suffix}", "--labels", "--size", "75", "93")
    image = picture(75, 93)
    found = run(model.root / f"out{suffix}", image)
    assert found.dtype == np.uint8
    assert (found == plain_labels(image)).mean() > 0.999
    facts = json.loads((model.root / "out.json").read_text())["provenance"]["export"]
    assert (facts["size"], facts["labels"], facts["int8"]) == ([75, 93], True, None)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_small_pictures_and_onnx_runtime_too(model, suffix):
    model.ok("export", "model.safetensors", f"out{suffix}", "--labels")
    for size in ((1, 1), (33, 17)):
        image = picture(*size)
        labels = sgcp.load(model.root / f"out{suffix}", precision="fp32").segment(image)
        assert (labels == plain_labels(image)).mean() > 0.99
    if suffix == ".onnx":
        other = sgcp.load(model.root / "out.onnx", engine="onnxruntime").segment(image)
        assert (other == labels).mean() > 0.99


def test_int8_says_what_it_costs(trained):
    text = trained.ok("export", "data/models/sample", "street.xml", "--int8", "--images", "3")
    facts = json.loads((trained.root / "street.json").read_text())["provenance"]["export"]["int8"]
    assert facts["images"] == 3
    assert "mIoU" in text
    labels = sgcp.load(trained.root / "street.xml", precision="fp32").segment(picture(64, 128))
    plain = sgcp.load(trained.root / "data/models/sample", precision="fp32")
    assert (labels == plain.segment(picture(64, 128))).mean() > 0.5


def test_a_graph_that_differs_is_not_written(model, monkeypatch):
    from sgcp.inference import graph

    def forget(network):
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.reset_running_stats()

    monkeypatch.setattr(graph, "fold_batch_norm", forget)
    assert "gives something else than PyTorch" in model.fails(
        "export", "model.safetensors", "out.onnx"
    )
    assert not list(model.root.glob("out.*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model.safetensors", "out.tflite"), "the suffix says what is written"),
        (("model.safetensors", "out.onnx", "--int8"), "name it .xml"),
        (("model.safetensors", "out.onnx", "--size", "8", "8"), "--size 8 8"),
        (("model.safetensors", "out.onnx", "--size", "20000", "20000"), "--size 20000"),
        (("model.safetensors", "model.onnx"), "belongs to another model"),
        (("out.onnx", "again.xml"), "is itself an export"),
        (("absent", "out.onnx"), "no model 'absent'"),
        (("model.safetensors", "out.onnx", "--images", "5"), "--images"),
        (("model.safetensors", "out.xml", "--int8"), "prepare"),
    ],
)
def test_bad_input_is_one_message(model, arguments, message):
    assert message in model.fails("export", *arguments)
    assert not list(model.root.glob("out*"))


def test_an_export_of_fixed_size_names_its_size(model):
    from sgcp.errors import SgcpError

    model.ok("export", "model.safetensors", "out.onnx", "--size", "64", "96")
    for engine in ("openvino", "onnxruntime"):
        with pytest.raises(SgcpError, match="exported for 64x96, got 65x96"):
            sgcp.load(model.root / "out.onnx", engine=engine).segment(picture(65, 96))


def test_the_size_that_a_model_wants_goes_with_it_where_it_can(project):
    from sgcp.models.card import read_card

    save_random(project.root, input_side=48)
    project.ok("export", "model.safetensors", "any.onnx")
    image = picture(96, 128)
    labels = sgcp.load(project.root / "any.onnx", precision="fp32").segment(image)
    plain = sgcp.load(project.root / "model.safetensors", precision="fp32").segment(image)
    assert (labels == plain).mean() > 0.999
    project.ok("export", "model.safetensors", "fixed.onnx", "--labels", "--size", "96", "128")
    assert read_card(project.root / "fixed.json").input_side is None
    text = project.fails("export", "model.safetensors", "out.onnx", "--labels")
    assert "short side of 48 pixels" in text
