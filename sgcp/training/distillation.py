"""Scores of another model, a teacher, for a network to learn beside the labels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from sgcp.core.errors import SgcpError
from sgcp.core.files import write_bytes
from sgcp.core.terminal import say, track
from sgcp.datasets.classes import SemanticClass, classes_from_json, match_names
from sgcp.datasets.loader import SegmentationDataset
from sgcp.models.artifact import load_model
from sgcp.models.card import ModelCard, model_digest, weights_path
from sgcp.models.network import Normalize
from sgcp.training.loop import network_inputs


@dataclass(frozen=True)
class Teacher:
    """A trained network, as its file says."""

    network: nn.Module
    card: ModelCard
    """Mean, deviation and short side there are those of its input."""
    path: Path
    digest: str
    """SHA-256 of its files."""

    def describe(self) -> dict[str, Any]:
        """Return what a student's description says about it."""
        card = self.card
        made = {key: card.provenance.get(key) for key in ("recipe", "epoch")}
        return {"network": card.network, "dataset": card.dataset, **made}

    def class_order(self, classes: Sequence[SemanticClass]) -> list[int]:
        """Return the row of its scores that belongs to each class; refuse other names of them."""
        own = classes_from_json(self.card.classes)
        try:
            return match_names([item.name for item in classes], own)
        except ValueError as error:
            raise SgcpError(
                f"train.teacher: {self.path} has {len(own)} classes, the dataset has "
                f"{len(classes)}; {error}. Choose a teacher of this dataset's classes"
            ) from None

    def score_images(
        self,
        dataset: SegmentationDataset,
        order: list[int],
        folder: Path,
        fabric: Fabric,
        indices: Sequence[int],
    ) -> None:
        """Write ``INDEX.npy``, scores (K, h, w) float16 at the teacher's stride, for each index.

        The network sees the whole image at its own input size, and mirrored too: the mean of both.
        Scores of an interrupted run stay. ``order``: of the classes, as ``class_order`` says.
        """
        missing = [index for index in indices if not (folder / f"{index}.npy").exists()]
        if not missing:
            return
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        say(f"learning from {self.path} too: {self.card.network}, {parameters:,} parameters")
        network = self.network.eval().to(fabric.device).to(memory_format=torch.channels_last)
        normalize = Normalize(self.card.mean, self.card.std).to(fabric.device)
        plain = replace(dataset, transform=None, cache_bytes=0)
        inputs = network_inputs(fabric, plain, missing, self.card.input_side)
        inputs = track(inputs, "scores of the teacher", len(missing))
        with torch.inference_mode(), fabric.autocast():
            for index, (image, _) in zip(missing, inputs, strict=True):
                x = normalize(image).contiguous(memory_format=torch.channels_last)
                scores = network(x) + network(x.flip(-1)).flip(-1)
                content = io.BytesIO()
                np.save(content, (scores[0, order] / 2).half().cpu().numpy())
                write_bytes(folder / f"{index}.npy", content.getvalue())
        network.to("cpu")


def read_teacher(path: Path) -> Teacher:
    """Read a model of ours, by its folder or ``.safetensors``; raise as ``load_model``."""
    network, card = load_model(path)
    return Teacher(network, card, path, model_digest(weights_path(path)))
