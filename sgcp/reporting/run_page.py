"""The page about one run: its scores, how it was trained and scored, and where it fails."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.core.extras import DISTRIBUTION
from sgcp.core.layout import Layout
from sgcp.core.machine import processor_name, usable_cores
from sgcp.core.terminal import percent
from sgcp.datasets.classes import SemanticClass
from sgcp.media.images import UInt8
from sgcp.metrics.corruptions import tabulate_corruptions
from sgcp.metrics.results import MEANS
from sgcp.models import SGCPNET
from sgcp.reporting.page import Cell, file_size, label_uri, legend, photo_uri, points, render
from sgcp.reporting.palettes import WRONG
from sgcp.reporting.run import METHOD, Curves, Earlier, Example, FinishedRun
from sgcp.reporting.run_charts import class_chart, confusion_chart, curve_chart

LONGEST = 1024  # pixels of an image's longer side on the page
# A label map on the page is grey: train id + 1, and 0 where nothing is scored.
GREYS = np.arange(1, 256, dtype=np.uint8)[:, None].repeat(3, axis=1)
CODE = ("sgcp", "pipeline", "params.yaml", "dvc.yaml")  # a commit of anything else changes no page
SCORED = ("split", "images", "scored_size", "split_fingerprint", *METHOD)


def render_run(
    run: FinishedRun,
    earlier: Sequence[Earlier],
    examples: Sequence[Example],
    classes: tuple[SemanticClass, ...],
) -> str:
    """Return the page as HTML; it asks no network for anything.

    Raises:
        SgcpError: ``speed.json`` lacks something.
    """
    epoch, later = run.unfinished or ("", {})
    named = run.layout.dataset, run.card.provenance.get("recipe")
    return render(
        "report.html",
        dataset=run.layout.dataset,
        title=f"{', '.join(filter(None, named))}: {percent(run.scores['miou'])} % mIoU",
        subtitle=_describe_data(run),
        headline=_headline(run, earlier),
        warnings=_warnings(run, earlier),
        made=_describe_making(run.layout.root),
        class_chart=class_chart(run.classes, earlier, run.seeds),
        confusion=confusion_chart(run.confusion),
        legend=legend(classes),
        wrong=WRONG,
        images=[_view(example) for example in examples],
        curves=_draw_curves("curve", run.curves),
        no_curves=_explain_missing_curves(run),
        unfinished=epoch,
        unfinished_curves=_draw_curves("unfinished", later),
        facts=_facts(run),
        corrupted=_corrupted(run),
        speed=_speed(run),
        links=_find_links(run.layout),
        charts=True,
    )


def _draw_curves(name: str, curves: Curves) -> dict[str, Any]:
    return {f"{name}-{n}": curve_chart(*item) for n, item in enumerate(curves.items(), 1)}


def _headline(run: FinishedRun, earlier: Sequence[Earlier]) -> list[tuple[str, str, list[str]]]:
    """Return name and value of each mean score, and how other runs and seeds differ."""
    rows = []
    for key, name in MEANS.items():
        if (share := run.scores.get(key)) is None:
            continue
        below = [
            f"{percent(other)} -> {percent(share)} ({points(share, other)}), {one.source}"
            for one in earlier
            if not one.differences and (other := one.scores.get(key)) is not None
        ]
        if run.seeds and (over := run.seeds.get(key, {})).get("mean") is not None:
            mean, std = percent(over["mean"]), percent(over["std"])
            below.append(f"{mean}, standard deviation {std}, over {len(run.seeds['seeds'])} seeds")
        rows.append((name, percent(share), below))
    return rows


def _warnings(run: FinishedRun, earlier: Sequence[Earlier]) -> list[str]:
    texts = [
        f"The earlier run, {one.source}, is not comparable with this one, so no differences are "
        f"shown. {'; '.join(one.differences)}."
        for one in earlier
        if one.differences
    ]
    trained, scored = run.card.protocol, run.scores["protocol"]
    if trained != scored:
        texts.append(f"The model was trained with protocol {trained} and is scored on {scored}.")
    return texts


def _describe_data(run: FinishedRun) -> str:
    scores, card = run.scores, run.card
    epoch = card.provenance.get("epoch")
    network = f"SGCPNet with encoder {card.encoder}" if card.network == SGCPNET else card.network
    trained = "imported" if epoch is None else f"epoch {epoch}"
    if card.lineage:
        trained += f", {card.lineage}"
    return (
        f"{scores['edition']} edition, protocol {scores['protocol']}, {scores['images']} images "
        f"of '{scores['split']}'; {network}, {trained}, trained on "
        f"{len(card.trained_on):,} images"
    )


def _facts(run: FinishedRun) -> list[tuple[str, list[tuple[str, str]]]]:
    card = run.card
    settings = card.provenance.get("settings")
    origin = {key: value for key, value in card.provenance.items() if key != "settings"} | {
        "images trained on": f"{len(card.trained_on):,}",
        "trained on dataset": f"{card.dataset}, {card.edition}, {card.protocol}",
        "file of weights": file_size(run.weights.stat().st_size),
    }
    return [
        ("Recipe", _flatten(settings) if isinstance(settings, dict) else []),
        ("Scoring", _flatten({key: run.scores[key] for key in SCORED})),
        ("Provenance", _flatten(origin)),
    ]


def _flatten(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return names and values of nested JSON as rows, inner names after a dot."""
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _as_yaml(value)))
    return rows


