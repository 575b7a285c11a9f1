"""Commands that import, export and bundle models."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sgcp.cli import options
from sgcp.cli.project import open_project
from sgcp.core.errors import SgcpError

app, command = options.commands("Models in and out")


@command(
    "sgcp import-checkpoint model_best.pth.tar data/models/cityscapes",
    "sgcp import-checkpoint camvid.pth.tar data/models/camvid \\",
    "    --classes camvid-authors",
)
def import_checkpoint(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The authors' .pth.tar.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    classes: Annotated[
        Literal["cityscapes", "camvid", "camvid-authors"] | None,
        typer.Option(help="Class order of the outputs; needed for 11 classes."),
    ] = None,
    trained_size: Annotated[
        options.Size | None,
        typer.Option(metavar="H W", help="Height and width in pixels of the training images."),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Convert a checkpoint of the SGCPNet authors into model.safetensors and model.json."""
    from sgcp.tools.import_checkpoint import import_checkpoint as tool

    if trained_size is not None and min(trained_size) < 1:
        raise SgcpError(f"--trained-size: expected height and width in pixels, got {trained_size}")
    tool(file, out, classes, trained_size)


@command(
    "sgcp export camvid street.onnx",
    "sgcp export camvid street-ir --format openvino",
    "sgcp export camvid street8.xml --int8 --calibrate photos",
)
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            autocompletion=options.complete_models,
            help="Bundled name, folder (./camvid, not camvid) or .safetensors.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="File: .onnx, .xml (OpenVINO IR) or .pt2 (torch.export); or a folder, which gets "
            "a README.md too.",
        ),
    ],
    form: Annotated[
        Literal["onnx", "openvino", "torch"] | None,
        typer.Option("--format", help="Format in a folder.", show_default="onnx"),
    ] = None,
    size: Annotated[
        options.Size | None,
        typer.Option(
            metavar="H W", help="Height and width in pixels of the input; by default any size."
        ),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Output labels at the image's size instead of scores.")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantize to 8 bits and measure the loss of accuracy.")
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of 16 or more images to calibrate --int8 with; by default the prepared "
            "training images.",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(metavar="N", help="Images to calibrate --int8 with, by default 300."),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Export a model for other programs; its output is compared with PyTorch before writing."""
    from sgcp.core.files import read_json
    from sgcp.tools.calibration import Calibration, Prepared
    from sgcp.tools.export import ExportOptions, model_dataset
    from sgcp.tools.export import export as tool

    if images is not None and (not int8 or images < 1):
        raise SgcpError("--images: needs --int8 and a number of images, 1 or more")
    if calibrate and not int8:
        raise SgcpError("--calibrate: needs --int8")
    scores = None
    try:
        _, section, layout = open_project(model_dataset(model))
        prepared: Prepared | str = layout, section
    except SgcpError as error:  # no project, or the dataset is unknown to it
        prepared = str(error)
    if int8 and not isinstance(prepared, str):
        prepared[1].train  # noqa: B018  # refuses a recipe that contradicts itself
    calibration = Calibration(images or 300, calibrate, prepared) if int8 else None
    if not isinstance(prepared, str) and prepared[0].scores.is_file():
        scores = read_json(prepared[0].scores, made_by="sgcp validate")
    tool(model, out, ExportOptions(size, labels, form), calibration, scores)


@command("sgcp bundle camvid")
def bundle(
    dataset: options.Dataset = None,
    recipe: Annotated[str, options.recipe_option(help="Recipe of params.yaml.")] = "robust",
    quiet: options.Quiet = False,
) -> None:
    """Train the weights that the package ships: a recipe on train and val, from a commit."""
    params, section, layout = open_project(dataset, "train", recipe=recipe)
    from sgcp.tools.bundle import bundle as tool

    tool(layout, recipe, section.train, params.machine)
