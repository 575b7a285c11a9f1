"""``sgcp export``: what it writes gives what eager PyTorch gives, or nothing is written."""

import json

import numpy as np
import pytest
import torch
from conftest import Project
from networks import eager_scores, random_card, random_image, random_network, save_random
from PIL import Image

import sgcp
from sgcp.core.errors import SgcpError
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
@pytest.mark.integration
def test_scores_of_any_odd_size_are_those_of_pytorch(model, suffix):
    text = model.ok("export", "model.safetensors", f"out{suffix}")
    assert "against PyTorch: largest difference" in text
    for size in ((131, 201), (177, 130)):
        image = random_image(*size)
        wanted = plain_scores(image)
        found = run(model.root / f"out{suffix}", image)
        assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2"])
@pytest.mark.integration
def test_baked_labels_of_a_fixed_size_are_those_of_pytorch(model, suffix):
    model.ok("export", "model.safetensors", f"out{suffix}", "--labels", "--size", "75", "93")
    image = random_image(75, 93)
    found = run(model.root / f"out{suffix}", image)
    assert found.dtype == np.uint8
    assert (found == plain_labels(image)).mean() > 0.999
    facts = json.loads((model.root / "out.json").read_text())["provenance"]["export"]
    assert (facts["size"], facts["labels"], facts["int8"]) == ([75, 93], True, None)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.integration
def test_small_images_and_onnx_runtime_too(model, suffix):
    model.ok("export", "model.safetensors", f"out{suffix}", "--labels")
    for size in ((1, 1), (33, 17)):
        image = random_image(*size)
        labels = sgcp.load(model.root / f"out{suffix}", precision="fp32").segment(image)
        assert (labels == plain_labels(image)).mean() > 0.99
    if suffix == ".onnx":
        other = sgcp.load(model.root / "out.onnx", engine="onnxruntime").segment(image)
        assert (other == labels).mean() > 0.99


@pytest.mark.parametrize(("suffix", "swapped"), [(".onnx", ".onnx"), (".xml", ".bin")])
@pytest.mark.integration
def test_graph_of_another_description_is_refused(model, suffix, swapped):
    model.ok("export", "model.safetensors", f"out{suffix}")
    path = model.root / f"out{swapped}"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(SgcpError, match=r"not the weights that out\.json describes"):
        sgcp.load(model.root / f"out{suffix}")


@pytest.mark.integration
def test_int8_says_what_it_costs(trained):
    text = trained.ok("export", "data/models/sample", "street.xml", "--int8", "--images", "3")
    facts = json.loads((trained.root / "street.json").read_text())["provenance"]["export"]["int8"]
    assert facts["images"] == 3
    assert "mIoU" in text
    labels = sgcp.load(trained.root / "street.xml", precision="fp32").segment(random_image(64, 128))
    plain = sgcp.load(trained.root / "data/models/sample", precision="fp32")
    assert (labels == plain.segment(random_image(64, 128))).mean() > 0.5


def int8_facts(file):
    return json.loads(file.with_suffix(".json").read_text())["provenance"]["export"]["int8"]


@pytest.mark.integration
def test_int8_takes_its_ranges_from_any_folder_without_a_project(tmp_path):
    save_random(tmp_path)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for name, size in (("a.jpg", (64, 96)), ("more/b.png", (96, 64)), ("more/c.webp", (48, 48))):
        Image.fromarray(random_image(*size)).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("by the sea")
    whole = (tmp_path / "photos" / "a.jpg").read_bytes()
    (tmp_path / "photos" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    text = Project(tmp_path).ok(
        "export", "model.safetensors", "out.xml", "--int8", "--calibrate", "photos"
    )
    assert "2 files are not readable images, skipped: notes.txt, half.jpg" in text
    assert "3 images are few" in text
    assert "mIoU not measured: no params.yaml" in text
    facts = int8_facts(tmp_path / "out.xml")
    assert (facts["images"], facts["split"], facts["scores"]) == (3, None, None)
    assert f"{100 * facts['equal_labels']:.2f} % of the labels equal" in text
    assert 0.5 < facts["equal_labels"] <= 1
    assert sgcp.load(tmp_path / "out.xml").segment(random_image(40, 48)).shape == (40, 48)


@pytest.mark.integration
def test_int8_of_a_model_that_learnt_what_would_be_scored_is_not_scored(trained):
    trained.set(sample__validate__split="train")
    text = trained.ok("export", "data/models/sample", "street.xml", "--int8", "--images", "2")
    assert "mIoU not measured: 4 of 4" in text
    assert "% of the labels equal" in text
    facts = int8_facts(trained.root / "street.xml")
    assert (facts["images"], facts["split"], facts["scores"]) == (2, "train", None)


def test_a_graph_that_differs_is_not_written(model, monkeypatch):
    from sgcp.inference import graph

    def forget(network):
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.reset_running_stats()

    monkeypatch.setattr(graph, "fold_batch_norm", forget)
    assert "out.onnx: not written" in model.fails("export", "model.safetensors", "out.onnx")
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
        (("model.safetensors", "out.xml", "--int8"), "prepare"),
        (("model.safetensors", "out.xml", "--int8"), "--calibrate DIR"),
        (("model.safetensors", "out.xml", "--int8", "--calibrate", "absent"), "no such folder"),
        (("model.safetensors", "out.xml", "--int8", "--calibrate", "pipeline"), "no readable"),
    ],
)
def test_bad_input_is_one_message(model, arguments, message):
    assert message in model.fails("export", *arguments)
    assert not list(model.root.glob("out*"))


