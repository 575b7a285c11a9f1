"""Read ``params.yaml`` into validated settings, and say what is wrong with it."""

import difflib
import json
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from sgcp.core.errors import SgcpError
from sgcp.core.files import parse_yaml, read_yaml
from sgcp.settings import Params

PARAMS_FILE = "params.yaml"
RENAMED = {
    "own": "custom",
    "lovasz": "extra_loss: lovasz, with extra_loss_weight",
    "contenders": "candidates",
    "pictures": "panels, below validate",
}
SHOWN = 20  # findings; a wrong file may have thousands


def find_project(start: Path) -> Path:
    """Return the nearest folder at or above ``start`` that holds ``params.yaml``, or refuse."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / PARAMS_FILE).is_file():
            return folder
    raise SgcpError(
        f"no {PARAMS_FILE} in {start} or above it; run sgcp inside a project, or write one: "
        "`sgcp init DIR`"
    )


def load_params(path: Path, changes: Mapping[str, Any] | None = None) -> Params:
    """Read and validate a ``params.yaml``, as ``read_yaml`` reads it.

    ``changes``: values that override the file's, by full name (``camvid.train.quick.lr``).

    Raises:
        SgcpError: unreadable, or every key that is unknown, missing, of a wrong type or impossible,
            each by its full name with what would be right.
    """
    try:
        content = read_yaml(path)
        for name, value in (changes or {}).items():
            *sections, key = name.split(".")
            reduce(getitem, sections, content)[key] = value
        # From JSON, pydantic's strict mode accepts lists for tuples, and coerces nothing.
        return Params.model_validate_json(json.dumps(content))
    except FileNotFoundError:
        raise SgcpError(f"{path}: no such file") from None
    except ValidationError as error:
        raise SgcpError(explain(error, path)) from None
    except ValueError as error:
        raise SgcpError(f"{path}: {error}; mend it, or take the committed file") from None


def read_changes(changes: Sequence[str], section: str) -> dict[str, Any]:
    """Return the values of ``KEY=VALUE``, read as YAML, by the full name of each key."""
    values = {}
    for change in changes:
        key, equals, text = change.partition("=")
        try:
            values[f"{section}.{key}"] = parse_yaml(text)
        except ValueError:
            equals = ""
        if not (equals and key.isidentifier()):
            raise SgcpError(
                f"--set {change}: expected KEY=VALUE, such as lr=0.003 or crop=[64,64]. Quote a "
                "name that looks like a date"
            )
    return values


def explain(error: ValidationError, path: Path) -> str:
    """Put pydantic's findings into words: one line a key, by its full name."""
    lines = []
    findings = error.errors(include_url=False)
    lists = {one["loc"][:-1] for one in findings}  # of refused items count as too short
    findings = [one for one in findings if one["type"] != "too_short" or one["loc"] not in lists]
    for finding in findings[:SHOWN]:
        name = ".".join(
            str(part)[:80]
            for part in finding["loc"]
            if not (isinstance(part, str) and part.startswith(("constrained-", "literal[")))
        )
        lines.append(f"  {_explain_one(name, finding)}")
    if len(findings) > SHOWN:
        lines.append(f"  ... and {len(findings) - SHOWN} more")
    return f"{path.name} is not valid:\n" + "\n".join(dict.fromkeys(lines))


def _explain_one(name: str, finding: Any) -> str:
    if finding["type"] == "missing" and isinstance(finding["loc"][-1], int):
        return f"{name.rpartition('.')[0]}: too few values"
    if finding["type"] == "missing":
        return f"{name}: missing; every key must be written"
    if finding["type"] == "extra_forbidden":
        if new := RENAMED.get(str(finding["loc"][-1])):
            return f"{name}: is now called {new}"
        siblings = _keys_beside(finding["loc"])
        close = difflib.get_close_matches(str(finding["loc"][-1]), siblings, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(siblings)}"
        return f"{name}: unknown key; {hint}"
    if finding["type"] == "value_error":
        return ".".join(filter(None, [name, str(finding["ctx"]["error"])]))
    message = finding["msg"].replace("Input should be", "should be")
    return f"{name}: {message[0].lower()}{message[1:]}, got {json.dumps(finding['input'])[:80]}"


def _keys_beside(location: tuple[Any, ...]) -> list[str]:
    """Return the keys that the section of an unknown key does have."""
    section: type[BaseModel] = Params
    for part in location[:-1]:
        for key, field in section.model_fields.items():
            if (field.alias or key) == part:
                # A map, as of recipes, has such sections for its values.
                kinds = [*get_args(field.annotation), field.annotation]
                inside = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
                section = inside[0] if inside else section
    return [field.alias or key for key, field in section.model_fields.items()]
