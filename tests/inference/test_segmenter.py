import sys
from pathlib import Path

import numpy as np
import pytest
from networks import random_image, save_random
from PIL import Image

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.inference.engines.choice import BUNDLED
from sgcp.inference.engines.interface import check_graph
from sgcp.inference.segmenter import choose_device, find_model
from sgcp.models.card import MAX_ENLARGED, input_size


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    return sgcp.load(save_random(tmp_path_factory.mktemp("model")), precision="fp32", threads=1)


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (120, 161)])
@pytest.mark.parametrize("input_size", [None, (64, 64)])
def test_labels_have_the_size_of_the_image(segmenter, size, input_size):
    labels = segmenter.segment(np.zeros((*size, 3), np.uint8), input_size)
    assert labels.shape == size
    assert labels.max() < 11


def test_input_size_is_what_the_network_sees(segmenter):
    image = random_image(96, 128)
    resized = np.array(Image.fromarray(image).resize((80, 48), Image.Resampling.BILINEAR))
    labels = segmenter.segment(image, input_size=(48, 80))
    assert (labels == segmenter.engine.label(resized, (96, 128))).all()
    assert (labels != segmenter.segment(image)).any()


@pytest.mark.parametrize("size", [(160, 240), (161, 241), (167, 247), (163, 236)])
@pytest.mark.parametrize("ready", [False, True])
def test_a_border_is_labelled_where_it_is(segmenter, monkeypatch, size, ready):
    """Whole cells: the last of 241 pixels would else be resized as if it were 8 pixels wide."""

    def run(image):
        grey = np.pad(
            image[..., 0].astype(np.float32), [(0, -s % 8) for s in image.shape[:2]], "edge"
        )
        cells = grey.reshape(grey.shape[0] // 8, 8, grey.shape[1] // 8, 8).mean((1, 3)) - 127
        return np.stack([-cells, cells, *[cells - 999] * (len(segmenter.classes) - 2)])

    monkeypatch.setattr(segmenter.engine, "run", run)
    image = np.zeros((*size, 3), np.uint8)
    image[144:], image[:, 224:] = 255, 255
    wanted = (image[..., 0] > 0).astype(np.uint8)
    labels = segmenter.segment(image)
    if ready:
        labels = segmenter.predict(image).labels
    assert np.abs(labels[:, 0].argmax() - 144) <= 1
    assert np.abs(labels[0].argmax() - 224) <= 1
    assert (labels == wanted).mean() > 0.985


def test_input_side_is_the_short_side_that_the_network_sees_of_any_image(tmp_path):
    path = save_random(tmp_path, input_side=96)
    plain, small = (sgcp.load(path, precision="fp32", input_side=side) for side in (None, 48))
    assert plain.card.input_side == 96
    for size, seen in (((96, 128), (48, 64)), ((60, 40), (72, 48))):
        image = random_image(*size)
        assert small.card.input_size(*size) == seen
        assert (small.segment(image) == plain.segment(image, input_size=seen)).all()
        assert (small.segment(image) != plain.segment(image)).any()


@pytest.mark.parametrize("side", [0, -360, 16385, 360.5, "360"])
def test_impossible_input_side_is_one_message(tmp_path, side):
    with pytest.raises(SgcpError, match=r"input_side: expected 1 to 16384 pixels, or None, got"):
        sgcp.load(save_random(tmp_path), input_side=side)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        [random_image(4, 4), None],
        None,
        b"x.png",
        Image.new("F", (4, 4)),
    ],
)
def test_other_arrays_and_objects_are_refused(segmenter, image):
    with pytest.raises(ValueError, match=r"image: expected .* got|value of white is unknown"):
        segmenter.segment(image)


