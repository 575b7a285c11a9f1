"""Commands that inspect data, compare scores, time networks and check submissions."""

from pathlib import Path
from typing import Annotated

import typer

from sgcp.cli import options
from sgcp.cli.project import open_project, override, project_here
from sgcp.core.layout import DatasetName

app, command = options.commands("Inspect, compare, check")


@command(
    "sgcp compare before.json after.json",
    "sgcp compare HEAD:metrics/camvid/validate.json metrics/camvid/validate.json",
)
def compare(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Files that `sgcp validate` wrote, or REV:PATH in git."
        ),
    ],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Show incomparable results too, marked as such.")
    ] = False,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Show scores side by side; refuse results of different protocols, splits or data."""
    from sgcp.tools.compare import compare as tool

    options.refuse_input(json, files)
    options.write_result(json, tool(files, anyway))


@command(
    "sgcp check-submission test_result.zip",
    "sgcp check-submission results/ --images /data/cityscapes/leftImg8bit/test",
    "sgcp check-submission test_result.zip --json findings.json",
)
def check_submission(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A zip or a folder.")],
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Cityscapes' leftImg8bit/test, for image names and sizes."
        ),
    ] = None,
    dataset: Annotated[
        DatasetName | None,
        typer.Option(help="Prepared dataset of this project, for image names and sizes."),
    ] = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Check any submission for the Cityscapes server; exit code 1 if it has a problem.

    Image names and sizes come from --images, from a dataset that this project has prepared, or
    from the published list of the test split.
    """
    if images is not None and dataset is not None:
        raise typer.BadParameter("--images and --dataset: mutually exclusive. Give one of them")
    project = project_here()
    if dataset is not None and project is None:
        open_project(dataset)  # raises
    from sgcp.tools.check_submission import check_submission as tool

    options.refuse_input(json, [file])
    report = tool(file, images, project, dataset)
    options.write_result(json, report)
    if not report["passed"]:
        raise typer.Exit(1)


@command("sgcp browse camvid", "sgcp browse cityscapes --split val --images 20 --blend 0.5")
def browse(
    dataset: options.Dataset = None,
    images: Annotated[int, typer.Option(metavar="N", min=1, help="Images to show per split.")] = 6,
    split: Annotated[
        options.Split | None, typer.Option(help="Show only this split; every split is checked.")
    ] = None,
    blend: Annotated[
        float, typer.Option(metavar="X", help="Opacity of the class colours, 0 to 1.")
    ] = 1.0,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Inspect prepared data: a contact sheet, statistics and what looks wrong."""
    _, _, layout = open_project(dataset)
    from sgcp.tools.browse import browse as tool

    options.write_result(json, tool(layout, images, split, blend))


@command(
    "sgcp benchmark camvid",
    "sgcp benchmark camvid --size 768 1536 --out speed-768.json",
    "sgcp benchmark camvid --with yolo26n-sem",
)
def benchmark(
    dataset: options.Dataset = None,
    device: Annotated[
        options.DeviceName | None,
        typer.Option(help="Instead of params.yaml's machine.accelerator."),
    ] = None,
    size: Annotated[
        options.Size | None,
        typer.Option(metavar="H W", help="Height and width in pixels, instead of params.yaml's."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Images to time, instead of the dataset's.")
    ] = None,
    networks: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NETWORK",
            help="Another network to time: package.module:function, or yolo26n-sem if "
            "ultralytics is installed; repeat for several.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        options.output_option(
            metavar="FILE.json",
            help="Output file; by default metrics/DATASET/speed.json, or none with options.",
        ),
    ] = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Time every engine, the authors' way and other networks in turn on this machine."""
    params, section, layout = open_project(dataset, "benchmark")
    from sgcp.models import trust
    from sgcp.tools.benchmark import benchmark as tool

    machine = override(params.machine, accelerator=device)
    settings = override(section.benchmark, size=size)
    for network in networks or ():
        trust(network)
    by_hand = bool(device or size or images or networks)
    content = tool(layout, settings, machine, images, out, by_hand, networks or ())
    options.write_result(json, content)
