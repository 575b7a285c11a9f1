"""Commands beside the stage graph: they compare, check, look, import and export."""

from pathlib import Path
from typing import Annotated

import typer

from sgcp.cli import completion
from sgcp.cli.help import CommandTable
from sgcp.cli.output import OUTPUT, JsonOption, hand_over, refuse_input
from sgcp.cli.project import (
    LOOK,
    MODELS,
    PICTURES,
    SCORES,
    DatasetArgument,
    FlipOption,
    ScaleOption,
    WindowOption,
    open_project,
    place,
)
from sgcp.errors import SgcpError

app = CommandTable()


@app.command(rich_help_panel=SCORES)
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
    from sgcp.stages.compare import compare as stage

    refuse_input(json, files)
    hand_over(json, stage(files, anyway))


@app.command(rich_help_panel=SCORES)
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

    refuse_input(json, [file])
    report = stage(file, images, project, dataset)
    hand_over(json, report)
    if not report["passed"]:
        raise typer.Exit(1)


@app.command(rich_help_panel=SCORES)
def browse(
    dataset: DatasetArgument = None,
    images: Annotated[
        int, typer.Option(metavar="N", min=1, help="Pictures of each split to show.")
    ] = 6,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.splits,
            help="Only this split: train, val or test; else all.",
        ),
    ] = None,
    blend: Annotated[
        float,
        typer.Option(metavar="X", help="Share of the class colours over the picture, 0 .. 1."),
    ] = 1.0,
    json: JsonOption = None,
) -> None:
    """Look at prepared data: a contact sheet, its numbers, and what looks wrong in it.

    Example: sgcp browse camvid

    Example: sgcp browse cityscapes --split val --images 20 --blend 0.5
    """
    _, _, layout = open_project(dataset)
    from sgcp.stages.browse import browse as stage

    hand_over(json, stage(layout, images, split, blend))


@app.command(rich_help_panel=PICTURES)
def segment(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Pictures, videos, folders, 'patterns/**/*.jpg', or - for standard input.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            autocompletion=completion.models,
            help="Bundled name, folder, .safetensors, or what `sgcp export` wrote.",
        ),
    ] = "camvid",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where to write.", rich_help_panel=OUTPUT)
    ] = Path("segmented"),
    labels: Annotated[
        bool | None,
        typer.Option(
            help="Write NAME_labels.png, of videos NAME_labels.mkv: class indices.",
            show_default="of pictures",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    colors: Annotated[
        bool, typer.Option(help="Write NAME_colors, .png or .mp4.", rich_help_panel=OUTPUT)
    ] = False,
    overlay: Annotated[
        bool,
        typer.Option(help="Write NAME_overlay: colours over the picture.", rich_help_panel=OUTPUT),
    ] = True,
    alpha: Annotated[
        float,
        typer.Option(
            metavar="X", help="Share of the colours in an overlay, 0 .. 1.", rich_help_panel=OUTPUT
        ),
    ] = 0.5,
    input_size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="H W",
            help="Height and width in pixels that the network sees; else as it was trained.",
            rich_help_panel=LOOK,
        ),
    ] = None,
    flip: FlipOption = False,
    scale: ScaleOption = None,
    window: WindowOption = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Write over files that are there.", rich_help_panel=OUTPUT),
    ] = False,
    device: Annotated[
        str,
        typer.Option(metavar="NAME", autocompletion=completion.devices, help="auto, cpu or cuda."),
    ] = "auto",
    json: JsonOption = None,
) -> None:
    """Label pictures and videos with bundled or your own weights; offline, in any folder.

    Example: sgcp segment street.jpg

    Example: sgcp segment street.jpg holiday/ drive.mp4 --flip --out segmented

    Example: sgcp segment 'holiday/**/*.jpg' --no-labels --colors --alpha 0.3
    """
    from sgcp.stages.segment import Look, Wanted
    from sgcp.stages.segment import segment as stage

    refuse_input(json, paths)
    wanted = Wanted(labels, colors, overlay, alpha)
    look = Look.checked(input_size, flip, scale or [1.0], window)
    summary = stage(paths, model, out, wanted, look, force, device)
    hand_over(json, summary)
    if summary["left_out"]:
        raise typer.Exit(1)


@app.command(rich_help_panel=MODELS)
def bundle(
    dataset: DatasetArgument = None,
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.recipes,
            help="Which recipe; its score on val stands in metrics/DATASET.",
        ),
    ] = "strong",
) -> None:
    """Train the weights that the package carries: a recipe, on train and val, from a commit.

    Example: sgcp bundle camvid
    """
    params, section, layout = open_project(dataset)
    from sgcp.stages.bundle import bundle as stage

    section.select(recipe)
    stage(layout, recipe, section.train, params.machine)


@app.command(rich_help_panel=MODELS)
def import_checkpoint(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The authors' .pth.tar.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for our model files.", show_default=False)
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.class_orders,
            help="cityscapes, camvid or camvid-authors: what the outputs stand for.",
        ),
    ] = None,
    trained_size: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="H W", help="Height and width in pixels that it was trained at."),
    ] = None,
) -> None:
    """Turn an authors' checkpoint into model.safetensors and model.json in the folder OUT.

    Example: sgcp import-checkpoint model_best.pth.tar data/models/cityscapes

    Example: sgcp import-checkpoint camvid.pth.tar data/models/camvid --classes camvid-authors
    """
    from sgcp.stages.import_checkpoint import import_checkpoint as stage

    if trained_size is not None and min(trained_size) < 1:
        raise SgcpError(f"--trained-size: height and width in pixels, got {trained_size}")

    stage(file, out, classes, trained_size)


@app.command(rich_help_panel=MODELS)
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            autocompletion=completion.models,
            help="Folder, .safetensors or bundled name.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="What to write: .onnx, .xml (OpenVINO IR) or .pt2 (torch.export).",
            show_default=False,
        ),
    ],
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="H W", help="Height and width in pixels of the only images; else any."
        ),
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
        typer.Option(
            metavar="N",
            help="Training images from which --int8 takes its ranges; 300 where not given.",
        ),
    ] = None,
) -> None:
    """Write a model for other programs; it is compared with PyTorch before it is written.

    Example: sgcp export camvid street.onnx --labels

    Example: sgcp export data/models/cityscapes street.xml --size 1024 2048 --int8
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
