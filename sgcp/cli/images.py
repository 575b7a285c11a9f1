"""Commands for the user's own images and videos; they need no project."""

from pathlib import Path
from typing import Annotated

import typer

from sgcp.cli.options import (
    IMAGES,
    INFERENCE,
    OUTPUT,
    DeviceOption,
    FlipOption,
    JsonOption,
    ModelOption,
    QuietOption,
    ScaleOption,
    WindowOption,
    complete_models,
    examples,
    refuse_input,
    write_result,
)
from sgcp.cli.project import project_here

app = typer.Typer()
SERVER = "Server"


@app.command(
    rich_help_panel=IMAGES,
    epilog=examples(
        "sgcp segment street.jpg",
        "sgcp segment street.jpg holiday/ drive.mp4 --flip --out averaged",
        "sgcp segment 'holiday/**/*.jpg' --no-labels --colors --alpha 0.3",
    ),
)
def segment(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Images, videos, folders, 'patterns/**/*.jpg', or - for standard input.",
        ),
    ],
    model: ModelOption = "camvid",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Output folder.", rich_help_panel=OUTPUT)
    ] = Path("segmented"),
    labels: Annotated[
        bool | None,
        typer.Option(
            help="Write class indices: NAME_labels.png, of videos NAME_labels.mkv.",
            show_default="of images",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    colors: Annotated[
        bool, typer.Option(help="Write NAME_colors, .png or .mp4.", rich_help_panel=OUTPUT)
    ] = False,
    overlay: Annotated[
        bool,
        typer.Option(help="Write NAME_overlay: colours over the image.", rich_help_panel=OUTPUT),
    ] = True,
    alpha: Annotated[
        float,
        typer.Option(
            metavar="X", help="Opacity of the overlay's colours, 0 to 1.", rich_help_panel=OUTPUT
        ),
    ] = 0.5,
    input_size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="H W",
            help="Height and width in pixels of the network's input; by default as trained.",
            rich_help_panel=INFERENCE,
        ),
    ] = None,
    flip: FlipOption = False,
    scale: ScaleOption = None,
    window: WindowOption = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Overwrite existing files; by default finished ones are skipped.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    device: DeviceOption = "auto",
    json: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Segment images and videos with bundled or your own weights; works offline, in any folder."""
    from sgcp.inference.tta import InferenceOptions
    from sgcp.tools.segment import Outputs
    from sgcp.tools.segment import segment as tool

    refuse_input(json, paths)
    outputs = Outputs(labels, colors, overlay, alpha)
    options = InferenceOptions(flip, tuple(scale or [1.0]), window)
    summary = tool(paths, model, out, outputs, input_size, options, force, device)
    write_result(json, summary)
    if summary["left_out"]:
        raise typer.Exit(1)


@app.command(
    rich_help_panel=IMAGES,
    epilog=examples(
        "sgcp demo --open", "sgcp demo --model street.onnx --port 8000 --max-seconds 30"
    ),
)
def demo(
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            autocompletion=complete_models,
            help="Folder, .safetensors or exported model to offer too; repeat for several.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on; any but localhost admits other machines.",
            rich_help_panel=SERVER,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", help="Port; 0 takes a free one.", rich_help_panel=SERVER)
    ] = 7860,
    max_megabytes: Annotated[
        int, typer.Option(metavar="N", help="Largest file accepted.", rich_help_panel=SERVER)
    ] = 200,
    max_seconds: Annotated[
        float, typer.Option(metavar="S", help="Longest video accepted.", rich_help_panel=SERVER)
    ] = 120,
    device: DeviceOption = "auto",
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Serve a local page that segments images and videos dropped on it; works offline.

    Offers the bundled weights and those in data/models of the project in the current folder.
    """
    from sgcp.tools.demo import Options
    from sgcp.tools.demo import demo as tool

    options = Options(host, port, max_megabytes, max_seconds, open_browser)
    tool(model or [], project_here(), device, options)
