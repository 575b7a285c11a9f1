"""What commands share: parameters, their completion, the form of the help, JSON results."""

import codecs
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sgcp.core.errors import SgcpError
from sgcp.core.layout import DATASET_NAMES, DatasetName

STANDARD_OUTPUT = "-"
WEIGHTS = Path(__file__).parents[1] / "weights"

Split = Literal["train", "val", "test"]
DeviceName = Literal["auto", "cpu", "cuda"]
Size = tuple[int, int]

# Options below headings of their own in a command's help.
inference_option = partial(typer.Option, rich_help_panel="Inference")
output_option = partial(typer.Option, rich_help_panel="Output")


def commands(panel: str) -> tuple[typer.Typer, Callable[..., Any]]:
    """Return a panel of ``sgcp --help``, and a decorator that adds a command with examples."""
    app = typer.Typer()

    def command(*examples: str) -> Any:
        return app.command(rich_help_panel=panel, epilog=list_examples(*examples))

    return app, command


def list_examples(*commands: str) -> str:
    """Return an epilog of commands to copy."""
    return "\n".join(["[bold]Examples[/bold]", *commands])


def complete_models() -> list[str]:
    """Return the names of the bundled models; the shell completes paths itself."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def complete_recipes() -> list[str]:
    """Return the recipes in the nearest ``params.yaml``; none if it cannot be read."""
    from sgcp.core.files import read_yaml

    here = Path.cwd()
    try:
        file = next(f for f in (p / "params.yaml" for p in (here, *here.parents)) if f.is_file())
        content = read_yaml(file)
        recipes = [name for dataset in DATASET_NAMES for name in content[dataset]["train"]]
        return list(dict.fromkeys(recipes))
    except (StopIteration, OSError, ValueError, LookupError, TypeError):
        return []


def _set_quiet(quiet: bool) -> bool:
    if quiet:
        from sgcp.core.terminal import output

        output.set(quiet=True, document=output.document)
    return quiet


def _set_document(file: str | None) -> str | None:
    """Reserve standard output for JSON if the option is ``-``; refuse a file that is not JSON."""
    if file == STANDARD_OUTPUT:
        from sgcp.core.terminal import output

        output.set(quiet=output.quiet, document=True)
    elif file is not None and Path(file).is_file():
        with Path(file).open("rb") as existing:
            first = existing.read(64).lstrip()[:1]
        if first not in (b"", b"{", b"["):  # perhaps an input
            raise SgcpError(f"--json {file}: exists and is not JSON. Choose another file")
    return file


Dataset = Annotated[
    DatasetName | None,
    typer.Argument(
        metavar="DATASET", help="Optional if params.yaml enables one dataset.", show_default=False
    ),
]
model_option = partial(typer.Option, metavar="MODEL", autocompletion=complete_models)
Model = Annotated[
    str,
    model_option(
        help="Bundled name, folder (./camvid, not camvid), .safetensors or exported model."
    ),
]
recipe_option = partial(typer.Option, metavar="NAME", autocompletion=complete_recipes)
Device = Annotated[DeviceName, typer.Option(help="Where to run the network.")]
Flip = Annotated[bool, inference_option("--flip", help="Average with the mirrored image.")]
Scale = Annotated[
    list[float] | None,
    inference_option(
        metavar="X", help="Scale factor of the image, 0.01 to 16; repeat to average several."
    ),
]
Window = Annotated[
    Size | None,
    inference_option(
        metavar="H W", help="Height and width in pixels of overlapping sliding windows."
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=_set_quiet, help="Print results, warnings and errors only."
    ),
]
Json = Annotated[
    str | None,
    output_option(
        "--json",
        metavar="FILE|-",
        callback=_set_document,
        help="Write the result as JSON too; - prints only the JSON.",
    ),
]


def refuse_input(file: str | None, inputs: Sequence[str | Path]) -> None:
    """Raise SgcpError if ``--json`` names an input, which the result would overwrite."""
    if file not in (None, STANDARD_OUTPUT):
        for path in inputs:
            if Path(file).resolve() == Path(path).resolve():
                raise SgcpError(f"--json {file}: is an input. Choose another file")


def write_result(file: str | None, content: Any) -> None:
    """Write a result as JSON to a file or to standard output, if ``--json`` was given."""
    if file is None:
        return
    from sgcp.core.files import to_json, write_text
    from sgcp.core.terminal import output, say

    if file != STANDARD_OUTPUT:
        write_text(Path(file), to_json(content))
        say(f"{file}: result as JSON")
        return
    # JSON is UTF-8; in any other encoding, only its ASCII is the same bytes.
    ascii_only = codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8"
    try:
        typer.echo(to_json(content, ascii_only), nl=False)
    except BrokenPipeError:
        output.console.on_broken_pipe()
