"""Commands beside the stage graph: they compare, check, look, import and export."""

from pathlib import Path
from typing import Annotated

import typer

from sgcp.cli.project import (
    DatasetArgument,
    FlipOption,
    ScaleOption,
    WindowOption,
    open_project,
    place,
)
from sgcp.errors import SgcpError

app = typer.Typer()


@app.command()
def compare(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Metrics files of `sgcp validate`, or REV:PATH in git."
        ),
    ],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Show numbers that do not compare, marked as such.")
    ] = False,
) -> None:
    """Put metrics files side by side; refuse those of different protocols, splits or data.

    Example: sgcp compare HEAD:metrics/camvid/validate.json metrics/camvid/validate.json
    """
    from sgcp.stages.compare import compare as stage

    stage(files, anyway)


@app.command()
def check_submission(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.zip", help="A zip, or a folder.", show_default=False),
    ],
    images: Annotated[
        Path | None,
        typer.Option(help="Cityscapes' leftImg8bit/test: names and sizes to compare with."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="A prepared dataset of this project to compare with.")
    ] = None,
    json: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Every finding for scripts; - prints no table."),
    ] = None,
) -> None:
    """Check anybody's zip for the Cityscapes server; exit code 1 if it has a problem.

    Compared with --images, or with what this project has prepared (its whole cityscapes, or
    --dataset), or else with what is public of the test split.

    Example: sgcp check-submission test_result.zip --images /data/cityscapes/leftImg8bit/test
    """
    from sgcp.config import find_project
    from sgcp.settings import DATASET_NAMES

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
    from sgcp.stages.check_submission import check_submission as stage

    if not stage(file, images, project, dataset, json):
        raise typer.Exit(1)


@app.command()
def browse(
    dataset: DatasetArgument = None,
    images: Annotated[int, typer.Option(min=1, help="Pictures of each split to show.")] = 6,
    split: Annotated[
        str | None, typer.Option(help="Only this split: train, val or test; else all.")
    ] = None,
    blend: Annotated[
        float,
        typer.Option(metavar="X", help="Share of the class colours over the picture, 0 .. 1."),
    ] = 1.0,
    json: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Every number for scripts; - prints no table."),
    ] = None,
) -> None:
    """Look at prepared data: a contact sheet, its numbers, and what looks wrong in it.

    Example: sgcp browse camvid
    """
    _, _, layout = open_project(dataset)
    from sgcp.stages.browse import browse as stage

    stage(layout, images, split, blend, json)


@app.command()
def segment(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Pictures, or folders of them.", show_default=False),
    ],
    model: Annotated[
        str, typer.Option(help="Bundled name, folder, .safetensors, or what `sgcp export` wrote.")
    ] = "camvid",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")] = Path("segmented"),
    labels: Annotated[bool, typer.Option(help="Write NAME_labels.png: class indices.")] = True,
    colors: Annotated[bool, typer.Option(help="Write NAME_colors.png: class colours.")] = False,
    overlay: Annotated[bool, typer.Option(help="Write NAME_overlay.png: both at once.")] = True,
    input_size: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="H W", help="Size that the network sees; else as it was trained."),
    ] = None,
    flip: FlipOption = False,
    scale: ScaleOption = None,
    window: WindowOption = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Label pictures with bundled or your own weights; works offline and in any folder.

    Example: sgcp segment street.jpg holiday/ --out segmented --flip
    """
    from sgcp.stages.segment import Look, Wanted
    from sgcp.stages.segment import segment as stage

    wanted = Wanted(labels, colors, overlay)
    look = Look.checked(input_size, flip, scale or [1.0], window)
    if not stage(paths, model, out, wanted, look, force, device):
        raise typer.Exit(1)


@app.command()
def bundle(
    dataset: DatasetArgument = None,
    recipe: Annotated[
        str, typer.Option(help="Which recipe; its score on val stands in metrics/DATASET.")
    ] = "strong",
) -> None:
    """Train the weights that the package carries: a recipe, on train and val, from a commit.

    Example: sgcp bundle camvid
    """
    params, section, layout = open_project(dataset)
    from sgcp.stages.bundle import bundle as stage

    section.select(recipe)
    stage(layout, recipe, section.train, params.machine)


@app.command()
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="The authors' .pth.tar.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder for our model files.", show_default=False)],
    classes: Annotated[
        str | None,
        typer.Option(help="cityscapes, camvid or camvid-authors: what the outputs stand for."),
    ] = None,
    trained_size: Annotated[
        tuple[int, int] | None, typer.Option(help="Height and width it was trained at.")
    ] = None,
) -> None:
    """Turn an authors' checkpoint into model.safetensors and model.json in the folder OUT.

    Example: sgcp import-checkpoint model_best.pth.tar data/models/cityscapes
    """
    from sgcp.stages.import_checkpoint import import_checkpoint as stage

    if trained_size is not None and min(trained_size) < 1:
        raise SgcpError(f"--trained-size: height and width in pixels, got {trained_size}")

    stage(file, out, classes, trained_size)


@app.command()
def export(
    model: Annotated[
        str, typer.Argument(help="Folder, .safetensors or bundled name.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help=".onnx, .xml (OpenVINO IR) or .pt2 (torch.export).", show_default=False
        ),
    ],
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="H W", help="Height and width of the only images; else any."),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Give labels of the image's size, not scores.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="In 8-bit integers (.xml), and what that costs in mIoU on prepared data."
        ),
    ] = False,
    images: Annotated[
        int | None,
        typer.Option(help="Training images from which --int8 takes its ranges; 300."),
    ] = None,
) -> None:
    """Write a model for other programs; it is compared with PyTorch before it is written.

    Example: sgcp export data/models/cityscapes street.onnx --labels
    """
    from sgcp.stages.export import ExportOptions, model_dataset
    from sgcp.stages.export import export as stage

    if images is not None and (not int8 or images < 1):
        raise SgcpError("--images: how many training images --int8 looks at, 1 or more")
    calibration = None
    if int8:
        from sgcp.stages.calibration import Calibration

        _, section, layout = open_project(model_dataset(model))
        calibration = Calibration(layout, section.train.split, section.validate_, images or 300)
    stage(model, out, ExportOptions(size, labels), calibration)
