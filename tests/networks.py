"""Small models with weights that mean nothing and are far from those of a fresh network."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from sgcp.datasets.classes import camvid_classes, classes_to_json
from sgcp.models import SGCPNet
from sgcp.models.artifact import load_model, save_model
from sgcp.models.card import ModelCard
from sgcp.models.network import Normalize


def random_network(encoder="sgcp", seed=0):
    """An SGCPNet of 11 classes whose norms and fusion weights differ from where they start.

    A fresh norm has mean 0 and deviation 1: folding it wrongly would change nothing.
    """
    torch.manual_seed(seed)
    network = SGCPNet(11, encoder)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.3, 1.5)
                module.weight.uniform_(0.7, 1.5)
                module.bias.normal_(0, 0.3)
        for name, parameter in network.named_parameters():
            if name.endswith("weights"):  # of fusion; below 0 counts as 0
                parameter.uniform_(-0.2, 1.5)
        network.eval()
        network.classifier.weight.mul_(20)
        scores = network(torch.randn(1, 3, 96, 96))
        network.classifier.bias -= scores.mean((0, 2, 3))  # else one class wins everywhere
    return network


def random_card(encoder="sgcp", **changes):
    fields = {
        "dataset": "camvid",
        "edition": "segnet",
        "protocol": "grouped",
        "mean": (0.41, 0.45, 0.38),
        "std": (0.21, 0.29, 0.25),
    }
    return ModelCard(classes_to_json(camvid_classes()), encoder=encoder, **(fields | changes))


def save_random(folder: Path, encoder="sgcp", **changes):
    """Write such a model; returns its file."""
    network, path = random_network(encoder), folder / "model.safetensors"
    save_model(network, network.state_dict(), random_card(encoder, **changes), path)
    return path


def change_weights(folder: Path) -> None:
    """Give a model other weights, as other data or code would."""
    network, card = load_model(folder)
    with torch.no_grad():
        network.classifier.bias.zero_()
    save_model(network, network.state_dict(), card, folder / "model.safetensors")


def random_image(height, width, seed=0):
    """Blots of colour and noise, (H, W, 3) uint8."""
    random = np.random.default_rng(seed)
    blots = random.integers(0, 200, (height // 9 + 1, width // 9 + 1, 3), dtype=np.uint8)
    smooth = blots.repeat(9, 0).repeat(9, 1)[:height, :width]
    return smooth + random.integers(0, 56, smooth.shape, dtype=np.uint8)


def eager_scores(network, card, image):
    """The network as it was trained, norms and all: scores (K, h, w)."""
    with torch.inference_mode():
        x = Normalize(card.mean, card.std)(torch.from_numpy(image).permute(2, 0, 1)[None])
        return network(x)[0].numpy()
