"""Stage ``report``: the files of a run -> one page that opens from disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sgcp.core.errors import SgcpError
from sgcp.core.files import building_folder, write_text
from sgcp.core.layout import Layout
from sgcp.core.terminal import say
from sgcp.datasets.index import read_dataset, score_needs
from sgcp.metrics.results import find_differences, read_metrics
from sgcp.reporting.page import file_size
from sgcp.reporting.run import Earlier, read_examples, read_run
from sgcp.reporting.run_page import render_run

if TYPE_CHECKING:
    from sgcp.settings import ReportSettings

PAGE = "report.html"


def report(layout: Layout, settings: ReportSettings, against: Sequence[str] = ()) -> None:
    """Write ``layout.report``: a page of scores, curves, failures and provenance.

    Args:
        against: metrics files of earlier runs, or ``REV:PATH``, relative to the working folder;
            none: ``settings.against``, relative to the project's.

    Raises:
        SgcpError: a file of the run is missing or of another run, or there is no such earlier one.
    """
    dataset = read_dataset(layout.prepared)
    scorable = any(item.label for item in dataset.items if item.split != "train")
    if not scorable and not layout.scores.is_file():
        raise SgcpError(f"{layout.scores}: not found. {score_needs(dataset.name)}")
    run = read_run(layout)
    earlier = []
    for source in against or filter(None, [settings.against]):
        try:
            scores = read_metrics(source, Path() if against else layout.root)
        except SgcpError as error:
            raise SgcpError(f"{'--against' if against else 'report.against'}: {error}") from None
        differences = find_differences(["this run", source], [run.scores, scores])
        earlier.append(Earlier(source, scores, differences))
    examples = read_examples(dataset, run)
    with building_folder(layout.report, key="report") as folder:
        write_text(folder / PAGE, render_run(run, earlier, examples, dataset.classes))
        layout.snapshot.check()
    size = (layout.report / PAGE).stat().st_size
    say(f"{layout.report / PAGE}: {file_size(size)}, opens in any browser")
