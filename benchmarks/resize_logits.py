"""Compare bilinear with bicubic resizing of the class scores.

    python benchmarks/resize_logits.py camvid

The authors' test script resizes bicubically, their training bilinearly; this project does the
latter throughout. Prints the mIoU of both on the validation split, from one pass of the network.
"""

import sys
from pathlib import Path

import torch
from torch.nn import functional as F

import sgcp
from sgcp.core.layout import Layout
from sgcp.core.terminal import track
from sgcp.datasets.index import read_dataset
from sgcp.inference.segmenter import resize_input
from sgcp.media.images import read_image, read_label
from sgcp.metrics.iou import mean_iou
from sgcp.training.validation import count_confusion


@torch.inference_mode()
def main(name: str) -> None:
    """Score the model of one dataset with both resizings."""
    layout = Layout(Path(), name)
    dataset = read_dataset(layout.prepared)
    items = dataset.split("val")
    model = sgcp.load(layout.model, precision="fp32")
    size = len(dataset.classes)
    counts = {mode: torch.zeros(size, size, dtype=torch.int64) for mode in ("bilinear", "bicubic")}
    for item in track(items, "scoring", len(items)):
        label = torch.from_numpy(read_label(layout.prepared / str(item.label)))
        image = read_image(layout.raw / item.image)
        seen = resize_input(image, model.card.input_size(item.height, item.width))
        logits = torch.from_numpy(model.engine.scores(seen))[None]
        for mode in counts:
            scores = F.interpolate(logits, size=label.shape, mode=mode, align_corners=False)
            counts[mode] += count_confusion(label, scores.argmax(1)[0], size)
    for mode, confusion in counts.items():
        print(f"{mode:9} mIoU {100 * mean_iou(confusion.numpy()):.2f}")


if __name__ == "__main__":
    main(sys.argv[1])
