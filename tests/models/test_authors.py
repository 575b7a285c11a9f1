from pathlib import Path

import numpy as np
import pytest
import torch

from sgcp.core.errors import SgcpError
from sgcp.models import SGCPNet, read_authors_checkpoint
from sgcp.models.authors import authors_name, load_encoder_weights


@pytest.mark.parametrize("name", ["camvid11", "cityscapes19"])
def test_features_and_logits_equal_the_authors_network(shared: Path, name):
    vectors = np.load(shared / "reference" / f"{name}_io.npz")
    model = read_authors_checkpoint(shared / "reference" / f"{name}.pth.tar")
    image = torch.from_numpy(vectors["image"])
    with torch.inference_mode():
        outputs = model.encoder(image)._asdict() | {"logits": model(image)}
    for key, output in outputs.items():
        error = np.abs(output.numpy() - vectors[key]).max() / np.abs(vectors[key]).max()
        assert error < 1e-4, (key, error)


def test_every_tensor_has_its_place_in_the_checkpoint(shared: Path):
    checkpoint = torch.load(shared / "reference" / "camvid11.pth.tar", weights_only=True)
    renamed = sorted(f"module.{authors_name(key)}" for key in SGCPNet(11).state_dict())
    assert renamed == sorted(checkpoint["segmenter"])


@pytest.mark.parametrize("prefix", ["", "module."])
def test_imagenet_encoder_loads_without_its_head(shared: Path, tmp_path, prefix):
    content = torch.load(shared / "reference" / "camvid11.pth.tar", weights_only=True)
    encoder = {
        prefix + key.removeprefix("module."): value
        for key, value in content["segmenter"].items()
        if key.startswith(("module.l1", "module.l2", "module.l3", "module.l4", "module.l5"))
    }
    head = {prefix + "linear.weight": torch.zeros(1000, 1280), prefix + "bn7.bias": torch.zeros(4)}
    torch.save({"state_dict": encoder | head}, tmp_path / "imagenet.pth.tar")
    model = SGCPNet(5)
    load_encoder_weights(model, tmp_path / "imagenet.pth.tar")
    whole = read_authors_checkpoint(shared / "reference" / "camvid11.pth.tar")
    for key, value in whole.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[key], value), key


def test_torchvision_weights_fit_their_encoder_alone(tmp_path):
    from torchvision.models import mobilenet_v3_small

    source = mobilenet_v3_small(weights=None)
    torch.save(source.state_dict(), tmp_path / "mobilenet_v3_small.pth")
    model = SGCPNet(5, "mobilenet_v3_small")
    load_encoder_weights(model, tmp_path / "mobilenet_v3_small.pth")
    first = "features.0.0.weight"
    assert torch.equal(model.encoder.state_dict()[first], source.state_dict()[first])
    with pytest.raises(SgcpError, match="holds no weights of the 'sgcp' encoder"):
        load_encoder_weights(SGCPNet(5), tmp_path / "mobilenet_v3_small.pth")


def test_encoder_with_a_gap_is_refused(shared: Path, tmp_path):
    content = torch.load(shared / "reference" / "camvid11.pth.tar", weights_only=True)
    del content["segmenter"]["module.l5.2.bn3.weight"]
    torch.save(content, tmp_path / "gap.pth.tar")
    with pytest.raises(SgcpError, match=r"blocks\.10\.project\.norm\.weight: missing"):
        load_encoder_weights(SGCPNet(5), tmp_path / "gap.pth.tar")
