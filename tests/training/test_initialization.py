"""Beginning with the weights of another model."""

from dataclasses import replace

import pytest
import torch
from networks import random_card, random_network, save_random

from sgcp.core.errors import SgcpError
from sgcp.models.artifact import save_model
from sgcp.models.network import SGCPNet
from sgcp.training.initialization import read_initial_model, start_from


def names(card):
    return [row["name"] for row in card.classes]


def body(network):
    return {k: v for k, v in network.state_dict().items() if not k.startswith("classifier.")}


def test_same_classes_take_everything(tmp_path):
    path, source, network = save_random(tmp_path), random_network(), SGCPNet(11)
    assert start_from(network, names(random_card()), read_initial_model(path)) == 0
    for name, value in source.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name


def test_classes_are_matched_by_name_and_the_others_begin_anew(tmp_path):
    path, source, network = save_random(tmp_path), random_network(), SGCPNet(3)
    before = network.classifier.weight.clone()
    wanted = ["Car", "Unicorn", "Sky"]
    assert start_from(network, wanted, read_initial_model(tmp_path)) == 1  # its folder will do
    assert all(torch.equal(body(network)[k], v) for k, v in body(source).items())
    row = {name: index for index, name in enumerate(names(random_card()))}
    for index, name in enumerate(wanted):
        taken = before[index] if name == "Unicorn" else source.classifier.weight[row[name]]
        assert torch.equal(network.classifier.weight[index], taken)
    assert path.is_file()


def test_another_encoder_is_refused(tmp_path):
    save_random(tmp_path, "mobilenet_v3_small")
    with pytest.raises(SgcpError, match=r"train\.encoder is 'sgcp'"):
        start_from(SGCPNet(11), names(random_card()), read_initial_model(tmp_path))


@pytest.mark.parametrize("path", ["nowhere.safetensors", "nowhere.pth.tar", "."])
def test_what_is_no_model_is_refused(tmp_path, path):
    with pytest.raises(SgcpError, match="no such file"):
        read_initial_model(tmp_path / path)


@pytest.mark.parametrize(("file", "classes", "fresh"),
                         [("cityscapes19", 19, 0), ("cityscapes19", 11, 11),
                          ("camvid11", 11, 11), ("camvid11", 19, 19)])  # fmt: skip
def test_authors_checkpoint_names_no_classes_so_only_cityscapes_are_known(
    shared, file, classes, fresh
):
    """Of the 11 of CamVid two orders are in use: taken by number, sky would be bicyclists."""
    network = SGCPNet(classes)
    before = network.classifier.weight.clone()
    path = shared / "reference" / f"{file}.pth.tar"
    anew = start_from(network, [f"class {k}" for k in range(classes)], read_initial_model(path))
    assert anew == fresh
    assert torch.equal(network.classifier.weight, before) == bool(fresh)
    stored = torch.load(path, weights_only=True)["segmenter"]["module.l1.0.weight"]
    assert torch.equal(network.encoder.stem.conv.weight, stored)


def test_images_of_the_beginning_stay_known(tmp_path):
    network = random_network()
    card = replace(random_card(), trained_on={"a": "digest"})
    save_model(network, network.state_dict(), card, tmp_path / "model.safetensors")
    assert read_initial_model(tmp_path).trained_on == {"a": "digest"}
