"""Commands that compare, check and look."""

from pathlib import Path
from typing import Annotated

import typer

from sgcp.cli import completion
from sgcp.cli.help import CommandTable
from sgcp.cli.output import JsonOption, hand_over, refuse_input
from sgcp.cli.project import SCORES, DatasetArgument, open_project, place
from sgcp.core.errors import SgcpError

app = CommandTable(SCORES)


@app.command()
def compare(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Metrics files of `sgcp validate`, or REV:PATH in git.",
            show_default=False,
        ),
    ],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Show numbers that do not compare, marked as such.")
    ] = False,
    json: JsonOption = None,
) -> None:
    """Put metrics files side by side; refuse those of different protocols, splits or data.

    Example: sgcp compare before.json after.json

    Example: sgcp compare HEAD:metrics/camvid/validate.json metrics/camvid/validate.json
    """
    from sgcp.tools.compare import compare as stage

    refuse_input(json, files)
    hand_over(json, stage(files, anyway))


@app.command()
def check_submission(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.zip", help="A zip, or a folder.", show_default=False),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Cityscapes' leftImg8bit/test: names and sizes to compare with."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            autocompletion=completion.datasets,
            help="A prepared dataset of this project to compare with.",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Check anybody's zip for the Cityscapes server; exit code 1 if it has a problem.

    Compared with --images, or with what this project has prepared (its whole cityscapes, or
    --dataset), or else with what is public of the test split.

    Example: sgcp check-submission test_result.zip

    Example: sgcp check-submission results/ --images /data/cityscapes/leftImg8bit/test

    Example: sgcp check-submission test_result.zip --json findings.json
    """
    from sgcp.settings import DATASET_NAMES
    from sgcp.settings.load import find_project

    if images is not None and dataset is not None:
        raise typer.BadParameter("--images and --dataset: compare with one of them")
    if dataset not in (None, *DATASET_NAMES):
        raise SgcpError(f"unknown dataset '{dataset}'; choose one of {', '.join(DATASET_NAMES)}")
    try:
        project = place(find_project(Path.cwd()))
    except SgcpError:
        if dataset is not None:
            raise
        project = None  # anybody's zip wants no project
    from sgcp.tools.check_submission import check_submission as stage

    refuse_input(json, [file])
    report = stage(file, images, project, dataset)
    hand_over(json, report)
    if not report["passed"]:
        raise typer.Exit(1)


@app.command()
def browse(
    dataset: DatasetArgument = None,
    images: Annotated[
        int, typer.Option(metavar="N", min=1, help="Images of each split to show.")
    ] = 6,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.splits,
            help="Show this split alone: train, val or test; all are checked.",
        ),
    ] = None,
    blend: Annotated[
        float,
        typer.Option(metavar="X", help="Share of the class colours over the image, 0 .. 1."),
    ] = 1.0,
    json: JsonOption = None,
) -> None:
    """Look at prepared data: a contact sheet, its numbers, and what looks wrong in it.

    Example: sgcp browse camvid

    Example: sgcp browse cityscapes --split val --images 20 --blend 0.5
    """
    _, _, layout = open_project(dataset)
    from sgcp.tools.browse import browse as stage

    hand_over(json, stage(layout, images, split, blend))
