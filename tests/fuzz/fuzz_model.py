"""Weights and their description: an input is the description, a NUL, and the weights' header."""

import json
import struct
import tempfile
from pathlib import Path

import atheris
from harness import fuzz

with atheris.instrument_imports(
    include=["safetensors", "sgcp.core.files", "sgcp.models.artifact", "sgcp.models.tensors"]
):
    from sgcp.models import artifact

import torch

from sgcp.datasets.classes import camvid_classes, classes_to_json
from sgcp.models import SGCPNet

CARD = artifact.ModelCard(classes_to_json(camvid_classes()), "camvid", "segnet", "grouped")
NETWORK = SGCPNet(11)
with tempfile.TemporaryDirectory() as made:
    artifact.save_model(NETWORK, NETWORK.state_dict(), CARD, Path(made, "model.safetensors"))
    WEIGHTS = Path(made, "model.safetensors").read_bytes()
LENGTH = 8 + struct.unpack("<Q", WEIGHTS[:8])[0]


def read(path: Path) -> None:
    card, _, header = path.read_bytes().partition(b"\0")
    folder = path.parent
    (folder / "model.json").write_bytes(card)
    (folder / "model.safetensors").write_bytes((header or WEIGHTS[:LENGTH]) + WEIGHTS[LENGTH:])
    network, found = artifact.load_model(folder)
    assert network.num_classes == len(found.classes)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


TEXT = json.dumps(CARD.to_json()).encode()
fuzz(
    read, "input", [TEXT + b"\0" + WEIGHTS[:LENGTH], TEXT, TEXT + b"\0" + struct.pack("<Q", 2**40)]
)
