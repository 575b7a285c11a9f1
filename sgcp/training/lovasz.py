"""The Lovász-Softmax loss: what stands in for 1 - mean IoU, and has a gradient."""

import torch
from torch import Tensor
from torch.nn import functional as F


def lovasz_softmax(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over the classes that occur in ``truth``; 0 where none does.

    Berman et al., 2018, "The Lovász-Softmax loss", equations 8 and 11: for each class the errors of
    all pixels, from the largest down, times the step by which the Jaccard loss grows when one pixel
    more is taken to be wrong.

    Args:
        probabilities: (N, K), of each pixel.
        truth: (N,) int64 classes, none ignored.
    """
    belongs = F.one_hot(truth, probabilities.shape[1]).to(probabilities.dtype).T  # (K, N)
    errors, order = (belongs - probabilities.T).abs().sort(dim=1, descending=True)
    belongs = belongs.gather(1, order)
    total = belongs.sum(1, keepdim=True)
    left = total - belongs.cumsum(1)  # the intersection, once so many pixels are wrong
    union = total + (1 - belongs).cumsum(1)
    jaccard = 1 - left / union
    steps = torch.diff(jaccard, dim=1, prepend=torch.zeros_like(total))
    losses = (errors * steps).sum(1)
    present = total[:, 0] > 0
    return losses[present].sum() / present.sum().clamp(min=1)
