"""Where a trained model fails, in numbers and images, for docs/model-card.md.

    python benchmarks/failures.py camvid [--model data/models/camvid] [--images docs/images]

On the validation split of a prepared dataset: the found share of each class by thickness; the
wrong share by distance from a border between classes; the classes that missed pixels are predicted
as; and the mIoU of images that are mirrored, upside down, or corrupted as by `sgcp validate
--corruptions`. Prints tables and draws three images, without any image of the dataset.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from sgcp.core.layout import Layout
from sgcp.core.terminal import percent, track
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.index import read_dataset, trained_among
from sgcp.inference.segmenter import load
from sgcp.media.images import UInt8, read_image, write_png
from sgcp.metrics.confusion import count_image, count_pairs, no_counts
from sgcp.metrics.corruptions import render_corruptions, score_corruptions
from sgcp.metrics.iou import score_counts, square
from sgcp.metrics.scorer import Scorer
from sgcp.reporting.panels import colorize, error_map
from sgcp.settings.load import load_params

mpl.use("Agg")
import matplotlib.pyplot as plt

THIN = (2, 4, 8, 16, 32)  # upper bounds of thickness, pixels; beyond: thicker
NEAR = (1, 2, 4, 8, 16)  # upper bounds of the distance from a border, pixels
GAP = 8  # white pixels between the images of a sheet
RARE = 6  # the rarest classes, whose lines are drawn
PLAIN = "as it is"

Maps = list[tuple[str, UInt8, UInt8]]  # key, ground truth and prediction (H, W) of each image


# Turned images, whose labels are turned back: each turn undoes itself.
TURNS: dict[str, Callable[[UInt8], UInt8]] = {
    "mirrored (traffic on the other side)": lambda image: image[:, ::-1].copy(),
    "upside down": lambda image: image[::-1, ::-1].copy(),
}


def thickness(label: UInt8) -> NDArray[np.int64]:
    """Return, for each pixel of (H, W), the shorter of its runs along row and column, pixels."""
    return np.minimum(run_lengths(label), run_lengths(label.T).T)


def run_lengths(label: UInt8) -> NDArray[np.int64]:
    """Return the length of the run of equal values along the row of each pixel."""
    starts = np.ones(label.shape, dtype=bool)
    starts[:, 1:] = label[:, 1:] != label[:, :-1]
    lengths = np.diff(np.append(np.flatnonzero(starts), label.size))
    return np.repeat(lengths, lengths).reshape(label.shape)


def border_distance(label: UInt8) -> NDArray[np.float64]:
    """Return each pixel's distance, pixels, from the nearest one of another value."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inside = cv2.dilate(label, cross) == cv2.erode(label, cross)
    # Pixels at a border touch the other value: their distance is 1.
    return cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) + 1


