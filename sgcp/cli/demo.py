"""The command that serves a page."""

from pathlib import Path
from typing import Annotated

import typer

from sgcp.cli.project import place
from sgcp.errors import SgcpError

app = typer.Typer()


@app.command()
def demo(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder, .safetensors or exported model to be on offer too; several in turn."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any other lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.")] = 7860,
    max_megabytes: Annotated[int, typer.Option(help="Of a file that is dropped.")] = 200,
    max_seconds: Annotated[float, typer.Option(help="Of a video that is dropped.")] = 120,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Serve a page on this machine that labels pictures and videos dropped on it; works offline.

    Bundled weights are on offer, and those in data/models of the project one stands in.

    Example: sgcp demo --model street.onnx --open
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
