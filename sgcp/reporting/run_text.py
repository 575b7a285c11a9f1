"""What the page about a run says in words and tables."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.core.errors import SgcpError
from sgcp.inference.engines.processor import processor_name
from sgcp.inference.segmenter import describe_processor
from sgcp.metrics.results import MEANS
from sgcp.reporting.page import file_size, percent, points
from sgcp.reporting.run_page import Facts, Speed, flatten, speed_table

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.reporting.run import Run

CODE = ("sgcp", "pipeline", "params.yaml", "dvc.yaml")
SCORED = (
    "split", "images", "scored_size", "split_fingerprint", "input_size", "flip", "scales",
    "window", "engine", "precision",
)  # fmt: skip


@dataclass(frozen=True)
class Earlier:
    """A run to compare with."""

    source: str
    scores: dict[str, Any]
    differences: Sequence[str]
    """What keeps its numbers from comparing; none where they do."""


def make_headline(run: Run, earlier: Earlier | None) -> list[tuple[str, str, str]]:
    """Return each mean score with its difference from the earlier run."""
    rows = []
    for key, name in MEANS.items():
        if run.scores.get(key) is not None:
            below = ""
            if earlier and not earlier.differences:
                other = earlier.scores.get(key)
                below = f"{points(run.scores[key], other)} points from {percent(other)} %"
            rows.append((name, percent(run.scores[key]), below))
    return rows


def make_warnings(run: Run, earlier: Earlier | None) -> list[str]:
    """Return what the reader must know before comparing numbers, as ``sgcp compare`` says it."""
    said = []
    if earlier and earlier.differences:
        said.append(
            f"The earlier run, {earlier.source}, does not compare with this one, so no differences "
            f"are shown. {'; '.join(earlier.differences)}."
        )
    elif earlier:
        said.append(f"Compared with {earlier.source}.")
    learnt, scored = run.card.protocol, run.scores["protocol"]
    if learnt != scored:
        said.append(f"The model learnt protocol {learnt} and is scored on {scored}.")
    return said


def describe_data(run: Run) -> str:
    """Return which data, which network, in one line."""
    scores, model = run.scores, run.card
    epoch = model.provenance.get("epoch")
    trained = f"epoch {epoch}" if epoch is not None else "imported"
    return (
        f"{scores['edition']} edition, protocol {scores['protocol']}, {scores['images']} images "
        f"of '{scores['split']}'; SGCPNet with encoder {model.encoder}, {trained}, learnt from "
        f"{len(model.trained_on):,} images"
    )


def describe_recipe(run: Run) -> Facts:
    """Return the settings that the model was trained by."""
    settings = run.card.provenance.get("settings")
    rows = flatten(settings) if isinstance(settings, dict) else []
    note = "Not known: the model was not trained here but imported."
    return Facts("Recipe", rows, note)


def describe_scoring(run: Run) -> Facts:
    """Return on what, and how, the model was scored."""
    return Facts("Scoring", flatten({key: run.scores[key] for key in SCORED}))


def describe_origin(run: Run) -> Facts:
    """Return where the model comes from."""
    card = run.card
    rows = flatten({k: v for k, v in card.provenance.items() if k != "settings"})
    rows += [
        ("images learnt from", len(card.trained_on)),
        ("trained on dataset", f"{card.dataset}, {card.edition}, {card.protocol}"),
        ("file of weights", file_size(run.weights.stat().st_size)),
    ]
    return Facts("Provenance", rows)


def describe_curves(layout: Layout, run: Run) -> str:
    """Return why the page has no curves of the model; nothing where it has some."""
    if run.curves:
        return ""
    if "settings" not in run.card.provenance:
        return "There are no curves: this model was not trained here."
    found = "belongs to another model" if layout.curves.exists() else "is missing"
    return (
        f"There are no curves of this model: {layout.curves} {found}. "
        f"`sgcp train {layout.dataset}` writes them."
    )


def describe_unfinished(layout: Layout, run: Run) -> str:
    """Return how far a later training run is; nothing where there is none."""
    if run.unfinished is None:
        return ""
    return (
        f"Unfinished run, epoch {run.unfinished.epoch} of {run.unfinished.epochs}: it has written "
        "no model yet, and nothing else on this page is of it. Where it is not in progress, "
        f"`sgcp train {layout.dataset}` resumes it, or begins anew if it diverged."
    )


def describe_speed(layout: Layout, run: Run) -> Speed:
    """Return the times of this model and the processor that they are of, or that there are none.

    Raises:
        SgcpError: ``speed.json`` lacks something.
    """
    again = f"sgcp benchmark {layout.dataset}"
    if run.speed is None:
        return Speed(f"There are no times of this model; `{again}` measures them.")
    try:
        table, here = speed_table(run.speed), describe_processor(run.speed["device"])
        if run.speed["processor"] == here:
            return table
        return replace(table, said=f"{table.said} This page was made on another: {here}.")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SgcpError(f"{layout.speed}: damaged ({error!r}); run `{again}` again") from None


def describe_making(layout: Layout) -> str:
    """Return by what, and where, the page was made.

    No time and no commit of other files: the same run by the same code is the same page.
    """
    commit = _git(layout.root, "log", "-1", "--format=%h", "--abbrev=12", "--", *CODE)
    changed = " with changes" if _git(layout.root, "status", "--porcelain", "--", *CODE) else ""
    at = f", code and settings of commit {commit}{changed}" if commit else ""
    return f"Made by sgcp {version('sgcp')}{at}, on {processor_name()}."


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints; nothing where there is no repository, or no git."""
    command = ["git", *arguments]
    try:
        result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return result.stdout.strip()


def find_links(layout: Layout) -> list[tuple[str, str]]:
    """Return what else there is of the run, and the way to it from the page's folder."""
    beside = {name: layout.scores.with_name(name) for name in
              ("per_class.csv", "confusion.csv", "per_image.csv")}  # fmt: skip
    files = {
        "scores": layout.scores,
        **beside,
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
