"""The ``sgcp`` command: parse arguments, call one stage or tool, turn errors into exit codes.

Commands import their stage when they run: ``sgcp --help`` loads no torch, numpy or pydantic.
"""

import os
import sys
from typing import Annotated

import typer

from sgcp.cli import images, models, pipeline, scores, start
from sgcp.cli.failures import FriendlyGroup
from sgcp.cli.options import Quiet, list_examples

app = typer.Typer(
    cls=FriendlyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Real-time semantic segmentation with SGCPNet: from raw archives to a checked zip.",
    epilog=list_examples(
        "sgcp segment street.jpg          segment an image with bundled weights",
        "sgcp init streets                a project in the new folder streets; in it:",
        "sgcp download sample             the whole pipeline on a small dataset",
        "sgcp prepare sample",
        "sgcp train sample",
        "sgcp validate sample",
        "sgcp predict sample",
        "sgcp package-submission sample",
        "sgcp train --help                each command has examples",
    ),
)
for commands in (start.app, pipeline.app, images.app, scores.app, models.app):
    app.add_typer(commands)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        from sgcp.core.extras import DISTRIBUTION

        typer.echo(f"sgcp {version(DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def sgcp(
    quiet: Quiet = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Reset the output settings of an earlier command in this process."""
    from sgcp.core.terminal import output

    output.set(quiet=quiet)


def main() -> None:
    """Run the command line, restarted in UTF-8 mode where the locale lacks most file names."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ |= {"PYTHONUTF8": "1", "PYTHONIOENCODING": getattr(sys.stdout, "encoding", "")}
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    app()
