"""Commands for images of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from sgcp.cli import completion
from sgcp.cli.help import CommandTable
from sgcp.cli.output import OUTPUT, JsonOption, hand_over, refuse_input
from sgcp.cli.project import (
    IMAGES,
    LOOK,
    DeviceOption,
    FlipOption,
    ScaleOption,
    WindowOption,
    place,
)
from sgcp.core.errors import SgcpError

app = CommandTable(IMAGES)
LIMITS = "Where the page is, and what it takes"


@app.command()
def segment(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Images, videos, folders, 'patterns/**/*.jpg', or - for standard input.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            autocompletion=completion.models,
            help="Bundled name, folder (./camvid, not camvid), .safetensors, or what `sgcp "
            "export` wrote.",
        ),
    ] = "camvid",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where to write.", rich_help_panel=OUTPUT)
    ] = Path("segmented"),
    labels: Annotated[
        bool | None,
        typer.Option(
            help="Write NAME_labels.png, of videos NAME_labels.mkv: class indices.",
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
        typer.Option(
            "--force",
            help="Overwrite existing files; without it, finished ones are skipped.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    device: DeviceOption = "auto",
    json: JsonOption = None,
) -> None:
    """Label images and videos with bundled or your own weights; offline, in any folder.

    Example: sgcp segment street.jpg

    Example: sgcp segment street.jpg holiday/ drive.mp4 --flip --out averaged

    Example: sgcp segment 'holiday/**/*.jpg' --no-labels --colors --alpha 0.3
    """
    from sgcp.tools.segment import Look, Wanted
    from sgcp.tools.segment import segment as stage

    refuse_input(json, paths)
    wanted = Wanted(labels, colors, overlay, alpha)
    look = Look.checked(input_size, flip, scale or [1.0], window)
    summary = stage(paths, model, out, wanted, look, force, device)
    hand_over(json, summary)
    if summary["left_out"]:
        raise typer.Exit(1)


@app.command()
def demo(
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            autocompletion=completion.models,
            help="Folder, .safetensors or exported model to be on offer too; again for several.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on; any other lets other machines in.",
            rich_help_panel=LIMITS,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", help="0: any that is free.", rich_help_panel=LIMITS)
    ] = 7860,
    max_megabytes: Annotated[
        int, typer.Option(metavar="N", help="Of a file that is dropped.", rich_help_panel=LIMITS)
    ] = 200,
    max_seconds: Annotated[
        float, typer.Option(metavar="S", help="Of a video that is dropped.", rich_help_panel=LIMITS)
    ] = 120,
    device: DeviceOption = "auto",
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Serve a page on this machine that labels images and videos dropped on it; works offline.

    Bundled weights are on offer, and those in data/models of the project one stands in.

    Example: sgcp demo --open

    Example: sgcp demo --model street.onnx --port 8000 --max-seconds 30
    """
    from sgcp.settings.load import find_project
    from sgcp.tools.demo import Options
    from sgcp.tools.demo import demo as stage

    try:
        project = place(find_project(Path.cwd()))
    except SgcpError:
        project = None
    options = Options(host, port, max_megabytes, max_seconds, open_browser)
    stage(model or [], project, device, options)
