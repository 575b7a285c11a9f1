"""Training as the first code of this network did it, written afresh, to measure against.

Eager, 32 bits, channels first; images through OpenCV and numpy; scores resized, then scored.
"""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from sgcp.datasets.index import Item
from sgcp.models import SGCPNet

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Images(Dataset):
    """Images (3, H, W) float32 and labels (H, W) int64: scaled by 0.5-2, mirrored, padded, cut."""

    def __init__(self, items: list[Item], raw: Path, prepared: Path, crop: tuple[int, int]) -> None:
        self.files = [(str(raw / item.image), str(prepared / item.label)) for item in items]
        self.crop = crop

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image_file, label_file = self.files[index]
        image = cv2.cvtColor(cv2.imread(image_file), cv2.COLOR_BGR2RGB)
        label = cv2.imread(label_file, cv2.IMREAD_GRAYSCALE)
        factor = random.uniform(0.5, 2)
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        label = cv2.resize(label, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
        if random.random() < 0.5:
            image, label = np.fliplr(image), np.fliplr(label)
        below, beside = (max(0, c - n) for c, n in zip(self.crop, label.shape, strict=True))
        sides = (below // 2, below - below // 2, beside // 2, beside - beside // 2)
        image = cv2.copyMakeBorder(image, *sides, cv2.BORDER_CONSTANT, value=MEAN * 255)
        label = cv2.copyMakeBorder(label, *sides, cv2.BORDER_CONSTANT, value=255)
        top = random.randint(0, label.shape[0] - self.crop[0])
        left = random.randint(0, label.shape[1] - self.crop[1])
        window = np.s_[top : top + self.crop[0], left : left + self.crop[1]]
        image, label = (image[window] / 255 - MEAN) / STD, np.ascontiguousarray(label[window])
        return torch.from_numpy(image.transpose(2, 0, 1)).float(), torch.from_numpy(label).long()


def epochs(pictures: Images, classes: int, batch: int, workers: int) -> Iterator[dict[str, Any]]:
    """Train without end; yield images, seconds, and seconds of waiting for data, of each epoch."""
    network = SGCPNet(classes).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=1e-5)
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    loader = DataLoader(
        pictures, batch, shuffle=True, num_workers=workers, drop_last=True,
        persistent_workers=workers > 0,
    )  # fmt: skip
    while True:
        started = last = time.perf_counter()
        waited, images = 0.0, 0
        for image, label in loader:
            waited += time.perf_counter() - last
            scores = F.interpolate(
                network(image), size=label.shape[1:], mode="bilinear", align_corners=False
            )
            loss = criterion(scores, label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            images += len(image)
            last = time.perf_counter()
        yield {"images": images, "seconds": last - started, "waited": waited}
