"""The ``sgcp`` command: parse, call one stage, turn errors into exit codes.

Stages import torch and friends, so each is imported inside its command: ``sgcp --help`` is quick.
"""

import os
import sys
from typing import Annotated

import typer

from sgcp.cli import images, models, pipeline, scores
from sgcp.cli.help import TeachingGroup
from sgcp.cli.output import QUIET_HELP


def show_version(wanted: bool) -> None:
    """Print the version and end, if wanted."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"sgcp {version('sgcp')}")
        raise typer.Exit


app = typer.Typer(
    cls=TeachingGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # sections instead of boxes: sgcp/cli/help.py
    help="Real-time semantic segmentation with SGCPNet: from raw archives to a checked zip.",
)
app.add_typer(pipeline.app)
app.add_typer(images.app)
app.add_typer(scores.app)
app.add_typer(models.app)


@app.callback()
def sgcp(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET_HELP)] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Choose how the command that follows speaks."""
    from sgcp.core.terminal import output

    output.set(quiet=quiet)


def main() -> None:
    """Run the command line, restarted in UTF-8 mode where the locale lacks most file names."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ |= {"PYTHONUTF8": "1", "PYTHONIOENCODING": getattr(sys.stdout, "encoding", "")}
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    app()