def test_an_export_of_fixed_size_names_its_size(model):
    model.ok("export", "model.safetensors", "out.onnx", "--size", "64", "96")
    for engine in ("openvino", "onnxruntime"):
        with pytest.raises(SgcpError, match="exported for 64x96, got 65x96"):
            sgcp.load(model.root / "out.onnx", engine=engine).segment(random_image(65, 96))


@pytest.fixture
def shortened(project):
    """A model whose images are resized to a short side of 48 first."""
    save_random(project.root, input_side=48)
    return project


def resize_of(file):
    """Return the resizing that an export asks for in its description."""
    return json.loads(file.with_suffix(".json").read_text())["preprocessing"]["resize"]


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2"])
@pytest.mark.integration
def test_an_export_says_how_images_are_resized_first(shortened, suffix):
    file = shortened.root / f"any{suffix}"
    text = shortened.ok("export", "model.safetensors", file.name)
    assert "resize so that the short side is 48 (bilinear, antialiased) first" in text
    assert resize_of(file) == {
        "short_side": 48, "max_enlarged_pixels": 2**23, "filter": "bilinear", "antialias": True,
    }  # fmt: skip


def test_a_model_for_images_as_they_are_asks_for_no_resizing(model):
    assert "resize" not in model.ok("export", "model.safetensors", "any.onnx")
    assert resize_of(model.root / "any.onnx") is None


def test_the_graph_itself_says_how_images_are_resized(shortened):
    import onnxruntime
    import openvino

    shortened.ok("export", "model.safetensors", "a.onnx")
    shortened.ok("export", "model.safetensors", "b.xml")
    session = onnxruntime.InferenceSession(shortened.root / "a.onnx")
    ir = openvino.Core().read_model(shortened.root / "b.xml")
    for said in (
        session.get_modelmeta().custom_metadata_map["preprocessing"],
        ir.get_rt_info("preprocessing").value,
    ):
        assert json.loads(said)["resize"]["short_side"] == 48


@pytest.mark.integration
def test_a_loaded_export_resizes_as_its_model_does(shortened):
    shortened.ok("export", "model.safetensors", "any.onnx")
    shortened.ok("export", "model.safetensors", "fixed.onnx", "--size", "48", "64")
    image = random_image(96, 128)
    plain = sgcp.load(shortened.root / "model.safetensors", precision="fp32").segment(image)
    for name in ("any.onnx", "fixed.onnx"):
        labels = sgcp.load(shortened.root / name, precision="fp32").segment(image)
        assert (labels == plain).mean() > 0.999


def test_a_size_that_the_model_was_not_trained_for_is_warned_of(shortened):
    from sgcp.models.card import read_card

    warning = "trained for a short side of 48 pixels"
    options = ("--labels", "--size", "96", "128")
    text = shortened.ok("export", "model.safetensors", "large.onnx", *options)
    assert warning in text
    assert "--size 48 64 has the same proportions" in text
    assert read_card(shortened.root / "large.onnx").input_side is None
    assert resize_of(shortened.root / "large.onnx")["height"] == 96
    text = shortened.ok("export", "model.safetensors", "right.onnx", "--size", "48", "64")
    assert warning not in text


def test_labels_of_a_resized_image_need_its_size(shortened):
    text = shortened.fails("export", "model.safetensors", "out.onnx", "--labels")
    assert "resized to a short side of 48 pixels" in text
    assert "--size 48 64" in text
    shortened.ok("export", "model.safetensors", "out.onnx", "--labels", "--size", "48", "64")
