"""Commands that bring models in and out."""

from pathlib import Path
from typing import Annotated

import typer

from sgcp.cli import completion
from sgcp.cli.help import CommandTable
from sgcp.cli.project import MODELS, DatasetArgument, open_project
from sgcp.core.errors import SgcpError

app = CommandTable(MODELS)


@app.command()
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
    params, section, layout = open_project(dataset, "train", recipe=recipe)
    from sgcp.tools.bundle import bundle as stage

    stage(layout, recipe, section.train, params.machine)


@app.command()
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
    from sgcp.tools.import_checkpoint import import_checkpoint as stage

    if trained_size is not None and min(trained_size) < 1:
        raise SgcpError(f"--trained-size: height and width in pixels, got {trained_size}")

    stage(file, out, classes, trained_size)


@app.command()
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            autocompletion=completion.models,
            help="Bundled name, folder (./camvid, not camvid) or .safetensors.",
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
            metavar="H W", help="Height and width in pixels of the graph's only input; else any."
        ),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Give labels of the image's size, not scores.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="In 8-bit integers (.xml), and what that costs where it can be scored."
        ),
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Any folder of images, 16 or more, from which --int8 takes its ranges; else the "
            "prepared training images.",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="How many images --int8 takes its ranges from; 300 where not given.",
        ),
    ] = None,
) -> None:
    """Write a model for other programs; it is compared with PyTorch before it is written.

    Example: sgcp export camvid street.onnx

    Example: sgcp export camvid fixed.xml --size 720 960 --labels

    Example: sgcp export camvid street8.xml --int8 --calibrate photos
    """
    from sgcp.inference.export import ExportOptions
    from sgcp.tools.export import export as stage
    from sgcp.tools.export import model_dataset

    if images is not None and (not int8 or images < 1):
        raise SgcpError("--images: how many images --int8 takes its ranges from, 1 or more")
    if calibrate and not int8:
        raise SgcpError("--calibrate: gives the ranges of 8-bit integers; add --int8")
    calibration = None
    if int8:
        from sgcp.tools.calibration import Calibration, Prepared

        dataset, prepared, missing = model_dataset(model), None, ""
        try:
            _, section, layout = open_project(dataset)
            prepared = Prepared(layout, section.train.split, section.validate_)
        except SgcpError as error:  # no project, or none with this dataset
            missing = str(error)
        calibration = Calibration(images or 300, calibrate, prepared, missing)
    stage(model, out, ExportOptions(size, labels), calibration)
