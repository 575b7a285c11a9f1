"""Where a trained model fails, in numbers and images: what docs/model-card.md shows.

    python benchmarks/failures.py camvid [--model data/models/camvid] [--images docs/images]

On the validation split of a prepared dataset, which the model must not have learnt from: how much
of a class is found by how thick it is; how many pixels are wrong by their distance from a border
between classes; what the missed pixels are taken for; and the mIoU when the images are darker,
blurred, noisy, squeezed by JPEG, without colour, mirrored or upside down. Prints tables and draws
three images: of what the model said and where that is wrong, nothing of the dataset's own.
"""

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rich.console import Console
from rich.table import Table

from sgcp.core.layout import Layout
from sgcp.core.terminal import track
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.index import read_dataset, refuse_overlap
from sgcp.inference.segmenter import load
from sgcp.media.images import UInt8, read_image, write_png
from sgcp.metrics.confusion import Counts, count_image, no_counts
from sgcp.metrics.iou import score_counts, square
from sgcp.metrics.scorer import Scorer
from sgcp.reporting.panels import colorize, error_map
from sgcp.settings.load import load_params

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path()
THIN = (2, 4, 8, 16, 32)  # upper bounds of thickness, pixels; beyond: thicker
NEAR = (1, 2, 4, 8, 16)  # upper bounds of the distance from a border, pixels
GAP = 8  # white pixels between the images of a sheet
RARE = 6  # the rarest classes, whose lines are drawn


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Squeeze an image and open it again."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def noise(image: Image.Image, deviation: float) -> Image.Image:
    """Add Gaussian noise to each channel of each pixel, the same for every image."""
    pixels = np.asarray(image, dtype=np.float32)
    noisy = pixels + np.random.default_rng(0).normal(0, deviation, pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).round().astype(np.uint8))


def fog(image: Image.Image, share: float) -> Image.Image:
    """Mix an image with light grey."""
    return Image.blend(image, Image.new("RGB", image.size, (200, 200, 200)), share)


def turned(method: Image.Transpose) -> Callable[[Image.Image], Image.Image]:
    """Return the turning of an image."""
    return lambda image: image.transpose(method)


# What is done to the images; what the model says of turned ones is turned back.
TURNS = {
    "mirrored (traffic on the other side)": turned(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": turned(Image.Transpose.ROTATE_180),
}
DISTURBANCES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda image: image,
    "half the light": lambda image: image.point(lambda value: value * 0.5),
    "a quarter of the light": lambda image: image.point(lambda value: value * 0.25),
    "overexposed, twice the light": lambda image: image.point(lambda value: value * 2),
    "fog, half grey": lambda image: fog(image, 0.5),
    "blurred, 1 pixel": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "blurred, 2 pixels": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "noise, 10 of 255": lambda image: noise(image, 10),
    "noise, 25 of 255": lambda image: noise(image, 25),
    "JPEG, quality 30": lambda image: jpeg(image, 30),
    "JPEG, quality 10": lambda image: jpeg(image, 10),
    "without colour": lambda image: image.convert("L").convert("RGB"),
    **TURNS,
}


def thickness(label: UInt8) -> NDArray[np.int64]:
    """Return, for each pixel of (H, W), the shorter of its runs along row and column, pixels."""
    return np.minimum(run_lengths(label), run_lengths(label.T).T)


def run_lengths(label: UInt8) -> NDArray[np.int64]:
    """Return how long the run of equal values is, along its row, in which each pixel lies."""
    height, width = label.shape
    starts = np.ones((height, width), dtype=bool)
    starts[:, 1:] = label[:, 1:] != label[:, :-1]
    begins = np.flatnonzero(starts)
    lengths = np.diff(np.append(begins, height * width))
    return np.repeat(lengths, lengths).reshape(height, width)


@dataclass(frozen=True)
class Seen:
    """One image's truth and what the model said, (H, W) train ids each."""

    key: str
    label: UInt8
    prediction: UInt8

    @property
    def wrong(self) -> float:
        """Share of the scored pixels that are wrong."""
        scored = self.label != IGNORE
        return float((self.label != self.prediction)[scored].mean())


def shares_by(
    values: Callable[[UInt8], NDArray], bounds: Sequence[int], seen: Sequence[Seen], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the share of right pixels by class and bin of a value of each pixel, and the pixels.

    Returns:
        (K, B + 1) shares, NaN where there is no pixel, and as many counts. A bin ends with its
        bound; the last has what is beyond.
    """
    right = np.zeros((classes, len(bounds) + 1), dtype=np.int64)
    total = np.zeros_like(right)
    for one in seen:
        bins = np.digitize(values(one.label), bounds, right=True)
        scored = one.label < classes
        np.add.at(total, (one.label[scored], bins[scored]), 1)
        scored &= one.label == one.prediction
        np.add.at(right, (one.label[scored], bins[scored]), 1)
    return np.where(total > 0, right / np.maximum(total, 1), np.nan), total


def border_distance(label: UInt8) -> NDArray[np.float64]:
    """Return each pixel's distance, pixels, from the nearest one of another value."""
    border = np.zeros(label.shape, dtype=bool)
    for axis in (0, 1):
        ahead = np.diff(label.astype(np.int16), axis=axis) != 0
        before, after = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
        before[axis], after[axis] = (0, 1), (1, 0)
        border |= np.pad(ahead, before) | np.pad(ahead, after)
    # Pixels at a border touch the other value: their distance is 1.
    inside = (~border).astype(np.uint8)
    return cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) + 1


def name_bins(bounds: Sequence[int]) -> list[str]:
    """Return what the bins are called: 1 to 2, 3 to 4, ... above 32."""
    starts = [1, *(bound + 1 for bound in bounds)]
    names = [str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, bounds, strict=False)]
    return [*names, f">{bounds[-1]}"]


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print numbers, with names in the first column."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=100).print(table)


