"""Stage ``report``: everything about a run -> one page that opens from disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.core.errors import SgcpError
from sgcp.core.files import building_folder, write_text
from sgcp.core.terminal import say, track
from sgcp.datasets.index import read_dataset, score_needs
from sgcp.datasets.stale import refuse_stale
from sgcp.inference.segmenter import load_segmenter
from sgcp.inference.tta import InferenceOptions
from sgcp.metrics.results import find_differences, read_metrics
from sgcp.metrics.scorer import Scorer
from sgcp.reporting.page import file_size, percent
from sgcp.reporting.run import Run, choose_images, read_run
from sgcp.reporting.run_charts import class_chart, confusion_chart, curve_chart
from sgcp.reporting.run_page import RunPage, Shown
from sgcp.reporting.run_text import (
    Earlier,
    describe_curves,
    describe_data,
    describe_making,
    describe_origin,
    describe_recipe,
    describe_scoring,
    describe_speed,
    describe_unfinished,
    find_links,
    make_headline,
    make_warnings,
)

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Dataset
    from sgcp.inference.segmenter import Segmenter
    from sgcp.settings import MachineSettings, ReportSettings

PAGE = "report.html"


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
    dataset = read_dataset(layout.prepared)
    scorable = any(item.label for item in dataset.items if item.split != "train")
    if not scorable and not layout.scores.is_file():
        raise SgcpError(f"{layout.scores}: not found. {score_needs(dataset.name)}")
    run = read_run(layout)
    earlier = read_earlier(layout, run, settings, against)
    page = RunPage(
        title=f"{layout.dataset}: {percent(run.scores['miou'])} % mIoU",
        subtitle=describe_data(run),
        headline=make_headline(run, earlier),
        warnings=make_warnings(run, earlier),
        recipe=describe_recipe(run),
        scoring=describe_scoring(run),
        origin=describe_origin(run),
        curves=[curve_chart(name, table) for name, table in run.curves.items()],
        no_curves=describe_curves(layout, run),
        unfinished=describe_unfinished(layout, run),
        unfinished_curves=[
            curve_chart(name, table)
            for name, table in (run.unfinished.curves if run.unfinished else {}).items()
        ],
        classes=class_chart(
            run.classes,
            earlier.scores["iou"] if earlier else None,
            compares=earlier is not None and not earlier.differences,
        ),
        confusion=confusion_chart(run.confusion),
        images=label_images(layout, dataset, run, machine, settings.images),
        speed=describe_speed(layout, run),
        links=find_links(layout),
        made=describe_making(layout),
    )
    with building_folder(layout.report, key="report") as folder:
        write_text(folder / PAGE, page.to_html(dataset.classes))
        layout.snapshot.check()
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


def label_images(
    layout: Layout, dataset: Dataset, run: Run, machine: MachineSettings, count: int
) -> list[Shown]:
    """Label the best, median and worst images again, as ``validate`` did.

    Raises:
        SgcpError: ``per_image.csv`` names an image that the split does not have, or as ``Scorer``.
    """
    scores = run.scores
    items = {item.key: item for item in dataset.split(scores["split"])}
    chosen = choose_images(run.images, count)
    if strange := [row["image"] for _, row in chosen if row["image"] not in items]:
        raise SgcpError(
            f"per_image.csv: '{strange[0]}' is no image of '{scores['split']}'; "
            f"run `sgcp validate {layout.dataset}` again"
        )
    refuse_stale(layout, dataset, [items[row["image"]] for _, row in chosen])
    model = load_segmenter(run.weights, machine, scores["precision"])
    window = tuple(scores["window"]) if scores["window"] else None
    views = InferenceOptions(scores["flip"], tuple(scores["scales"]), window)
    scorer = Scorer(layout, dataset, model, size_setting(dataset, model, scores), views)
    shown = []
    for place, row in track(chosen, "labelling", len(chosen)):
        scored = scorer.score(items[row["image"]])
        truth = scored.truth.train_ids[scored.truth.segments]
        shown.append(
            Shown(place, row["image"], row["miou"], row["pixel_accuracy"], scored.image, truth,
                  scored.prediction)
        )  # fmt: skip
    return shown


def size_setting(
    dataset: Dataset, model: Segmenter, scores: dict[str, Any]
) -> tuple[int, int] | None:
    """Return the (height, width) that ``validate`` was told, or None: as the model was trained.

    The scores tell the size at which the first image was seen. Where that is the model's own
    choice, the others were seen at the model's choice too.
    """
    height, width = scores["input_size"]
    first = dataset.split(scores["split"])[0]
    own = model.card.input_size(first.height, first.width)
    return None if (height, width) == tuple(own) else (height, width)
