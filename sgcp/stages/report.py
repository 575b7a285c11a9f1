"""Stage ``report``: everything about a run -> one page that opens from disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.datasets.index import read_dataset
from sgcp.errors import SgcpError
from sgcp.files import building_folder, write_text
from sgcp.inference.engines.processor import processor_name
from sgcp.inference.views import Views
from sgcp.progress import say, track
from sgcp.reporting.numbers import file_size, percent, points
from sgcp.reporting.run_charts import class_chart, confusion_chart, curve_chart
from sgcp.reporting.run_page import Facts, RunPage, Shown, Speed, flatten, speed_table
from sgcp.stages.compare import find_differences, read_metrics
from sgcp.stages.model import load_segmenter
from sgcp.stages.run_files import LOOK, Run, choose_pictures, read_run
from sgcp.stages.scorer import Scorer
from sgcp.stages.scores import MEANS

if TYPE_CHECKING:
    from sgcp.datasets.index import Dataset
    from sgcp.settings import MachineSettings, ReportSettings
    from sgcp.stages.layout import Layout

PAGE = "report.html"
DATA = ("split", "images", "scored_size", "split_fingerprint")


@dataclass(frozen=True)
class Earlier:
    """A run to compare with."""

    source: str
    scores: dict[str, Any]
    differences: Sequence[str]
    """What keeps its numbers from comparing; none where they do."""


def report(
    layout: Layout,
    settings: ReportSettings,
    machine: MachineSettings,
    against: str | None = None,
) -> None:
    """Write ``layout.report``: a page of scores, curves, failures and provenance.

    Args:
        against: an earlier run's metrics file, or ``REV:PATH``, as seen from the working folder;
            None: as ``settings.against``, seen from the project's.

    Raises:
        SgcpError: a file of the run is missing or of another run, or there is no such earlier one.
    """
    run = read_run(layout)
    earlier = read_earlier(layout, run, settings, against)
    dataset = read_dataset(layout.prepared)
    page = RunPage(
        title=f"{layout.dataset}: {percent(run.scores['miou'])} % mIoU",
        subtitle=describe_data(run),
        headline=make_headline(run, earlier),
        warnings=make_warnings(run, earlier),
        recipe=describe_recipe(run),
        scoring=Facts(
            "Scoring", flatten({k: run.scores[k] for k in (*DATA, *LOOK) if k != "model"})
        ),
        origin=describe_origin(run),
        curves=[curve_chart(name, table) for name, table in run.curves.items()],
        classes=class_chart(
            run.classes,
            earlier.scores["iou"] if earlier else None,
            compares=earlier is not None and not earlier.differences,
        ),
        confusion=confusion_chart(run.confusion),
        pictures=label_pictures(layout, dataset, run, machine, settings.pictures),
        speed=describe_speed(layout, run),
        links=find_links(layout),
        made=describe_making(layout),
    )
    with building_folder(layout.report, key="report") as folder:
        write_text(folder / PAGE, page.to_html(dataset.classes))
    size = (layout.report / PAGE).stat().st_size
    say(f"{layout.report / PAGE}: {file_size(size)}, opens in any browser")


def read_earlier(
    layout: Layout, run: Run, settings: ReportSettings, against: str | None
) -> Earlier | None:
    """Read the run to compare with, if one is asked for.

    Raises:
        SgcpError: it cannot be read.
    """
    source = against or settings.against
    if source is None:
        return None
    folder = Path() if against else layout.root
    try:
        scores = read_metrics(source, folder)
    except SgcpError as error:
        raise SgcpError(f"{'--against' if against else 'report.against'}: {error}") from None
    differences = find_differences(["this run", source], [run.scores, scores])
    return Earlier(source, scores, differences)


def label_pictures(
    layout: Layout, dataset: Dataset, run: Run, machine: MachineSettings, count: int
) -> list[Shown]:
    """Label the best, median and worst pictures again, as ``validate`` did.

    Raises:
        SgcpError: ``per_image.csv`` names a picture that the split does not have, or as ``Scorer``.
    """
    scores = run.scores
    items = {item.stem: item for item in dataset.split(scores["split"])}
    chosen = choose_pictures(run.pictures, count)
    if strange := [row["stem"] for _, row in chosen if row["stem"] not in items]:
        raise SgcpError(
            f"per_image.csv: '{strange[0]}' is no picture of '{scores['split']}'; "
            f"run `sgcp validate {layout.dataset}` again"
        )
    model = load_segmenter(layout.model, machine, scores["precision"])
    window = tuple(scores["window"]) if scores["window"] else None
    views = Views(scores["flip"], tuple(scores["scales"]), window)
    scorer = Scorer(layout, dataset, model, tuple(scores["input_size"]), views)
    shown = []
    for place, row in track(chosen, "labelling", len(chosen)):
        scored = scorer.score(items[row["stem"]])
        truth = scored.truth.train_ids[scored.truth.segments]
        shown.append(
            Shown(place, row["stem"], row["miou"], row["pixel_accuracy"], scored.image, truth,
                  scored.prediction)
        )  # fmt: skip
    return shown


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
        f"{scores['edition']} edition, protocol {scores['protocol']}, {scores['images']} pictures "
        f"of '{scores['split']}'; SGCPNet with encoder {model.encoder}, {trained}, learnt from "
        f"{len(model.trained_on):,} pictures"
    )


def describe_recipe(run: Run) -> Facts:
    """Return the settings that the model was trained by."""
    settings = run.card.provenance.get("settings")
    rows = flatten(settings) if isinstance(settings, dict) else []
    note = "Not known: the model was not trained here but imported."
    return Facts("Recipe", rows, note)


def describe_origin(run: Run) -> Facts:
    """Return where the model comes from."""
    card = run.card
    rows = flatten({k: v for k, v in card.provenance.items() if k != "settings"})
    rows += [
        ("pictures learnt from", len(card.trained_on)),
        ("trained on dataset", f"{card.dataset}, {card.edition}, {card.protocol}"),
        ("file of weights", file_size(run.weights.stat().st_size)),
    ]
    return Facts("Provenance", rows)


def describe_speed(layout: Layout, run: Run) -> Speed:
    """Return what was timed, or that nothing was.

    Raises:
        SgcpError: ``speed.json`` lacks something.
    """
    again = f"sgcp benchmark {layout.dataset}"
    if run.speed is None:
        return Speed(f"Nothing was timed yet; `{again}` does.")
    try:
        return speed_table(run.speed)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SgcpError(f"{layout.speed}: damaged ({error!r}); run `{again}` again") from None


def describe_making(layout: Layout) -> str:
    """Return by what, where and when the page was made."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=layout.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    commit = described.stdout.strip()
    at = f", commit {commit}" if commit else ""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"Made by sgcp {version('sgcp')}{at}, on {processor_name()}, {now}."


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
        "panels of pictures": layout.panels,
    }
    return [
        (name, Path(os.path.relpath(path, layout.report)).as_posix())
        for name, path in files.items()
        if path.exists()
    ]
