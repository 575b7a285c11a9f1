"""Commands that set up a project and check an installation."""

from pathlib import Path
from typing import Annotated

import typer

from sgcp.cli import options

app, command = options.commands("Start")


@command("sgcp init streets", "sgcp init mine --custom /data/mine")
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="New or empty folder, or one in a git repository.")
    ] = Path(),
    custom: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Set the project up for this folder of images and label maps: read them, write "
            "its classes.csv unless it has one, and propose settings.",
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Write a project: settings, stages, .gitignore, DVC's files; existing files are kept."""
    from sgcp.tools.init import init as tool

    tool(folder, custom)


@command(
    "sgcp import-labels exports/cvat --out mine --unlabelled background --val 0.1",
    "sgcp import-labels exports/cvat exports/coco --out both",
    "sgcp import-labels datasets/mapillary --out streets --map mapillary-cityscapes",
)
def import_labels(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="EXPORT...",
            help="Folder of an export, with its images, or of a street dataset; several are joined "
            "into one dataset, a folder each.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the dataset.")],
    forms: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="FORM",
            help="coco, cvat, label-studio, labelme, roboflow, voc, yolo; bdd100k, mapillary, "
            "mapillary-1.1, kitti, idd, a2d2, acdc, cityscapes, cityscapes-coarse; of several "
            "exports, one for all or one for each.",
            show_default="what the folder looks like",
        ),
    ] = None,
    unlabelled: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS", help="Make what no object covers this class.", show_default="ignored"
        ),
    ] = None,
    val: Annotated[
        float,
        typer.Option(
            metavar="X", help="Share of the images for validation, if the export has no splits."
        ),
    ] = 0.2,
    class_maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="NAME|FILE",
            help="Class map (CSV `from,to`) that renames and joins classes: mapillary-cityscapes, "
            "idd-cityscapes, a2d2-cityscapes, cityscapes-camvid or your own. Of several exports, "
            "repeat it for each, - for none.",
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Make images, label maps and classes.csv of an export of a labelling tool, or of a dataset.

    The result is a folder for `sgcp init --custom`. Later objects lie over earlier ones; in CVAT,
    higher ones over lower ones.
    """
    from sgcp.tools.import_labels import import_labels as tool

    tool(sources, out, forms or (), unlabelled, val, class_maps or ())


@command("sgcp doctor", "sgcp doctor --json report.json")
def doctor(json: options.Json = None, quiet: options.Quiet = False) -> None:
    """Check installation, machine, engines and project: what a bug report should contain.

    Exit code 1 if no image can be segmented; other problems are listed with their fixes.
    """
    from sgcp.tools.doctor import doctor as tool

    report = tool()
    options.write_result(json, report)
    if not report["able"]:
        raise typer.Exit(1)
