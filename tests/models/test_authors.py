import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from sgcp.core.errors import SgcpError
from sgcp.models import SGCPNet, read_authors_checkpoint
from sgcp.models.authors import load_encoder_weights, rename_authors_key

REFERENCES = ["camvid11", "cityscapes19"]


@pytest.mark.parametrize("name", REFERENCES)
def test_features_and_logits_equal_the_authors_network(shared: Path, name):
    vectors = np.load(shared / "reference" / f"{name}_io.npz")
    model = read_authors_checkpoint(shared / "reference" / f"{name}.pth.tar")
    image = torch.from_numpy(vectors["image"])
    with torch.inference_mode():
        outputs = model.encoder(image)._asdict() | {"logits": model(image)}
    for key, output in outputs.items():
        error = np.abs(output.numpy() - vectors[key]).max() / np.abs(vectors[key]).max()
        assert error < 1e-4, (key, error)


@pytest.mark.parametrize("name", REFERENCES)
def test_every_tensor_of_the_checkpoint_has_one_place(shared: Path, name):
    checkpoint = torch.load(shared / "reference" / f"{name}.pth.tar", weights_only=True)
    renamed = [rename_authors_key(key) for key in checkpoint["segmenter"]]
    classes = checkpoint["segmenter"]["module.classifier.weight"].shape[0]
    assert sorted(renamed) == sorted(SGCPNet(classes).state_dict())


class Malicious:
    def __reduce__(self):
        return (Path.write_text, (Path("owned.txt"), "code ran"))


def test_checkpoint_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, write in (("zip", torch.save), ("old", None)):
        path = tmp_path / f"{name}.pth.tar"
        if write:
            write({"segmenter": Malicious()}, path)
        else:
            path.write_bytes(pickle.dumps({"segmenter": Malicious()}))
        with pytest.raises(SgcpError, match="cannot be read as a checkpoint"):
            read_authors_checkpoint(path)
    assert not (tmp_path / "owned.txt").exists()


def test_truncated_checkpoint_is_refused(shared: Path, tmp_path):
    content = (shared / "reference" / "camvid11.pth.tar").read_bytes()
    for size in (0, 10, 1000, len(content) // 2, len(content) - 4):
        (tmp_path / "cut.pth.tar").write_bytes(content[:size])
        with pytest.raises(SgcpError):
            read_authors_checkpoint(tmp_path / "cut.pth.tar")


def test_missing_file_and_foreign_network_are_refused(tmp_path):
    with pytest.raises(SgcpError, match="no such file"):
        read_authors_checkpoint(tmp_path / "absent.pth.tar")
    torch.save({"layer4.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(SgcpError, match="not an SGCPNet checkpoint"):
        read_authors_checkpoint(tmp_path / "resnet.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(shared: Path, tmp_path, value):
    content = torch.load(shared / "reference" / "camvid11.pth.tar", weights_only=True)
    content["segmenter"]["module.conv3.bias"][0] = value
    torch.save(content, tmp_path / "nan.pth.tar")
    with pytest.raises(SgcpError, match=r"lateral3\.bias: holds NaN"):
        read_authors_checkpoint(tmp_path / "nan.pth.tar")


def test_wrong_shape_and_missing_tensor_are_named(shared: Path, tmp_path):
    content = torch.load(shared / "reference" / "camvid11.pth.tar", weights_only=True)
    content["segmenter"]["module.conv3.bias"] = torch.zeros(7)
    del content["segmenter"]["module.conv4.bias"]
    torch.save(content, tmp_path / "odd.pth.tar")
    with pytest.raises(SgcpError) as caught:
        read_authors_checkpoint(tmp_path / "odd.pth.tar")
    assert "lateral3.bias: shape (7,), expected (40,)" in str(caught.value)
    assert "lateral4.bias: missing" in str(caught.value)


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
