"""Joint transforms of image and label for training, from torchvision's v2 transforms."""

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from sgcp.datasets.classes import IGNORE

IMAGENET_MEAN_BYTES = (124, 116, 104)  # what padding is filled with: zero after normalisation


class RandomScale(v2.Transform):
    """Resize image and label by one random factor, keeping the aspect ratio.

    Args:
        scale: range of the factor, drawn uniformly.
        min_short_side: the factor is raised where the short side would fall below this, pixels.
    """

    def __init__(self, scale: tuple[float, float], min_short_side: int = 0) -> None:
        super().__init__()
        self.scale = scale
        self.min_short_side = min_short_side

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the new (height, width), once for image and label."""
        height, width = flat_inputs[0].shape[-2:]
        low, high = self.scale
        factor = low + (high - low) * torch.rand(()).item()
        factor = max(factor, self.min_short_side / min(height, width))
        return {"size": [max(1, round(height * factor)), max(1, round(width * factor))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize an image (bilinear) or a label (nearest)."""
        # For labels (masks) torchvision itself takes the nearest pixel.
        return self._call_kernel(v2.functional.resize, inpt, size=params["size"], antialias=True)


def train_transform(
    crop: tuple[int, int],
    scale: tuple[float, float],
    min_short_side: int,
    flip: float,
    color_jitter: float,
) -> v2.Transform:
    """Return the authors' augmentation: scale, mirror, pad and crop; colour jitter beside it.

    Takes and returns (``Image`` (3, H, W) uint8, ``Mask`` (H, W) uint8); padding is the ImageNet
    mean in the image and ``IGNORE`` in the label.
    """
    fill = {tv_tensors.Image: IMAGENET_MEAN_BYTES, tv_tensors.Mask: IGNORE}
    steps: list[v2.Transform] = [
        RandomScale(scale, min_short_side),
        v2.RandomHorizontalFlip(flip),
        v2.RandomCrop(crop, pad_if_needed=True, fill=fill),
    ]
    if color_jitter > 0:
        steps.append(v2.ColorJitter(color_jitter, color_jitter, color_jitter))
    return v2.Compose(steps)


def seed_sample(seed: int, epoch: int, index: int) -> None:
    """Seed torch so that one sample's augmentation depends on these three numbers alone."""
    mixed = torch.tensor([seed, epoch, index], dtype=torch.int64)
    primes = torch.tensor([1_000_003, 15_485_863, 32_452_843], dtype=torch.int64)
    torch.manual_seed(int((mixed * primes).sum()) & 0x7FFF_FFFF_FFFF_FFFF)


def as_tensors(image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Strip torchvision's types: image (3, H, W) uint8, label (H, W) int64."""
    return image.as_subclass(Tensor), label.as_subclass(Tensor).long()
