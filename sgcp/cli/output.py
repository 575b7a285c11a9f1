"""What all commands do alike with their output: ``--quiet``, and ``--json`` for a result.

Modules of the package are imported when a command runs: ``sgcp --help`` is quick.
"""

import codecs
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from sgcp.core.errors import SgcpError

STANDARD_OUTPUT = "-"
OUTPUT = "Output"
SEEN = 64  # bytes, by which JSON is told


def choose_quiet(wanted: bool) -> None:
    """Say less from here on, if wanted."""
    if wanted:
        from sgcp.core.terminal import output

        output.set(quiet=True, document=output.document)


def choose_document(file: str | None) -> str | None:
    """Keep standard output for the document, if it goes there; return the option's value.

    Raises:
        SgcpError: a file of that name is no JSON, such as an image: it would be lost.
    """
    if file == STANDARD_OUTPUT:
        from sgcp.core.terminal import output

        output.set(quiet=output.quiet, document=True)
    elif file is not None and Path(file).is_file():
        with Path(file).open("rb") as before:
            begin = before.read(SEEN).lstrip()[:1]
        if begin not in (b"", b"{", b"["):
            raise SgcpError(f"--json {file}: exists and is no JSON; name another file")
    return file


QUIET_HELP = "Print results, warnings and errors only."
JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE|-",
        callback=choose_document,
        help="Write the result as JSON too; with -, print it and nothing else.",
        rich_help_panel=OUTPUT,
    ),
]


def _shared_parameters() -> list[Any]:
    """Return parameters that every command takes, made as Typer makes them of a function."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def _command(
        quiet: Annotated[
            bool,
            typer.Option(
                "--quiet", "-q", callback=choose_quiet, expose_value=False, help=QUIET_HELP
            ),
        ] = False,
    ) -> None: ...

    return list(get_command(app).params)


SHARED_PARAMETERS = _shared_parameters()


def refuse_input(file: str | None, inputs: Sequence[str | Path]) -> None:
    """Refuse to write the result over what it is made from.

    Raises:
        SgcpError: ``--json`` names an input.
    """
    if file not in (None, STANDARD_OUTPUT):
        for path in inputs:
            if Path(file).resolve() == Path(path).resolve():
                raise SgcpError(f"--json {file}: is an input itself; name another file")


def hand_over(file: str | None, content: Any) -> None:
    """Write a result as JSON to a file, or to standard output, if that is wanted.

    Raises:
        SgcpError: the file cannot be written.
    """
    if file is None:
        return
    from sgcp.core.files import to_json, write_text
    from sgcp.core.terminal import output, say

    if file != STANDARD_OUTPUT:
        write_text(Path(file), to_json(content))
        say(f"{file}: the result as JSON")
        return
    # JSON is UTF-8; in any other encoding, only its ASCII is the same bytes.
    ascii_only = codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8"
    try:
        typer.echo(to_json(content, ascii_only), nl=False)
    except BrokenPipeError:
        output.console.on_broken_pipe()
