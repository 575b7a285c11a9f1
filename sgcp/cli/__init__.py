"""The ``sgcp`` command: parse, call one stage, turn errors into exit codes.

Stages import torch and friends, so each is imported inside its command: ``sgcp --help`` is quick.
"""

from collections.abc import Callable

import typer

from sgcp.cli import demo, pipeline, tools
from sgcp.failures import FriendlyGroup

app = typer.Typer(
    cls=FriendlyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Real-time semantic segmentation with SGCPNet: from raw archives to a checked zip.",
)
app.add_typer(pipeline.app)
app.add_typer(tools.app)
app.add_typer(demo.app)

main: Callable[[], None] = app
