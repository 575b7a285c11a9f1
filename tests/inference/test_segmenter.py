import numpy as np
import pytest
import torch
from torch.nn import functional as F

import sgcp
from sgcp.datasets.classes import camvid_classes, classes_to_json
from sgcp.errors import SgcpError
from sgcp.inference.segmenter import Segmenter
from sgcp.models import SGCPNet
from sgcp.models.card import IMAGENET_MEAN, IMAGENET_STD, ModelCard


@pytest.fixture(scope="module")
def segmenter():
    torch.manual_seed(1)
    card = ModelCard(classes_to_json(camvid_classes()), "camvid", "segnet", "grouped")
    return Segmenter(SGCPNet(11).eval(), card)


def test_labels_are_the_best_class_of_the_resized_logits(segmenter):
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    labels = segmenter.segment(image)
    x = (torch.from_numpy(image).float() / 255 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(
        IMAGENET_STD
    )
    with torch.inference_mode():
        logits = segmenter.predictor.network(x.permute(2, 0, 1)[None])
        logits = F.interpolate(logits, size=(50, 70), mode="bilinear", align_corners=False)
    assert labels.dtype == np.uint8
    assert (labels == logits.argmax(1)[0].numpy()).mean() > 0.999  # layouts differ by rounding


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (120, 161)])
@pytest.mark.parametrize("input_size", [None, (64, 64)])
def test_labels_have_the_size_of_the_image(segmenter, size, input_size):
    labels = segmenter.segment(np.zeros((*size, 3), np.uint8), input_size)
    assert labels.shape == size
    assert labels.max() < 11


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(segmenter, image):
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8"):
        segmenter.segment(image)


def test_load_by_folder_and_by_file(trained):
    folder = trained.root / "data" / "models" / "sample"
    for path in (folder, folder / "model.safetensors", str(folder / "last.safetensors")):
        assert len(sgcp.load(path).classes) == 19


def test_unknown_name_is_refused():
    with pytest.raises(SgcpError, match="no model 'nonsense'"):
        sgcp.load("nonsense")
