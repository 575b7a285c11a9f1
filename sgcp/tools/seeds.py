"""``sgcp train --seeds N``: the same recipe from several seeds, its mean and its spread."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.table import Table

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_json, write_json
from sgcp.core.terminal import answer, say
from sgcp.datasets.index import read_dataset, refuse_overlap, score_needs, trained_digests
from sgcp.metrics.results import MEANS
from sgcp.stages.train import run_fingerprint, train
from sgcp.stages.validate import validate
from sgcp.training.initialization import read_initialization

if TYPE_CHECKING:
    from pathlib import Path

    from sgcp.core.layout import Layout
    from sgcp.settings import DatasetSettings, MachineSettings, TrainSettings, ValidateSettings


def train_seeds(
    layout: Layout, settings: DatasetSettings, machine: MachineSettings, count: int
) -> dict[str, Any]:
    """Train and score ``count`` seeds from ``train.seed`` up; write ``layout.seeds``.

    Each run goes below ``data/seeds`` and ``metrics/DATASET/seeds``; the stages' own outputs stay
    as they are. A seed that is finished, with the same settings, code and data, is not run again.

    Returns:
        What the summary holds.

    Raises:
        SgcpError: fewer than two seeds, several processes, or as ``train`` and ``validate``.
    """
    if count < 2:
        raise SgcpError("--seeds: two or more; one has no spread")
    machine = one_process(machine, "--seeds")
    dataset, before = read_dataset(layout.prepared), read_initialization(layout, settings.train)
    scored = dataset.split(settings.validate_.split, instead=score_needs(dataset.name))
    refuse_overlap(trained_digests(dataset.split(settings.train.split), before.trained_on), scored)
    seeds = [settings.train.seed + index for index in range(count)]
    results = []
    for seed in seeds:
        place = replace(layout, beside=f"seeds/{seed}")
        recipe = settings.train.model_copy(update={"seed": seed})
        run_seed(place, recipe, settings.validate_, machine)
        results.append(read_json(place.scores, made_by="sgcp train --seeds"))
    summary = summarize(seeds, results)
    write_json(layout.seeds, summary)
    answer(render_seeds(summary))
    return summary


def one_process(machine: MachineSettings, who: str) -> MachineSettings:
    """Return settings for one device: runs one after another share no group of processes.

    Raises:
        SgcpError: several processes are asked for.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1 or machine.num_nodes > 1 or machine.devices not in ("auto", 1):
        raise SgcpError(
            f"{who}: runs on one device, not under torchrun: set machine.devices to auto or 1 "
            "and machine.num_nodes to 1"
        )
    return machine.model_copy(update={"devices": 1})


def run_seed(
    layout: Layout, settings: TrainSettings, scoring: ValidateSettings, machine: MachineSettings
) -> None:
    """Train and score one seed, unless that is done."""
    begun_with = read_initialization(layout, settings).digests
    fingerprint = run_fingerprint(read_dataset(layout.prepared), settings, begun_with)
    done = {"run": fingerprint, "scoring": scoring.model_dump(mode="json")}
    mark = layout.model.parent / "finished.json"
    finished = is_finished(mark, done) and layout.scores.is_file()
    say(f"seed {settings.seed}: {'finished already' if finished else 'training'}")
    if not finished:
        mark.unlink(missing_ok=True)
        train(layout, settings, machine)
        validate(layout, scoring, machine)
        write_json(mark, done)


def is_finished(mark: Path, done: dict[str, Any]) -> bool:
    """Tell whether a run, known by all that it depends on, has left its mark."""
    try:
        return read_json(mark, made_by="") == done
    except SgcpError:
        return False


def summarize(seeds: Sequence[int], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation (of a sample, n - 1) of every number, and its values."""
    first = results[0]
    summary: dict[str, Any] = {"seeds": list(seeds)}
    for key, value in first.items():
        if key in MEANS:
            summary[key] = spread([result[key] for result in results])
        elif isinstance(value, dict) and key != "model":
            summary[key] = {
                name: spread([result[key][name] for result in results]) for name in value
            }
        elif key != "model":  # whose epoch may differ
            summary[key] = value
    return summary


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Return mean, deviation and values; null where a run has no number."""
    numbers = [value for value in values if value is not None]
    whole = len(numbers) == len(values)
    return {
        "mean": statistics.fmean(numbers) if whole else None,
        "std": statistics.stdev(numbers) if whole else None,
        "values": list(values),
    }


def render_seeds(summary: dict[str, Any]) -> Table:
    """Return mean and deviation for the terminal, in per cent."""
    seeds = ", ".join(map(str, summary["seeds"]))
    title = (
        f"{summary['dataset']} '{summary['split']}', protocol {summary['protocol']}, seeds {seeds}"
    )
    view = Table("", title=title, title_justify="left")
    for name in ("mean %", "std", "lowest", "highest"):
        view.add_column(name, justify="right", no_wrap=True)
    rows = {key: summary[key] for key in ("miou", "miiou", "pixel_accuracy") if key in summary}
    for name, row in (rows | summary["iou"]).items():
        shown = ["-"] * 4
        if row["mean"] is not None:
            values = (row["mean"], row["std"], min(row["values"]), max(row["values"]))
            shown = [f"{100 * value:.2f}" for value in values]
        view.add_row(MEANS.get(name, name), *shown)
        if name == [*rows][-1]:
            view.add_section()
    return view
