"""What the commands share: the project they stand in, and changes to its settings.

Settings are imported when a command runs: pydantic would double the time of ``sgcp --help``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sgcp.cli import completion
from sgcp.core.errors import SgcpError
from sgcp.core.layout import Layout
from sgcp.core.snapshot import Snapshot

if TYPE_CHECKING:
    from sgcp.settings import Params

# Sections of `sgcp --help`.
PIPELINE = "The pipeline, step by step"
IMAGES = "Your own images"
SCORES = "Look, compare, check"
MODELS = "Models in and out"
PANELS = (PIPELINE, IMAGES, SCORES, MODELS)
# Sections of a command's options.
LOOK = "How the network looks at an image"

DatasetArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="DATASET",
        autocompletion=completion.datasets,
        help="sample, camvid, cityscapes or own; may be left out where params.yaml enables one.",
        show_default=False,
    ),
]

SplitOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=completion.splits,
        help="train, val or test, instead of params.yaml's.",
    ),
]
ScoredModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|PATH",
        autocompletion=completion.models,
        help="Score this model instead: a bundled name, a folder, .safetensors, .onnx or .xml.",
    ),
]
ScoresNameOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What to call the scores of --predictions or --model; else by their path.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(metavar="NAME", autocompletion=completion.devices, help="auto, cpu or cuda."),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=completion.encodings,
        help="What the values of --predictions are: ids, train-ids or colors; else label ids, "
        "refused where they look like another.",
    ),
]
FlipOption = Annotated[
    bool,
    typer.Option(
        "--flip", help="Look at each image mirrored too, and average.", rich_help_panel=LOOK
    ),
]
ScaleOption = Annotated[
    list[float] | None,
    typer.Option(
        metavar="X",
        help="Look at it at X times its size, 0.01 to 16; give it again for several, averaged.",
        rich_help_panel=LOOK,
    ),
]
WindowOption = Annotated[
    tuple[int, int] | None,
    typer.Option(
        metavar="H W",
        help="Look through overlapping windows of this height and width, in pixels.",
        rich_help_panel=LOOK,
    ),
]


def check_choice(option: str, value: str | None, choices: list[str]) -> None:
    """Refuse a value of an option that is none of its choices; None: it was not given.

    Raises:
        SgcpError: naming the choices.
    """
    if value is not None and value not in choices:
        *others, last = (f"'{choice}'" for choice in choices)
        raise SgcpError(f"{option}: {', '.join(others)} or {last}, got '{value}'")


def open_project(
    dataset: str | None, *stages: str, recipe: str | None = None, changes: Sequence[str] = ()
) -> tuple[Params, Any, Layout]:
    """Return all parameters, the dataset's section and its paths.

    Args:
        stages: of ``dvc.yaml``, that the command runs: what they depend on must not change
            before they have written their outputs.
        recipe: the one to train by, instead of the selected one.
        changes: ``KEY=VALUE`` of the recipe, instead of the values in the file.
    """
    from sgcp.models import trust
    from sgcp.settings.load import PARAMS_FILE, find_project, load_params, read_changes

    root = find_project(Path.cwd())
    params = load_params(root / PARAMS_FILE)
    name = dataset or params.only_dataset()
    section = params.dataset(name)
    recipe = recipe or params.recipe
    section.select(recipe)
    if changes:
        _ = section.train  # is there such a recipe?
        values = read_changes(changes, f"{name}.train.{recipe}")
        section = load_params(root / PARAMS_FILE, values).dataset(name)
        section.select(recipe, changes)
    for one in section.recipes.values():
        trust(one.network)
    snapshot = Snapshot()
    if stages:
        content = params.model_dump(mode="json", by_alias=True)
        snapshot = Snapshot(place(root), name, stages, content, recipe)
    return params, section, Layout(place(root), name, snapshot=snapshot)


def place(root: Path) -> Path:
    """Return a folder as a path that reads well in messages: relative where the user stands."""
    return Path() if root == Path.cwd().resolve() else root


def override(settings: Any, **changes: Any) -> Any:
    """Return settings with the command line's non-empty changes, validated again.

    Raises:
        SgcpError: a change is no possible value.
    """
    from pydantic import ValidationError

    given = {key: value for key, value in changes.items() if value is not None}
    changed = settings.model_copy(update=given).model_dump_json(warnings=False)
    try:
        return type(settings).model_validate_json(changed)
    except ValidationError as error:
        finding = error.errors()[0]
        raise SgcpError(f"{'.'.join(map(str, finding['loc']))}: {finding['msg']}") from None


def name_variant(usual: Any, settings: Any) -> str:
    """Name what differs from params.yaml in how a model is scored; nothing: no name."""
    parts = [settings.split] if settings.split != usual.split else []
    parts += ["flip"] if settings.flip != usual.flip else []
    for key in ("scales", "window"):
        value = getattr(settings, key)
        if value != getattr(usual, key):
            parts += [key, *map(str, value)]
    return "-".join(parts)
