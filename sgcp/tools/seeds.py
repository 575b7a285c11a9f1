"""``sgcp train --seeds N`` and ``--holdout DRIVE``: runs beside the stages' own outputs."""

import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.table import Table

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_json, to_json, write_json
from sgcp.core.layout import Layout
from sgcp.core.terminal import answer, percent, say
from sgcp.datasets.index import (
    HOLDOUT,
    learned_items,
    read_dataset,
    refuse_overlap,
    score_needs,
    scored_split,
    trained_digests,
)
from sgcp.metrics.results import MEANS
from sgcp.settings import DatasetSettings, MachineSettings, TrainSettings, ValidateSettings
from sgcp.stages.train import run_fingerprint, train
from sgcp.stages.validate import validate
from sgcp.training.initialization import read_initialization


def train_seeds(
    layout: Layout, settings: DatasetSettings, machine: MachineSettings, count: int
) -> dict[str, Any]:
    """Train and score ``count`` seeds from ``train.seed`` up; write and return the summary.

    Each run goes below ``data/seeds`` and ``metrics/DATASET/seeds``; the stages' own outputs are
    not touched. A finished seed with the same settings, code and data is not repeated.

    Raises:
        SgcpError: fewer than two seeds, several processes, or as ``train`` and ``validate``.
    """
    if count < 2:
        raise SgcpError("--seeds: two or more are needed for a standard deviation")
    machine = one_process(machine, "--seeds")
    first = settings.train.seed
    places = {seed: replace(layout, beside=f"seeds/{seed}") for seed in range(first, first + count)}
    dataset = read_dataset(layout.prepared)
    initial = read_initialization(places[first], settings.train)
    held_out = scored_split(settings.train) if settings.train.holdout else None
    split = held_out or settings.validate_.split
    scored = dataset.split(split, instead=score_needs(dataset.name))
    learned = learned_items(dataset, settings.train)
    refuse_overlap(trained_digests(learned, initial.trained_on), scored)
    results = {}
    for seed, place in places.items():
        recipe = settings.train.model_copy(update={"seed": seed})
        run_once(place, recipe, machine, settings.validate_)
        results[seed] = read_json(place.scores, made_by="sgcp train --seeds")
    summary = summarize(results)
    write_json(layout.seeds, summary)
    answer(render_seeds(summary))
    return summary


def train_holdout(
    layout: Layout, settings: DatasetSettings, machine: MachineSettings, name: str
) -> dict[str, Any]:
    """Train without the drive ``train.holdout`` and score it; return the metrics file.

    A finished run with the same settings, code and data is not repeated. Results are in
    ``data/holdout/DATASET/NAME/DRIVE`` and ``metrics/DATASET/holdout/NAME/DRIVE``.

    Raises:
        SgcpError: there is no such drive, several processes, or as ``train`` and ``validate``.
    """
    machine = one_process(machine, "--holdout")
    drive = str(settings.train.holdout)
    read_dataset(layout.prepared).split(f"{HOLDOUT}:{drive}")  # refuses one that does not exist
    place = replace(layout, beside=f"holdout/{name}/{drive}")
    run_once(place, settings.train, machine, settings.validate_)
    return read_json(place.scores, made_by="sgcp train --holdout")


def one_process(machine: MachineSettings, who: str) -> MachineSettings:
    """Return settings for one device: runs one after another cannot share a process group."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1 or machine.num_nodes > 1 or machine.devices not in ("auto", 1):
        raise SgcpError(
            f"{who}: runs on one device, not under torchrun. Set machine.devices to auto or 1 "
            "and machine.num_nodes to 1"
        )
    return machine.model_copy(update={"devices": 1})


def run_once(
    layout: Layout,
    settings: TrainSettings,
    machine: MachineSettings,
    scoring: ValidateSettings | None = None,
) -> None:
    """Train, and score if ``scoring``, unless a run with the same settings, code and data has."""
    dataset, initial = read_dataset(layout.prepared), read_initialization(layout, settings)
    done: dict[str, Any] = {"run": run_fingerprint(dataset, settings, initial)}
    if scoring:
        done["scoring"] = scoring.model_dump(mode="json")
    mark = layout.model.parent / "finished.json"
    scored = scoring is None or layout.scores.is_file()
    if scored and mark.is_file() and mark.read_text(encoding="utf-8") == to_json(done):
        say(f"seed {settings.seed}: finished already")
        return
    say(f"seed {settings.seed}: training")
    mark.unlink(missing_ok=True)
    train(layout, settings, machine)
    if scoring:
        validate(layout, scoring, machine)
    write_json(mark, done)


def summarize(results: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Return mean, standard deviation (of a sample, n - 1) and values of every number, by seed."""
    summary: dict[str, Any] = {"seeds": list(results)}
    runs = list(results.values())
    for key, value in runs[0].items():
        if key in MEANS or (isinstance(value, dict) and key != "model"):
            summary[key] = _combine([run[key] for run in runs])
        elif key not in ("model", "miou_interval"):  # of one run; its epoch may differ
            summary[key] = value
    return summary


def _combine(values: list[Any]) -> dict[str, Any]:
    """Return the statistics of numbers, or of every number of equal dictionaries of them."""
    if isinstance(values[0], dict):
        return {name: _combine([value[name] for value in values]) for name in values[0]}
    numbers = [value for value in values if value is not None]
    complete = len(numbers) == len(values)
    return {
        "mean": statistics.fmean(numbers) if complete else None,
        "std": statistics.stdev(numbers) if complete else None,
        "values": values,
    }


def render_seeds(summary: dict[str, Any]) -> Table:
    """Return mean and standard deviation for the terminal, in per cent."""
    what = f"{summary['dataset']} '{summary['split']}', protocol {summary['protocol']}"
    title = f"{what}, seeds {', '.join(map(str, summary['seeds']))}"
    view = Table("", title=title, title_justify="left")
    for name in ("mean %", "std", "lowest", "highest"):
        view.add_column(name, justify="right", no_wrap=True)
    means = {key: summary[key] for key in ("miou", "miiou", "pixel_accuracy") if key in summary}
    for rows in (means, summary["iou"]):
        for name, row in rows.items():
            values: Sequence[float | None] = row["values"] if row["mean"] is not None else [None]
            numbers = (row["mean"], row["std"], min(values), max(values))  # type: ignore[type-var]
            view.add_row(MEANS.get(name, name), *map(percent, numbers))
        view.add_section()
    return view