def percent(values: NDArray[np.float64]) -> list[str]:
    """Return shares in whole per cent, a dash where there is none."""
    return ["-" if np.isnan(value) else f"{100 * value:.0f}" for value in values]


def draw_thickness(
    path: Path, names: Sequence[str], shares: NDArray[np.float64], rare: Sequence[int]
) -> None:
    """Draw the share that is found of the rare classes, by thickness."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for number, k in enumerate(rare):
        axes.plot(100 * shares[k], marker="osD^vP"[number], label=names[k])
    axes.set_xticks(range(len(THIN) + 1), name_bins(THIN))
    axes.set_xlabel("thickness in the truth, pixels")
    axes.set_ylabel("found, % of the pixels")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", ncols=2)
    figure.savefig(path, dpi=110)


def draw_disturbances(path: Path, scores: dict[str, float]) -> None:
    """Draw a bar for each disturbance, with its mIoU."""
    figure, axes = plt.subplots(figsize=(7, 4.6), layout="constrained")
    names = [*scores][::-1]
    colors = ["tab:gray" if name == "as it is" else "tab:blue" for name in names]
    bars = axes.barh(names, [100 * scores[name] for name in names], color=colors)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_xlabel("mIoU, %")
    axes.set_xlim(0, 100)
    figure.savefig(path, dpi=110)


def draw_errors(path: Path, seen: Sequence[Seen], scorer: Scorer) -> None:
    """Draw what the model said and where that is wrong: most, median and fewest wrong pixels."""
    ranked = sorted(seen, key=lambda one: -one.wrong)
    rows = []
    for one in (ranked[0], ranked[len(ranked) // 2], ranked[-1]):
        print(f"{path.name}: {one.key}, {100 * one.wrong:.1f} % of its scored pixels wrong")
        said = colorize(one.prediction, scorer.protocol.classes)
        gap = np.full((said.shape[0], GAP, 3), 255, dtype=np.uint8)
        rows += [np.hstack([said, gap, error_map(one.label, one.prediction)])]
        rows += [np.full((GAP, rows[0].shape[1], 3), 255, dtype=np.uint8)]
    write_png(path, np.vstack(rows[:-1]))


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--model", help="default: data/models/DATASET")
    parser.add_argument("--images", type=Path, help="folder for the charts; default: none")
    options = parser.parse_args()
    section = load_params(ROOT / "params.yaml").dataset(options.dataset)
    layout = Layout(ROOT, options.dataset)
    dataset = read_dataset(layout.prepared)
    items = dataset.split(section.validate_.split)
    model = load(options.model or layout.model, precision="fp32")
    refuse_overlap(model.card.trained_on, items)
    scorer = Scorer(layout, dataset, model, None)
    seen: list[Seen] = []
    scores: dict[str, float] = {}
    plain: Counts | None = None
    for name, disturb in track(DISTURBANCES.items(), "disturbing", len(DISTURBANCES)):
        counts = no_counts(scorer.protocol)
        for item in items:
            truth = read_ground_truth(layout.prepared, item)
            image = disturb(Image.fromarray(read_image(layout.raw / item.image)))
            labels = scorer.to_train_ids[model.segment(np.asarray(image))]
            if name in TURNS:  # each undoes itself
                labels = np.asarray(disturb(Image.fromarray(labels)))
            counts += count_image(truth, labels, scorer.protocol, scorer.label_ids)
            if name == "as it is":
                seen.append(Seen(item.key, truth.train_ids[truth.segments], labels))
        scores[name] = score_counts(counts, scorer.protocol).miou
        plain = plain or counts
    assert plain is not None  # the first is as it is
    report(seen, plain, scores, scorer, options.pictures)


def report(
    seen: Sequence[Seen],
    plain: Counts,
    scores: dict[str, float],
    scorer: Scorer,
    pictures: Path | None,
) -> None:
    """Print the tables, draw the charts."""
    names = [one.name for one in scorer.protocol.classes]
    found, pixels = shares_by(thickness, THIN, seen, len(names))
    rows = [[name, *percent(row)] for name, row in zip(names, found, strict=True)]
    print_table("found, %, by thickness in pixels", ["class", *name_bins(THIN)], rows)
    near, _ = shares_by(border_distance, NEAR, seen, len(names))
    rows = [[name, *percent(1 - row)] for name, row in zip(names, near, strict=True)]
    print_table("wrong, %, by distance from a border", ["class", *name_bins(NEAR)], rows)
    print_table("taken for", ["class", "found %", "missed as, % of the class"],
                list(misses(plain, scorer)))  # fmt: skip
    lines = [[name, f"{100 * miou:.2f}"] for name, miou in scores.items()]
    print_table("mIoU on disturbed images", ["image", "mIoU %"], lines)
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        rare = np.argsort(pixels.sum(axis=1))[:RARE].tolist()
        draw_thickness(pictures / "found-by-thickness.png", names, found, rare)
        draw_disturbances(pictures / "disturbed.png", scores)
        draw_errors(pictures / "errors.png", seen, scorer)


def misses(counts: Counts, scorer: Scorer) -> Iterator[list[str]]:
    """Yield a row a class: the share that is found, and what most of the rest is taken for."""
    names = [one.name for one in scorer.protocol.classes]
    for k, row in enumerate(square(counts, scorer.protocol)):
        shares = 100 * row / max(1, counts.pixels[k].sum())
        others = [j for j in np.argsort(-shares) if j != k][:3]
        taken = ", ".join(f"{names[j]} {shares[j]:.0f}" for j in others)
        yield [names[k], f"{shares[k]:.0f}", taken]


if __name__ == "__main__":
    main()
