"""Joint augmentation of image and label for training, on bytes from the file to the batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from sgcp.datasets.classes import IGNORE

IMAGENET_MEAN_BYTES = (124, 116, 104)  # what padding is filled with: zero after normalisation
REDRAWN = 10  # times that a view without a labelled pixel is drawn again

SCORES_STRIDE = 8  # pixels of a crop for each of a teacher's scores: SGCPNet's own stride

Sample = tuple[Tensor, ...]  # an image, its label and, where a teacher is asked, its scores
Transform = Callable[[Sample, Generator], Sample]


class View(NamedTuple):
    """What part of a resized image is seen."""

    size: tuple[int, int]
    """Height and width that the image is resized to."""
    top: int
    """First row of the crop in the resized image; negative where the image is too small."""
    left: int
    mirrored: bool


@dataclass(frozen=True)
class TrainTransform:
    """The authors' augmentation: scale, mirror, pad and crop; changed colours beside it."""

    crop: tuple[int, int]
    """(height, width) of what comes out."""
    scale: tuple[float, float]
    """Range of the resizing factor, drawn uniformly; the aspect ratio is kept."""
    min_short_side: int
    """The factor is raised where the short side would fall below this, pixels."""
    flip: float
    """Probability of mirroring."""
    input_side: int | None = None
    """Short side, pixels, to which an image is resized first; None: its own."""
    colors: Callable[[Tensor, Generator], Tensor] | None = None
    """Changes the colours of a crop (3, H, W) uint8; None: they stay."""

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return image (3, H, W) and label (H, W), both uint8, cropped alike from one random view.

        Padding is the ImageNet mean in the image and ``IGNORE`` in the label. The crop contains a
        labelled pixel if the label map has one that resizing does not lose ``REDRAWN`` times.
        Scores (K, h, w) of the whole image become those of the crop, as ``crop_scores`` says.
        """
        image, label, *scores = sample
        view, cut = self.draw_labelled_view(label, generator)
        image = crop_image(image, view, self.crop)
        if self.colors:
            image = self.colors(image, generator)
        return image, cut, *(crop_scores(part, view, self.crop) for part in scores)

    def draw_labelled_view(self, label: Tensor, generator: Generator) -> tuple[View, Tensor]:
        """Draw a view of label (H, W) with a labelled pixel, and cut the crop out of it."""
        size = (label.shape[-2], label.shape[-1])
        view = self.draw_view(size, generator)
        cut = crop_label(label, view, self.crop)
        if is_labelled(cut) or not is_labelled(label):
            return view, cut
        for _ in range(REDRAWN):
            view = self._aim(label, self.draw_view(size, generator), generator)
            cut = crop_label(label, view, self.crop)
            if is_labelled(cut):  # or the resizing lost every labelled pixel
                break
        return view, cut

    def _aim(self, label: Tensor, view: View, generator: Generator) -> View:
        """Move a view's crop to a labelled pixel of label (H, W), drawn uniformly."""
        resized = crop_label(label, View(view.size, 0, 0, mirrored=False), view.size)
        places = (resized != IGNORE).nonzero()  # (N, 2)
        if not len(places):
            return view
        place = places[integer(0, len(places) - 1, generator)].tolist()
        top, left = (
            integer(
                max(min(0, side - crop), at - crop + 1), min(max(0, side - crop), at), generator
            )
            for side, crop, at in zip(view.size, self.crop, place, strict=True)
        )
        return view._replace(top=top, left=left)

    def draw_view(self, size: tuple[int, int], generator: Generator) -> View:
        """Draw scale, place and mirroring for an image of this (height, width)."""
        factor = uniform(*self.scale, generator)
        if self.input_side is not None:
            factor *= self.input_side / min(size)
        factor = max(factor, self.min_short_side / min(size))
        height, width = (max(1, round(side * factor)) for side in size)
        top, left = (
            integer(min(0, side - crop), max(0, side - crop), generator)
            for side, crop in zip((height, width), self.crop, strict=True)
        )
        return View((height, width), top, left, uniform(0, 1, generator) < self.flip)


def is_labelled(label: Tensor) -> bool:
    """Return whether any pixel of a label map, uint8 of any shape, is labelled."""
    return int(label.amin()) < IGNORE  # the largest byte