def test_paths_and_pil_images_are_labelled_as_a_viewer_shows_them(segmenter, tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6  # EXIF orientation: shown turned clockwise
    upright = Image.fromarray(random_image(40, 56))
    path = tmp_path / "turned.png"
    upright.rotate(90, expand=True).save(path, exif=turned)
    expected = segmenter.segment(np.array(upright))
    for image in (path, str(path), Image.open(path), upright, upright.convert("RGBA")):
        np.testing.assert_array_equal(segmenter.segment(image), expected)
    grey = upright.convert("L")
    np.testing.assert_array_equal(segmenter.segment(grey), segmenter.segment(grey.convert("RGB")))


def test_a_path_without_an_image_and_a_name_without_a_model_are_one_message(segmenter, tmp_path):
    with pytest.raises(SgcpError, match=r"nothing\.png: no such"):
        segmenter.segment(tmp_path / "nothing.png")
    with pytest.raises(SgcpError, match="no model 'nonsense'"):
        sgcp.load("nonsense")


def test_repr_tells_model_engine_precision_and_classes(segmenter):
    text = repr(segmenter)
    for part in (segmenter.name, segmenter.engine.name, "fp32", "11 classes: Sky, Building"):
        assert part in text


def test_the_package_lists_its_public_names_alone():
    assert dir(sgcp) == sorted(sgcp.__all__)


def test_load_by_folder_and_by_file(trained):
    folder = trained.root / "data" / "models" / "sample"
    for path in (folder, folder / "model.safetensors", str(folder / "last.safetensors")):
        assert len(sgcp.load(path).classes) == 19


def test_a_bundled_name_wins_over_a_file_or_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "camvid").mkdir()
    save_random(tmp_path / "camvid", input_side=48)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "camvid").write_text("notes")
    monkeypatch.chdir(tmp_path)
    assert find_model("camvid").parent == BUNDLED
    for path in ("./camvid", "camvid/", "camvid/model.safetensors", Path("camvid")):
        assert find_model(path).resolve() == tmp_path / "camvid" / "model.safetensors"
    monkeypatch.chdir(tmp_path / "below")
    assert find_model("camvid").parent == BUNDLED


@pytest.mark.parametrize(("size", "seen"), [((96, 128), (48, 64)), ((60, 30), (96, 48))])
def test_a_model_sees_images_with_the_short_side_that_it_wants(tmp_path, size, seen):
    model = sgcp.load(save_random(tmp_path, input_side=48), precision="fp32", threads=1)
    image = random_image(*size)
    labels = model.segment(image)
    assert (labels == model.segment(image, input_size=seen)).all()
    assert labels.shape == size
    assert (labels != model.segment(image, input_size=size)).any()


def test_a_strip_is_not_enlarged_beyond_what_memory_holds():
    assert input_size(360, 480, 720) == (720, 960)
    assert input_size(2160, 3840, 720) == (720, 1280)
    assert input_size(1000, 8000, 720) == (720, 5760)
    height, width = input_size(3, 16384, 720)
    assert height * width <= 1.1 * MAX_ENLARGED
    assert height > 30
    assert input_size(4096, 4096, 5000) == (4096, 4096)
    assert input_size(1, 1, 720) == (720, 720)


def test_device_without_torch_is_the_processor_even_beside_a_gpu(monkeypatch):
    monkeypatch.setattr("sgcp.inference.segmenter.find_spec", lambda name: None)
    monkeypatch.setattr("sgcp.core.extras.find_spec", lambda name: None)
    monkeypatch.setattr(Path, "glob", lambda *_: [Path("/dev/nvidia0")])
    monkeypatch.setitem(sys.modules, "torch", None)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(SgcpError, match=r"'cuda' needs torch, .*'sgcpnet\[pipeline\]'`"):
        choose_device("cuda")


def test_onnx_exports_are_checked_without_the_package_onnx(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    check_graph(BUNDLED / "camvid.onnx", 11)
    with pytest.raises(SgcpError, match="for the 12 classes"):
        check_graph(BUNDLED / "camvid.onnx", 12)
