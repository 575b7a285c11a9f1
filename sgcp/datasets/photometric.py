"""Random colours of a training crop: what other cameras and other light do to an image."""

from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from sgcp.datasets.transforms import uniform

LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue look
# From RGB to brightness and the two axes of the colour plane (NTSC, 1953).
YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]],
    dtype=torch.float64,
)


@dataclass(frozen=True)
class Photometric:
    """Change the colours of an image, never its label; a value of 0 changes and draws nothing.

    The fields are settings of a recipe, applied in this order. A factor "up to 1 + x" is drawn
    between 1 / (1 + x) and 1 + x, evenly in its logarithm.
    """

    gamma: float = 0.0
    """Shares of white are raised to a power up to 1 + x."""
    channel_gain: float = 0.0
    """Each channel is multiplied by a factor of its own, up to 1 + x: a colour cast."""
    hue: float = 0.0
    """Colours turn by up to this share of the colour circle, at equal brightness."""
    color_jitter: float = 0.0
    """j: brightness, contrast and saturation change by factors 1 - j .. 1 + j, in random order."""
    grey: float = 0.0
    """Probability of an image without colour."""
    noise: float = 0.0
    """Gaussian noise of a standard deviation up to this, of 255 levels."""

    def __call__(self, image: Tensor, generator: Generator) -> Tensor:
        """Return image (3, H, W) uint8 with other colours, rounded once at the end."""
        if not any(astuple(self)):
            return image
        pixels = image.float()
        if self.gamma:
            table = 255 * np.linspace(0, 1, 256) ** draw_factor(self.gamma, generator)
            # In half the time of computing each pixel; torch takes longer to look it up.
            pixels = torch.from_numpy(np.take(table.astype(np.float32), image.numpy()))
        if self.channel_gain:
            gains = [draw_factor(self.channel_gain, generator) for _ in range(3)]
            pixels.mul_(torch.tensor(gains).view(3, 1, 1)).clamp_(0, 255)
        if self.hue:
            pixels = turn_hue(pixels, uniform(-self.hue, self.hue, generator))
        if self.color_jitter:
            jitter_colors(pixels, self.color_jitter, generator)
        if self.grey and uniform(0, 1, generator) < self.grey:
            scale_saturation(pixels, 0)
        if self.noise:
            deviation = uniform(0, self.noise, generator)
            pixels.add_(torch.randn(pixels.shape, generator=generator), alpha=deviation)
        return pixels.round_().clamp_(0, 255).to(torch.uint8)


def draw_factor(most: float, generator: Generator) -> float:
    """Draw a factor between 1 / (1 + most) and 1 + most, evenly in its logarithm."""
    return float((1 + most) ** uniform(-1, 1, generator))


def turn_hue(pixels: Tensor, turn: float) -> Tensor:
    """Return (3, H, W) with colours turned by a share of the circle, in the plane of YIQ.

    One product with a matrix, in 1/20 of the time of torchvision's way through HSV, and grey stays
    grey (Haeberli, *Matrix operations for image processing*, 1993).
    """
    angle = torch.tensor(2 * np.pi * turn, dtype=torch.float64)
    rotation = torch.eye(3, dtype=torch.float64)
    rotation[1:, 1:] = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])]
    )
    matrix = (torch.linalg.inv(YIQ) @ rotation @ YIQ).float()
    return (matrix @ pixels.flatten(1)).view_as(pixels).clamp_(0, 255)


def jitter_colors(pixels: Tensor, strength: float, generator: Generator) -> None:
    """Change brightness, contrast and saturation of (3, H, W), in place, in random order.

    What torchvision's ``ColorJitter`` does, in one buffer, not rounded after each step: less than
    half of its time.
    """
    for index in torch.randperm(3, generator=generator).tolist():
        factor = uniform(1 - strength, 1 + strength, generator)
        (scale_brightness, scale_contrast, scale_saturation)[index](pixels, factor)


def scale_brightness(pixels: Tensor, factor: float) -> None:
    """Blend (3, H, W) with black, in place."""
    pixels.mul_(factor).clamp_(0, 255)


def scale_contrast(pixels: Tensor, factor: float) -> None:
    """Blend (3, H, W) with its mean brightness, in place."""
    # A sum of whole numbers is the same for any number of threads, one of floats is not.
    mean = gray(pixels).to(torch.int32).sum().item() / pixels[0].numel()
    pixels.mul_(factor).add_((1 - factor) * mean).clamp_(0, 255)


def scale_saturation(pixels: Tensor, factor: float) -> None:
    """Blend (3, H, W) with its grey version, in place."""
    grey = gray(pixels)
    pixels.mul_(factor).add_(grey, alpha=1 - factor).clamp_(0, 255)


def gray(pixels: Tensor) -> Tensor:
    """Return the brightness (H, W) of (3, H, W)."""
    red, green, blue = LUMA
    return (pixels[0] * red).add_(pixels[1], alpha=green).add_(pixels[2], alpha=blue)
