"""Beginning with the weights of another model."""

import pytest
import torch
from networks import random_card, random_network, save_random

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import cityscapes_classes
from sgcp.models.network import SGCPNet
from sgcp.training.initialization import read_initial_model, start_from

CAMVID = [row["name"] for row in random_card().classes]
CITYSCAPES = [item.name for item in cityscapes_classes()]


def start(network, classes, path) -> int:
    initial = read_initial_model(path)
    return start_from(network, classes, initial.network, initial.classes)


def test_same_classes_take_everything(tmp_path):
    path, source, network = save_random(tmp_path), random_network(), SGCPNet(11)
    assert start(network, CAMVID, path) == 0
    for name, value in source.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name


def test_classes_are_matched_by_name_and_the_others_begin_anew(tmp_path):
    save_random(tmp_path)
    source, network, classes = random_network(), SGCPNet(3), ["Car", "Unicorn", "Sky"]
    before = network.classifier.weight.clone()
    assert start(network, classes, tmp_path) == 1  # its folder will do
    for name, value in source.state_dict().items():
        assert name.startswith("classifier.") or torch.equal(network.state_dict()[name], value)
    for index, name in enumerate(classes):
        row = before[index] if name == "Unicorn" else source.classifier.weight[CAMVID.index(name)]
        assert torch.equal(network.classifier.weight[index], row)


def test_another_encoder_is_refused(tmp_path):
    save_random(tmp_path, "mobilenet_v3_small")
    with pytest.raises(SgcpError, match=r"train\.encoder is 'sgcp'"):
        start(SGCPNet(11), CAMVID, tmp_path)


@pytest.mark.parametrize("path", ["nowhere.safetensors", "nowhere.pth.tar", "."])
def test_what_is_no_model_is_refused(tmp_path, path):
    with pytest.raises(SgcpError, match="no such file"):
        read_initial_model(tmp_path / path)


@pytest.mark.parametrize(("file", "classes", "fresh"),
                         [("cityscapes19", CITYSCAPES, 0), ("cityscapes19", CITYSCAPES[:4:-1], 0),
                          ("cityscapes19", ["sky", "unicorn"], 1),
                          ("cityscapes19", [f"class {k}" for k in range(19)], 19),
                          ("camvid11", CAMVID, 11)])  # fmt: skip
def test_authors_checkpoint_names_no_classes_so_only_cityscapes_are_known(
    shared, file, classes, fresh
):
    """Of the 11 of CamVid two orders are in use: taken by number, sky would be bicyclists."""
    network = SGCPNet(len(classes))
    before = network.classifier.weight.clone()
    path = shared / "reference" / f"{file}.pth.tar"
    assert start(network, classes, path) == fresh
    known = read_initial_model(path).network.classifier.weight
    for index, name in enumerate(classes):
        of_file = file == "cityscapes19" and name in CITYSCAPES
        row = known[CITYSCAPES.index(name)] if of_file else before[index]
        assert torch.equal(network.classifier.weight[index], row)
    stored = torch.load(path, weights_only=True)["segmenter"]["module.l1.0.weight"]
    assert torch.equal(network.encoder.stem.conv.weight, stored)


def test_images_of_the_initial_model_stay_known(tmp_path):
    save_random(tmp_path, trained_on={"a": "digest"})
    assert read_initial_model(tmp_path).trained_on == {"a": "digest"}
