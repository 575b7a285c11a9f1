"""Score the network during training, on whatever devices it trains on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional as F

from sgcp.core.errors import SgcpError
from sgcp.core.parallel import map_threads
from sgcp.datasets.loader import SegmentationDataset
from sgcp.inference.predict import Predictor
from sgcp.metrics.confusion import count_pairs
from sgcp.metrics.iou import mean_iou, share
from sgcp.models.card import input_size

if TYPE_CHECKING:
    from sgcp.models.network import Normalize

READERS = 4  # threads that decode while the network predicts


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
    confusion = np.zeros((classes, classes), np.int64)
    mine = range(fabric.global_rank, len(dataset), fabric.world_size)
    for image, label in map_threads(dataset.__getitem__, mine, READERS):
        image, size = image[None], (label.shape[0], label.shape[1])
        seen = input_size(*size, input_side)
        if seen != size:
            image = F.interpolate(image, seen, mode="bilinear", antialias=True)
        prediction = predictor(fabric.to_device(image), size)[0].cpu().numpy()
        confusion += count_pairs(label.numpy(), prediction, 256)[:classes, :classes]
    on_device = torch.from_numpy(confusion).to(fabric.device)
    total: Any = fabric.all_reduce(on_device, reduce_op="sum")
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
