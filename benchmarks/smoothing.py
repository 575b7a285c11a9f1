"""Measure what `--smooth` does to flicker and accuracy on real successive frames.

    python benchmarks/smoothing.py DATASET [--model MODEL] [--split val] [--frames FIRST LAST]

Takes the frames of a prepared dataset's split, or those between two names, as one video. CamVid's
`val` is 0016E5_07959 to 0016E5_08159, 15 frames/s from a driving car, each with a label map. In
its `test`, Seq05VD_f01920 to Seq05VD_f02400, one frame a second, the car stands.
Prints for each share: the pixels whose label changes from one frame to the next although no colour
channel changed by more than STILL, mIoU, and milliseconds a frame of the average.
"""

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np

import sgcp
from sgcp.core.layout import Layout
from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.index import read_dataset
from sgcp.inference.smoothing import Smoother
from sgcp.media.images import UInt8, read_image
from sgcp.metrics.confusion import count_image, no_counts
from sgcp.metrics.iou import score_counts
from sgcp.metrics.protocol import protocol_of

SHARES = (0.0, 0.5, 0.7, 0.9)
STILL = 3  # grey levels


def changed_share(labels: list[UInt8], images: list[UInt8]) -> float:
    """Return the share of still pixels whose label differs from that in the frame before."""
    changed = still = 0
    for now in range(1, len(images)):
        motion = np.abs(images[now].astype(np.int16) - images[now - 1]).max(2)
        still += (motion <= STILL).sum()
        changed += ((motion <= STILL) & (labels[now] != labels[now - 1])).sum()
    return float(changed / still)


def main() -> None:
    """Print a row for each share."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--model", default="camvid")
    parser.add_argument("--split", default="val")
    parser.add_argument("--frames", nargs=2, default=("", "~"), metavar=("FIRST", "LAST"))
    options = parser.parse_args()
    layout, (first, last) = Layout(Path(), options.dataset), options.frames
    dataset = read_dataset(layout.prepared)
    items = [item for item in dataset.items if item.split == options.split
             and first <= Path(item.image).stem <= last]  # fmt: skip
    items.sort(key=lambda item: item.image)
    images = [read_image(layout.raw / item.image) for item in items]
    protocol = protocol_of(dataset)
    model = sgcp.load(options.model)
    model.segment(images[0])  # the engine compiles its graph
    started = perf_counter()
    predictions = [model.predict(image) for image in images]
    predicting = 1e3 * (perf_counter() - started) / len(images)
    print(f"{len(images)} frames, {predicting:.1f} ms each for scores ({model!r})")
    for share in SHARES:
        smoother, seconds, labels, counts = Smoother(share), 0.0, [], no_counts(protocol)
        for item, image, prediction in zip(items, images, predictions, strict=True):
            started = perf_counter()
            smoothed = smoother(image, prediction) if share else prediction
            seconds += perf_counter() - started
            labels.append(smoothed.labels)
            if item.label:
                truth = read_ground_truth(layout.prepared, item)
                counts += count_image(truth, labels[-1], protocol, protocol.label_id_of_train_id)
        miou = f"mIoU {score_counts(counts, protocol).miou:.2%}, " if items[0].label else ""
        print(
            f"{share:.1f}: {changed_share(labels, images):.2%} of still pixels change, {miou}"
            f"{1e3 * seconds / len(images):.2f} ms"
        )


if __name__ == "__main__":
    main()
