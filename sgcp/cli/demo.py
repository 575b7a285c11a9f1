"""The command that serves a page."""

from pathlib import Path
from typing import Annotated

import typer

from sgcp.cli import completion
from sgcp.cli.help import CommandTable
from sgcp.cli.project import PICTURES, place
from sgcp.errors import SgcpError

app = CommandTable(PICTURES)
LIMITS = "Where the page is, and what it takes"


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
    device: Annotated[
        str,
        typer.Option(metavar="NAME", autocompletion=completion.devices, help="auto, cpu or cuda."),
    ] = "auto",
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Serve a page on this machine that labels pictures and videos dropped on it; works offline.

    Bundled weights are on offer, and those in data/models of the project one stands in.

    Example: sgcp demo --open

    Example: sgcp demo --model street.onnx --port 8000 --max-seconds 30
    """
    from sgcp.config import find_project
    from sgcp.stages.demo import Options
    from sgcp.stages.demo import demo as stage

    try:
        project = place(find_project(Path.cwd()))
    except SgcpError:
        project = None
    options = Options(host, port, max_megabytes, max_seconds, open_browser)
    stage(model or [], project, device, options)
