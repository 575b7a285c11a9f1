"""Open the project that the user's folder belongs to, and change its settings for one command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.core.environment import place_compiler_cache
from sgcp.core.errors import SgcpError
from sgcp.core.layout import Layout
from sgcp.core.snapshot import Snapshot
from sgcp.core.terminal import warn

if TYPE_CHECKING:
    from sgcp.settings import Params


def open_project(
    dataset: str | None, *stages: str, recipe: str | None = None, changes: Sequence[str] = ()
) -> tuple[Params, Any, Layout]:
    """Return all parameters, the dataset's section and its paths.

    Args:
        stages: stages of ``dvc.yaml`` that the command runs; their dependencies must not change
            before the outputs are written.
        recipe: the recipe to train with; None: the selected one.
        changes: ``KEY=VALUE`` settings of the recipe that override the file.
    """
    from sgcp.models import trust
    from sgcp.settings.load import PARAMS_FILE, find_project, load_params, read_changes
    from sgcp.tools.init import check_code

    place_compiler_cache()
    root = find_project(Path.cwd())
    params = load_params(root / PARAMS_FILE)
    name = dataset or params.only_dataset()
    section = params.dataset(name)
    recipe = recipe or params.recipe
    section.select(recipe)
    networks = {one.network for one in section.recipes.values()}
    if changes and recipe in section.recipes:
        values = read_changes(changes, f"{name}.train.{recipe}")
        section = load_params(root / PARAMS_FILE, values).dataset(name)
        section.select(recipe, changes)
        network = section.recipes[recipe].network
        if ":" in network and network not in networks:
            warn(
                f"note: network {network} is allowed for this command alone. Write it into a "
                "recipe of params.yaml before you validate the model"
            )
        networks.add(network)
    for network in networks:
        trust(network)
    snapshot = Snapshot()
    if stages:
        check_code(root, stages)
        content = params.model_dump(mode="json", by_alias=True)
        snapshot = Snapshot(_relative(root), name, stages, content, recipe)
    return params, section, Layout(_relative(root), name, snapshot=snapshot)


def hold_out(drive: str | None) -> list[str]:
    """Return the changes of a recipe, as ``--set`` takes them, that hold out a drive."""
    if drive is None:
        return []
    from sgcp.settings.training import ALL_LABELLED

    return [
        f"{key}={json.dumps(value)}" for key, value in {**ALL_LABELLED, "holdout": drive}.items()
    ]


def project_here() -> Path | None:
    """Return the root of the project that contains the working directory, if any."""
    from sgcp.settings.load import find_project

    try:
        return _relative(find_project(Path.cwd()))
    except SgcpError:
        return None


def _relative(root: Path) -> Path:
    """Return the empty path for the working directory: messages then show relative paths."""
    return Path() if root == Path.cwd().resolve() else root


def override(settings: Any, **changes: Any) -> Any:
    """Return settings with the command line's values; raise SgcpError if one is not allowed."""
    from pydantic import ValidationError

    given = {key: value for key, value in changes.items() if value is not None}
    changed = settings.model_copy(update=given).model_dump_json(warnings=False)
    try:
        return type(settings).model_validate_json(changed)
    except ValidationError as error:
        finding = error.errors()[0]
        raise SgcpError(f"{'.'.join(map(str, finding['loc']))}: {finding['msg']}") from None


def name_variant(tracked: Any, settings: Any) -> str:
    """Name the inference options that differ from params.yaml; empty if none does."""
    parts = [settings.split] if settings.split != tracked.split else []
    parts += ["flip"] if settings.flip != tracked.flip else []
    for key in ("scales", "window"):
        value = getattr(settings, key)
        if value != getattr(tracked, key):
            parts += [key, *map(str, value)]
    return "-".join(parts)
