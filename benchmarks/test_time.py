"""Score a trained model with kinds of test-time augmentation and input sizes, and time each.

    python benchmarks/test_time.py camvid [--sides 360 544 ...]

The validation split of a prepared dataset, the model of data/models, the fastest engine: as it was
trained, mirrored too, at several sizes, through windows, all of it; and plainly at other sizes
(short sides, pixels). Prints mIoU, the difference to the plain way, milliseconds an image in
memory (median over the split, all cores on one image) and how many times the plain way's that is.
"""

import argparse
import statistics
from functools import partial
from pathlib import Path

from timing import seconds_of

from sgcp.core.layout import Layout
from sgcp.datasets.index import read_dataset
from sgcp.inference.segmenter import load
from sgcp.inference.tta import InferenceOptions
from sgcp.media.images import read_image
from sgcp.metrics.confusion import no_counts
from sgcp.metrics.iou import score_counts
from sgcp.metrics.scorer import Scorer
from sgcp.models.card import input_size
from sgcp.settings.load import load_params

ROOT = Path()
SCALES = (0.75, 1.0, 1.25)


def main() -> None:
    """Score and time each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--sides", type=int, nargs="*", default=[360, 448, 544, 640, 720, 864])
    arguments = parser.parse_args()
    section = load_params(ROOT / "params.yaml").dataset(arguments.dataset)
    layout = Layout(ROOT, arguments.dataset)
    dataset = read_dataset(layout.prepared)
    items = dataset.split(section.validate_.split)
    model = load(layout.model, precision="fp32")
    height, width = items[0].height, items[0].width
    own = model.card.input_size(height, width)
    half = (own[0] // 2, own[1] // 2)
    ways: list[tuple[str, tuple[int, int], InferenceOptions]] = [
        ("as trained", own, InferenceOptions()),
        ("mirrored too", own, InferenceOptions(flip=True)),
        (f"scales {SCALES}", own, InferenceOptions(scales=SCALES)),
        ("both", own, InferenceOptions(flip=True, scales=SCALES)),
        (f"windows {half[0]}x{half[1]}", own, InferenceOptions(window=half)),
    ]
    ways += [
        ("plain", input_size(height, width, side), InferenceOptions()) for side in arguments.sides
    ]
    print(f"{dataset.name} '{items[0].split}', {len(items)} images of {height}x{width}")
    plain: list[float] = []
    for name, size, options in ways:
        scorer = Scorer(layout, dataset, model, size, options)
        counts, times = no_counts(scorer.protocol), []
        for item in items:
            counts += scorer.score(item).counts
            call = partial(model.segment, read_image(layout.raw / item.image), size, options)
            times.append(1000 * seconds_of(call))
        row = [100 * score_counts(counts, scorer.protocol).miou, statistics.median(times)]
        plain = plain or row
        print(
            f"{name:26} at {size[0]:4}x{size[1]:<4}  mIoU {row[0]:5.2f} ({row[0] - plain[0]:+.2f})"
            f"  {row[1]:6.1f} ms  x{row[1] / plain[1]:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
