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