def _as_yaml(value: Any) -> str:
    """Write a setting as ``params.yaml`` does."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_yaml, value))}]"
    return str(value)


def _view(example: Example) -> dict[str, Any]:
    height, width = example.truth.shape
    factor = min(1.0, LONGEST / max(height, width))
    wh = max(1, round(width * factor)), max(1, round(height * factor))

    def resize(pixels: UInt8, method: Image.Resampling) -> UInt8:
        return np.asarray(Image.fromarray(pixels).resize(wh, method))

    nearest, score = Image.Resampling.NEAREST, example.score
    return {
        "name": score.image,
        "title": f"{example.place.capitalize().replace('-', ' ')}: {score.image}",
        "scores": f"mIoU {percent(score.miou)} %, pixel accuracy {percent(score.pixel_accuracy)} %",
        "wh": wh,
        "sources": {
            "image": photo_uri(resize(example.image, Image.Resampling.LANCZOS)),
            "truth": label_uri(resize(example.truth, nearest), GREYS),
            "prediction": label_uri(resize(example.prediction, nearest), GREYS),
        },
    }


def _explain_missing_curves(run: FinishedRun) -> str:
    if "settings" not in run.card.provenance:
        return "There are no curves: this model was not trained here."
    folder = run.layout.curves
    found = "belongs to another model" if folder.exists() else "is missing"
    return (
        f"There are no curves of this model: {folder} {found}. "
        f"`sgcp train {run.layout.dataset}` writes them."
    )


def _corrupted(run: FinishedRun) -> dict[str, Any]:
    """Return text, and columns and rows of the scores on corrupted images, if there are some."""
    command = f"sgcp validate {run.layout.dataset} --corruptions"
    if run.corrupted is None:
        return {"text": f"There are no such scores of this model; `{command}` measures them."}
    try:
        rows = tabulate_corruptions(run.corrupted)
        text = f"On {run.corrupted['images']} images of '{run.corrupted['split']}'."
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        path = run.layout.corrupted
        raise SgcpError(f"{path}: damaged ({error!r}); run `{command}` again") from None
    return {"text": text, "columns": ["corruption", "mean", "by strength"], "rows": rows}


def _speed(run: FinishedRun) -> dict[str, Any]:
    """Return text, and columns and rows of the medians of this model, if it was timed."""
    command = f"sgcp benchmark {run.layout.dataset}"
    if run.speed is None:
        return {"text": f"There are no times of this model; `{command}` measures them."}
    try:
        tasks, (height, width) = run.speed["tasks"], run.speed["size"]
        rows: list[list[Cell]] = [
            [
                f"{row['network']}, {row['engine']} {row['precision']} ({row['device']})",
                *(row["tasks"].get(task, {}).get("p50_ms") for task in tasks),
                row["peak_mib"].get("labels"), row.get("parameters"), row.get("gflop"),
            ]
            for row in run.speed["rows"]
        ]  # fmt: skip
        text = (
            f"Medians of an image of {height}x{width} pixels (height, width) on "
            f"{run.speed['processor']}, {run.speed['threads']} threads, {run.speed['device']}. "
            f"{'; '.join(f'{task}: {meaning}' for task, meaning in tasks.items())}."
        )
        here = f"{usable_cores()} cores of {processor_name()}"
        if not run.speed["processor"].startswith(here):
            return {
                "text": f"The times were measured on another machine; `{command}` measures here."
            }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        path = run.layout.speed
        raise SgcpError(f"{path}: damaged ({error!r}); run `{command}` again") from None
    times = [f"{task}, ms" for task in tasks]
    columns = ["network, engine", *times, "peak, MiB", "parameters", "GFLOP"]
    return {"text": text, "columns": columns, "rows": rows}


def _describe_making(root: Path) -> str:
    """Return code and machine that made the page: the same for the same run and code."""
    commit = _git(root, "log", "-1", "--format=%h", "--abbrev=12", "--", *CODE)
    changed = " with changes" if _git(root, "status", "--porcelain", "--", *CODE) else ""
    at = f", code and settings of commit {commit}{changed}" if commit else ""
    return f"Made by sgcp {version(DISTRIBUTION)}{at}, on {processor_name()}."


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints; nothing without a repository, or without git."""
    try:
        return subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        ).stdout.strip()
    except FileNotFoundError:
        return ""


def _find_links(layout: Layout) -> list[tuple[str, str]]:
    tables = ("per_class.csv", "confusion.csv", "per_image.csv")
    files = {
        "scores": layout.scores,
        **{name: layout.scores.with_name(name) for name in tables},
        "curves": layout.curves,
        "speed": layout.speed,
        "model": layout.model,
        "its description": layout.model / "model.json",
        "panels of images": layout.panels,
    }
    return [
        (name, Path(os.path.relpath(path, layout.report)).as_posix())
        for name, path in files.items()
        if path.exists()
    ]
