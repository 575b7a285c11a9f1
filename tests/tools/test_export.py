"""``sgcp export``: what it writes gives what eager PyTorch gives, or nothing is written."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import Project
from networks import eager_scores, random_card, random_image, random_network, save_random
from PIL import Image
from ruamel.yaml import YAML

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.inference.predict import resize_logits
from sgcp.models import build_network
from sgcp.models.artifact import save_model
from sgcp.models.card import read_card
from sgcp.models.network import Normalize


@pytest.fixture
def model(project):
    save_random(project.root)
    return project


def plain(image):
    """Scores of eager PyTorch, and labels: of the image with its mean around it, cut again."""
    network, card = random_network().eval(), random_card()
    height, width = image.shape[:2]
    whole = torch.zeros(1, 3, -(-height // 8) * 8, -(-width // 8) * 8)
    whole[..., :height, :width] = Normalize(card.mean, card.std)(
        torch.from_numpy(image).permute(2, 0, 1)[None]
    )
    with torch.inference_mode():
        labels = resize_logits(network(whole), whole.shape[-2:])[0, :, :height, :width].argmax(0)
    return eager_scores(network, card, image), labels.numpy()


def run(file, image):
    """Run an exported file, by ``sgcp.load`` or, for a program, by torch."""
    if file.suffix == ".pt2":
        program = torch.export.load(file).module()
        return program(torch.from_numpy(image)[None])[0].detach().numpy()
    return sgcp.load(file, precision="fp32").engine.run(image)


def read(file):
    return json.loads(file.read_text())


def described(file):
    return read(file.with_suffix(".json"))


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2"])
@pytest.mark.integration
def test_an_export_gives_what_pytorch_gives(model, suffix):
    """Scores of any odd size, labels of a fixed one, and labels of any, small ones too."""
    any_size, fixed = model.root / f"any{suffix}", model.root / f"fixed{suffix}"
    text = model.ok("export", "model.safetensors", any_size.name)
    assert "against PyTorch: largest difference" in text
    for size in ((131, 201), (177, 130)):
        image = random_image(*size)
        wanted, _ = plain(image)
        assert np.abs(run(any_size, image) - wanted).max() < 1e-4 * np.abs(wanted).max()
    image = random_image(75, 93)
    model.ok("export", "model.safetensors", fixed.name, "--labels", "--size", "75", "93")
    found = run(fixed, image)
    assert found.dtype == np.uint8
    assert (found == plain(image)[1]).mean() > 0.999
    facts = described(fixed)["provenance"]["export"]
    assert (facts["size"], facts["labels"], facts["int8"]) == ([75, 93], True, None)
    if suffix != ".pt2":
        model.ok("export", "model.safetensors", any_size.name, "--labels")
        for size in ((1, 1), (33, 17)):
            image = random_image(*size)
            labels = sgcp.load(any_size, precision="fp32").segment(image)
            assert (labels == plain(image)[1]).mean() > 0.99


@pytest.mark.parametrize(("suffix", "swapped"), [(".onnx", ".onnx"), (".xml", ".bin")])
@pytest.mark.integration
def test_graph_of_another_description_is_refused(model, suffix, swapped):
    model.ok("export", "model.safetensors", f"out{suffix}")
    path = model.root / f"out{swapped}"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(SgcpError, match=r"not the weights that out\.json describes"):
        sgcp.load(model.root / f"out{suffix}")


def int8_facts(file):
    return described(file)["provenance"]["export"]["int8"]


@pytest.mark.parametrize(
    ("name", "engine"),
    [("street.xml", "auto"), ("street.onnx", "auto"), ("street.onnx", "onnxruntime")],
)
@pytest.mark.integration
def test_int8_says_what_it_costs(trained, name, engine):
    text = trained.ok("export", "data/models/sample", name, "--int8", "--images", "3")
    assert int8_facts(trained.root / name)["images"] == 3
    assert "in fp32" in text
    scores = int8_facts(trained.root / name)["scores"]
    assert scores["miou_difference"] == scores["miou_int8"] - scores["miou_fp32"]
    image = random_image(64, 128)
    plain = sgcp.load(trained.root / "data/models/sample", precision="fp32")
    for precision in ("fp32", "int8", "auto"):
        model = sgcp.load(trained.root / name, precision=precision, engine=engine)
        assert (model.segment(image) == plain.segment(image)).mean() > 0.5
        assert model.engine.precision == "int8"


@pytest.mark.integration
def test_int8_states_only_the_difference_of_images_that_were_learnt(trained):
    command = ("export", "data/models/sample", "street.xml", "--int8", "--images")
    trained.set(sample__validate__split="train")
    text = trained.ok(*command, "2")
    assert "4 images that the model was trained on: mIoU" in text
    assert "in fp32" not in text
    facts = int8_facts(trained.root / "street.xml")
    assert (facts["images"], facts["split"], facts["scores"]["trained_on"]) == (2, "train", True)
    assert not {"miou_fp32", "miou_int8"} & facts["scores"].keys()


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
        (("model.safetensors", "out.pt2", "--int8"), "--int8 is for .onnx and .xml"),
        (("model.safetensors", "out.onnx", "--format", "torch"), "--format torch ends in .pt2"),
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


@pytest.mark.parametrize("images", [(), ("--calibrate", "photos")])
def test_int8_does_not_hide_a_wrong_recipe(model, images):
    (model.root / "photos").mkdir()
    Image.fromarray(random_image(32, 48)).save(model.root / "photos/one.png")
    model.set(recipe="none")
    message = model.fails("export", "model.safetensors", "out.xml", "--int8", *images)
    assert message.startswith("error: recipe: camvid has no 'none'")


@pytest.fixture
def shortened(project):
    """A model whose images are resized to a short side of 48 first."""
    save_random(project.root, input_side=48)
    return project


def test_an_export_says_how_images_are_resized_first(shortened):
    """On the terminal, in the JSON beside it, and in the graph."""
    import onnxruntime
    import openvino

    for name in ("a.onnx", "b.xml"):
        text = shortened.ok("export", "model.safetensors", name)
        assert (
            "resize to multiples of 8, the short side to 48 (bilinear, antialiased) first" in text
        )
        resize = described(shortened.root / name)["preprocessing"]["resize"]
        assert resize == {
            "short_side": 48, "max_enlarged_pixels": 2**23, "multiple_of": 8,
            "filter": "bilinear", "antialias": True,
        }  # fmt: skip
    session = onnxruntime.InferenceSession(shortened.root / "a.onnx")
    ir = openvino.Core().read_model(shortened.root / "b.xml")
    for said in (
        session.get_modelmeta().custom_metadata_map["preprocessing"],
        ir.get_rt_info("preprocessing").value,
    ):
        assert json.loads(said)["resize"] == resize


def test_a_model_for_images_as_they_are_asks_for_whole_cells_alone(model):
    assert "; resize to multiples of 8 (" in model.ok("export", "model.safetensors", "any.onnx")
    resize = described(model.root / "any.onnx")["preprocessing"]["resize"]
    assert resize == {"multiple_of": 8, "filter": "bilinear", "antialias": True}
    assert "resize" not in model.ok("export", "model.safetensors", "labels.onnx", "--labels")
    assert described(model.root / "labels.onnx")["preprocessing"]["resize"] is None
    text = model.fails("export", "model.safetensors", "fixed.onnx", "--size", "201", "331")
    assert "expected multiples of 8 pixels, which a score stands for: --size 200 328" in text


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

    warning = "trained for a short side of 48 pixels"
    options = ("--labels", "--size", "96", "128")
    text = shortened.ok("export", "model.safetensors", "large.onnx", *options)
    assert warning in text
    assert "--size 48 64 has the same proportions" in text
    assert read_card(shortened.root / "large.onnx").input_side is None
    assert described(shortened.root / "large.onnx")["preprocessing"]["resize"]["height"] == 96
    text = shortened.ok("export", "model.safetensors", "right.onnx", "--size", "48", "64")
    assert warning not in text


def test_labels_of_a_resized_image_need_its_size(shortened):
    text = shortened.fails("export", "model.safetensors", "out.onnx", "--labels")
    assert "resized to a short side of 48 pixels" in text
    assert "--size 48 64" in text
    shortened.ok("export", "model.safetensors", "out.onnx", "--labels", "--size", "48", "64")


def program_of(readme):
    """The Python of a README.md."""
    return readme.read_text().partition("```python\n")[2].partition("```")[0]


@pytest.mark.parametrize("form", ["onnx", "openvino", "torch"])
@pytest.mark.parametrize(
    "more", [[], ["--labels", "--size", "144", "192"], ["--size", "144", "192"]],
    ids=["any", "labels", "fixed"],
)  # fmt: skip
@pytest.mark.integration
def test_the_program_in_the_readme_gives_the_labels_of_load(project, form, more, monkeypatch):
    save_random(project.root, input_side=144)
    Image.fromarray(random_image(180, 317)).save(project.root / "street.png")
    assert "out/model." in project.ok("export", "model.safetensors", "out", "--format", form, *more)
    monkeypatch.chdir(project.root / "out")
    names = {}
    program = program_of(project.root / "out/README.md").replace("street.png", "../street.png")
    exec(program, names)
    photo = Image.open("../street.png")
    plain = sgcp.load("../model.safetensors", precision="fp32")
    size = (144, 192) if more else None
    if "--labels" in more:
        photo = photo.resize((192, 144), Image.Resampling.BILINEAR)
    wanted = plain.segment(photo, input_size=size)
    assert names["labels"].dtype == np.uint8
    assert (names["labels"] == wanted).mean() > 0.999
    promised = "does all of this" in (project.root / "out/README.md").read_text()
    assert promised == (form != "torch" and "--labels" not in more)
    if form != "torch":
        loaded = sgcp.load(project.root / "out", precision="fp32")
        assert (loaded.segment(photo) == wanted).mean() > 0.999


def front_matter(readme):
    _, content, _ = readme.read_text().split("---\n", 2)
    return YAML(typ="safe").load(content)


@pytest.mark.integration
def test_the_readme_has_the_score_of_this_model_alone(trained):
    file = trained.root / "metrics/sample/validate.json"
    scores = read(file)
    miou = scores["miou"]
    trained.ok("export", "data/models/sample", "out")
    facts = front_matter(trained.root / "out/README.md")
    assert facts["pipeline_tag"] == "image-segmentation"
    (result,) = facts["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "mean_iou", "value": round(miou, 4)}]
    assert f"| mIoU | {100 * miou:.2f} % on `val` |" in (trained.root / "out/README.md").read_text()
    for other in ({"model": {"sha256": "0" * 64}}, {"flip": True}, {"scales": [1.0, 2.0]},
                  {"input_size": [32, 64]}):  # fmt: skip
        file.write_text(json.dumps(scores | other))
        trained.ok("export", "data/models/sample", "out")
        assert "model-index" not in front_matter(trained.root / "out/README.md")
    file.write_text(json.dumps(scores))
    trained.ok("export", "data/models/sample", "sized", "--size", "96", "192")
    assert "model-index" not in front_matter(trained.root / "sized/README.md")
    trained.ok("export", "data/models/sample", "small", "--format", "openvino", "--int8")
    small = int8_facts(trained.root / "small/model.xml")["scores"]
    (result,) = front_matter(trained.root / "small/README.md")["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == round(small["miou_int8"], 4)


@pytest.mark.integration
def test_a_network_of_another_stride_says_so_and_which_sizes_it_takes(project):
    network = build_network("linknet", 11)
    card = replace(read_card(save_random(project.root), "x"), network="linknet")
    save_model(network, network.state_dict(), card, project.root / "other.safetensors")
    text = project.ok("export", "other.safetensors", "fits", "--size", "128", "160")
    assert "output scores: float32 (1, 11, rows, columns)" in text
    for options in ((), ("--size", "360", "480")):
        text = project.fails("export", "other.safetensors", "fails", *options)
        assert "linknet: does not take any size, or not this one" in text


def test_a_readme_of_the_users_own_stays(model):
    (model.root / "out").mkdir()
    (model.root / "out/README.md").write_text("# mine")
    assert "not of an export" in model.fails("export", "model.safetensors", "out")
    assert (model.root / "out/README.md").read_text() == "# mine"
    assert not (model.root / "out/model.onnx").exists()


@pytest.mark.integration
def test_an_export_is_scored_on_images_that_it_was_not_trained_on_though_it_lists_none(trained):
    trained.ok("export", "data/models/sample", "street.onnx")
    summary = described(trained.root / "street.onnx")["provenance"]["export"]["trained_on"]
    assert summary["images"] == len(
        read(trained.root / "data/models/sample/model.json")["trained_on"]
    )
    assert described(trained.root / "street.onnx")["trained_on"] == {}
    trained.ok("validate", "sample", "--model", "street.onnx", "--name", "street")
    scores = read(trained.root / "metrics/sample/models/street/validate.json")
    assert scores["miou"] == pytest.approx(
        read(trained.root / "metrics/sample/validate.json")["miou"]
    )
    text = trained.fails("validate", "sample", "--model", "street.onnx", "--split", "train")
    assert "were trained on" in text
    trained.set(sample__download__seed=8)
    trained.ok("download", "sample")
    trained.ok("prepare", "sample")
    text = trained.fails("validate", "sample", "--model", "street.onnx")
    assert "was trained on other images than splits of this dataset" in text
