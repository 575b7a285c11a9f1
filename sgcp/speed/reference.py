"""The authors' way from image to labels, rebuilt from its description to be measured against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from sgcp.media.images import UInt8
from sgcp.models.card import ModelCard
from sgcp.speed.candidate import Candidate


class Reference(Candidate):
    """PIL, float64 normalisation, eager fp32 in NCHW, bicubic resizing of all scores, argmax.

    Args:
        network: in evaluation mode.
    """

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        import cv2

        self.cv2: Any = cv2
        self.network_module = network
        self.mean = np.array(card.mean).reshape(1, 1, 3)
        self.std = np.array(card.std).reshape(1, 1, 3)
        self.classes = len(card.classes)

    def network(self, image: UInt8) -> Callable[[], Any]:
        """Return a call of the eager network on an image normalised beforehand."""
        x = self._normalize(image)

        def run() -> torch.Tensor:
            with torch.no_grad():
                scores: torch.Tensor = self.network_module(x)
            return scores

        return run

    def label(self, image: UInt8) -> UInt8:
        """Label (H, W, 3) uint8."""
        scores = self.network(image)()[0].numpy().transpose(1, 2, 0)  # (h, w, K)
        height, width = image.shape[:2]
        full = self.cv2.resize(scores, (width, height), interpolation=self.cv2.INTER_CUBIC)
        return np.argmax(full, axis=2).astype(np.uint8)

    def label_files(self, sources: Sequence[Path], target: Path) -> None:
        """One image after the other, each class renumbered by a mask."""
        for source in sources:
            labels = self.label(np.array(Image.open(source).convert("RGB")))
            renumbered = np.zeros_like(labels)
            for index in range(self.classes):
                renumbered[labels == index] = index
            Image.fromarray(renumbered).save(target / source.name)

    def _normalize(self, image: UInt8) -> torch.Tensor:
        x = (image / 255.0 - self.mean) / self.std  # float64, as numpy makes it
        return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))[None]).float()