def shares_by(
    values: Callable[[UInt8], NDArray], bounds: Sequence[int], maps: Maps, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the share of right pixels and the pixels, (K, B + 1), by class and bin of a value."""
    right = np.zeros((classes, len(bounds) + 1), dtype=np.int64)
    total = np.zeros_like(right)
    for _, label, prediction in maps:
        bins = np.digitize(values(label), bounds, right=True).astype(np.uint8)
        total += count_pairs(label, bins, 256)[:classes, : len(bounds) + 1]
        found = np.where(label == prediction, label, IGNORE).astype(np.uint8)
        right += count_pairs(found, bins, 256)[:classes, : len(bounds) + 1]
    return np.where(total > 0, right / np.maximum(total, 1), np.nan), total


def name_bins(bounds: Sequence[int]) -> list[str]:
    """Return the names of the bins: 1-2, 3-4, ... >32."""
    starts = [1, *(bound + 1 for bound in bounds)]
    names = [str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, bounds, strict=False)]
    return [*names, f">{bounds[-1]}"]


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print numbers, with names in the first column."""
    table = Table(columns[0], title=title, title_justify="left")
    for column in columns[1:]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    Console(width=100).print(table)


def draw_thickness(path: Path, names: list[str], shares: NDArray, rare: list[int]) -> None:
    """Draw the share that is found of the rare classes, by thickness."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for number, k in enumerate(rare):
        axes.plot(100 * shares[k], marker="osD^vP"[number], label=names[k])
    axes.set_xticks(range(len(THIN) + 1), name_bins(THIN))
    axes.set(xlabel="thickness in the ground truth, pixels", ylabel="found, % of the pixels")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", ncols=2)
    figure.savefig(path, dpi=110)


def draw_disturbances(path: Path, scores: dict[str, float]) -> None:
    """Draw a bar for each disturbance, with its mIoU."""
    figure, axes = plt.subplots(figsize=(7, 7), layout="constrained")
    names = [*scores][::-1]
    colors = ["tab:gray" if name == PLAIN else "tab:blue" for name in names]
    bars = axes.barh(names, [100 * scores[name] for name in names], color=colors)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set(xlabel="mIoU, %", xlim=(0, 100))
    figure.savefig(path, dpi=110)


def draw_errors(path: Path, maps: Maps, scorer: Scorer) -> None:
    """Draw prediction and errors of the images with most, median and fewest wrong pixels."""

    def wrong(label: UInt8, prediction: UInt8) -> float:
        return float((label != prediction)[label != IGNORE].mean())

    ranked = sorted(maps, key=lambda one: -wrong(*one[1:]))
    rows = []
    for key, label, prediction in (ranked[0], ranked[len(ranked) // 2], ranked[-1]):
        print(f"{path.name}: {key}, {percent(wrong(label, prediction), 1)} % of its pixels wrong")
        painted = colorize(prediction, scorer.protocol.classes)
        gap = np.full((painted.shape[0], GAP, 3), 255, dtype=np.uint8)
        rows.append(np.hstack([painted, gap, error_map(label, prediction)]))
    widest = max(row.shape[1] for row in rows)
    sheet = [np.pad(row, ((0, GAP), (0, widest - row.shape[1]), (0, 0)), constant_values=255)
             for row in rows]  # fmt: skip
    write_png(path, np.vstack(sheet)[:-GAP])


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--model", help="default: data/models/DATASET")
    parser.add_argument("--images", type=Path, help="folder for the charts; default: none")
    options = parser.parse_args()
    layout = Layout(Path(), options.dataset)
    dataset = read_dataset(layout.prepared)
    split = load_params(Path("params.yaml")).dataset(options.dataset).validate_.split
    items = dataset.split(split)
    model = load(options.model or layout.model, precision="fp32")
    if trained := trained_among(model.card.trained_on, items):
        print(f"trained on {len(trained)} of these {len(items)} images: compare rows, not models")
    scorer = Scorer(layout, dataset, model, None)
    protocol, maps = scorer.protocol, []
    counts = {name: no_counts(protocol) for name in (PLAIN, *TURNS)}
    for item in track(items, "scoring", len(items)):
        image, truth = read_image(layout.raw / item.image), read_ground_truth(layout.prepared, item)
        labels = scorer.to_train_ids[model.segment(image)]
        counts[PLAIN] += count_image(truth, labels, protocol, scorer.label_ids)
        maps.append((item.key, truth.train_ids[truth.segments], labels))
        for name, turn in TURNS.items():
            labels = turn(scorer.to_train_ids[model.segment(turn(image))])
            counts[name] += count_image(truth, labels, protocol, scorer.label_ids)
    scores = {name: score_counts(one, protocol).miou for name, one in counts.items()}
    corrupted = score_corruptions(scorer, items, model.workers)
    for name, by_strength in corrupted["by_strength"].items():
        scores |= {f"{name}, {strength}": miou for strength, miou in by_strength.items()}

    names = [one.name for one in protocol.classes]
    found, pixels = shares_by(thickness, THIN, maps, len(names))
    near, _ = shares_by(border_distance, NEAR, maps, len(names))
    for title, bounds, shares in (
        ("found, %, by thickness in pixels", THIN, found),
        ("wrong, %, by distance from a border", NEAR, 1 - near),
    ):
        rows = [[name, *(percent(share, 0) for share in row)]
                for name, row in zip(names, shares, strict=True)]  # fmt: skip
        print_table(title, ["class", *name_bins(bounds)], rows)
    confusion, true = square(counts[PLAIN], protocol), counts[PLAIN].pixels.sum(axis=1)
    rows = []
    for k, row in enumerate(100 * confusion / np.maximum(1, true)[:, None]):
        others = [f"{names[j]} {row[j]:.0f}" for j in np.argsort(-row) if j != k]
        rows.append([names[k], f"{row[k]:.0f}", ", ".join(others[:3])])
    print_table("predicted as", ["class", "found %", "missed as, % of the class"], rows)
    rows = [[name, percent(scores[name])] for name in counts]
    print_table("mIoU", ["image", "mIoU %"], rows)
    Console(width=100).print(render_corruptions({"miou": scores[PLAIN], "corruptions": corrupted}))
    if options.images:
        options.images.mkdir(parents=True, exist_ok=True)
        rare = np.argsort(pixels.sum(axis=1))[:RARE].tolist()
        draw_thickness(options.images / "found-by-thickness.png", names, found, rare)
        draw_disturbances(options.images / "disturbed.png", scores)
        draw_errors(options.images / "errors.png", maps, scorer)


if __name__ == "__main__":
    main()
