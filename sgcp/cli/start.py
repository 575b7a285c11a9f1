"""Commands that set up a project."""

from pathlib import Path
from typing import Annotated

import typer

from sgcp.cli import options

app, command = options.commands("Start")


@command("sgcp init streets", "sgcp init mine --custom ~/photos/labelled")
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Empty folder or existing repository.")
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