def crop_image(image: Tensor, view: View, crop: tuple[int, int]) -> Tensor:
    """Resize image (3, H, W) uint8 bilinearly, antialiased, and cut the crop out of it."""
    if image.shape[-2:] != view.size:
        # As bytes: torch has a kernel for that, several times as quick as the one for floats.
        resized = F.interpolate(image.unsqueeze(0), view.size, mode="bilinear", antialias=True)
        image = resized[0]
    (height, width), (top, left) = crop, (view.top, view.left)
    part = image[:, max(0, top) : top + height, max(0, left) : left + width]
    if part.shape[-2:] != crop:
        fill = torch.tensor(IMAGENET_MEAN_BYTES, dtype=torch.uint8).view(3, 1, 1)
        canvas = fill.repeat(1, height, width)
        inside = canvas[:, max(0, -top) :, max(0, -left) :]
        inside[:, : part.shape[-2], : part.shape[-1]] = part
        part = canvas
    return part.flip(-1) if view.mirrored else part.contiguous()


def crop_label(label: Tensor, view: View, crop: tuple[int, int]) -> Tensor:
    """Take each pixel of the crop from label (H, W) uint8, resized to its nearest pixels."""
    # By two tables of indices, in a tenth of the time of resizing the whole label.
    rows, columns = (
        _nearest_indices(*sides)
        for sides in zip(label.shape, view.size, (view.top, view.left), crop, strict=True)
    )
    if view.mirrored:
        columns = columns.flip(0)
    # numpy takes rows and columns of bytes four times as quickly as torch does.
    cut = torch.from_numpy(label.numpy()[rows.numpy()][:, columns.numpy()])
    cut[rows < 0] = IGNORE
    cut[:, columns < 0] = IGNORE
    return cut


def _nearest_indices(source: int, target: int, first: int, count: int) -> Tensor:
    """Return where ``count`` pixels of a resized side, from ``first`` on, come from; -1: nowhere.

    A pixel comes from the place of its centre, (i + 1/2) * source / target, as in bilinear
    resizing; in whole numbers, so that no rounding moves it.
    """
    place = torch.arange(first, first + count)
    index = (2 * place + 1) * source // (2 * target)
    return index.where((place >= 0) & (place < target), -1)


def crop_scores(scores: Tensor, view: View, crop: tuple[int, int]) -> Tensor:
    """Sample scores (K, h, w) of a whole image bilinearly for a crop of it.

    Returns:
        (K, ceil(H / SCORES_STRIDE), ceil(W / SCORES_STRIDE)) float16, aligned as the logits of a
        network that sees the crop (H, W); NaN beyond the image.
    """
    rows, columns = (
        _centres(*sides) for sides in zip(crop, (view.top, view.left), view.size, strict=True)
    )
    if view.mirrored:
        columns = columns.flip(0)
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)  # (h, w, 2)
    whole = scores[None].float()
    cut = F.grid_sample(whole, grid[None], "bilinear", "border", align_corners=False)[0]
    cut[:, (grid.abs() > 1).any(-1)] = torch.nan
    return cut.half()


def _centres(side: int, first: int, whole: int) -> Tensor:
    """Return the middles of a crop's scores along one side, where -1 to 1 is the whole image."""
    count = -(-side // SCORES_STRIDE)
    return ((torch.arange(count) + 0.5) * side / count + first) * 2 / whole - 1


def lay_over(below: Sample, above: Sample, generator: Generator) -> Sample:
    """Lay the pixels of half of the classes of one crop over another of its size.

    ClassMix (Olsson et al., 2021) between labelled crops: each of the classes of ``above`` is drawn
    with probability 1/2; its objects come with their own outlines into other surroundings.
    """
    drawn = torch.rand(IGNORE + 1, generator=generator) < 0.5
    drawn[IGNORE] = False
    mask = torch.from_numpy(drawn.numpy()[above[1].numpy()])
    return tuple(
        upper.where(_thin(mask, upper), lower) for lower, upper in zip(below, above, strict=True)
    )


def _thin(mask: Tensor, like: Tensor) -> Tensor:
    """Return mask (H, W) at the size of another tensor (..., h, w): its nearest pixels."""
    if mask.shape == like.shape[-2:]:
        return mask
    sides = zip(mask.shape, like.shape[-2:], strict=True)
    rows, columns = (_nearest_indices(side, count, 0, count) for side, count in sides)
    return mask[rows][:, columns]


def uniform(low: float, high: float, generator: Generator) -> float:
    """Draw a number from ``low`` to ``high``."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def integer(low: int, high: int, generator: Generator) -> int:
    """Draw a whole number from ``low`` to ``high``, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def sample_generator(seed: int, epoch: int, index: int) -> Generator:
    """Return a generator whose draws depend on these three numbers alone."""
    mixed = seed * 1_000_003 + epoch * 15_485_863 + index * 32_452_843
    return Generator().manual_seed(mixed & 0x7FFF_FFFF_FFFF_FFFF)
