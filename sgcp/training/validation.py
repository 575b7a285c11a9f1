"""Score the network during training, on whatever devices it trains on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from sgcp.core.errors import SgcpError
from sgcp.core.parallel import map_threads
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.loader import SegmentationDataset
from sgcp.inference.predict import Predictor
from sgcp.metrics.iou import mean_iou, share
from sgcp.models.card import input_size

if TYPE_CHECKING:
    from sgcp.models.network import Normalize

READERS = 4  # threads that decode while the network predicts


def count_confusion(label: Tensor, prediction: Tensor, num_classes: int) -> Tensor:
    """Count pixels by (true class, predicted class) on their device, leaving out ignored ones.

    Args:
        label: train ids of any shape; ``IGNORE`` is not counted.
        prediction: train ids 0 .. K-1 of the same shape.

    Returns:
        (K, K) int64; rows are the truth, columns the prediction.
    """
    scored = label != IGNORE
    codes = label[scored].long() * num_classes + prediction[scored].long()
    return torch.bincount(codes, minlength=num_classes**2).view(num_classes, num_classes)


def evaluate(
    fabric: Fabric,
    network: nn.Module,
    normalize: Normalize,
    dataset: SegmentationDataset,
    input_side: int | None = None,
) -> dict[str, float]:
    """Score the network on single images, over all processes, at the labels' own size.

    Args:
        input_side: short side, pixels, at which the network sees them; None: their own.

    Returns:
        ``miou`` and ``pixel_accuracy``, as ``sgcp validate`` computes them.

    Raises:
        SgcpError: no pixel of the split is scored.
    """
    share_buffers(fabric, network)
    network.eval()
    predictor = Predictor(network, normalize)
    classes = dataset.num_classes
    square = (classes, classes)
    confusion = torch.zeros(square, dtype=torch.int64, device=fabric.device)
    mine = range(fabric.global_rank, len(dataset), fabric.world_size)
    for image, label in map_threads(dataset.__getitem__, mine, READERS):
        image, label = image[None], label[None]
        size = label.shape[1], label.shape[2]
        seen = input_size(*size, input_side)
        if seen != size:
            image = F.interpolate(image, seen, mode="bilinear", antialias=True)
        image, label = fabric.to_device((image, label))
        confusion += count_confusion(label, predictor(image, size), classes)
    total: Any = fabric.all_reduce(confusion, reduce_op="sum")
    counts = total.cpu().numpy()
    miou = mean_iou(counts)
    if math.isnan(miou):
        raise SgcpError("train.validate_split: the split has no scored pixel; choose another")
    return {"miou": miou, "pixel_accuracy": float(share(counts.trace(), counts.sum()))}


def share_buffers(fabric: Fabric, network: nn.Module) -> None:
    """Give every process the batch-norm statistics of the first, so that they score one network."""
    if fabric.world_size > 1:
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, src=0)
