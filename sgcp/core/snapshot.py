"""Settings, code and small inputs of a stage, compared with those at the command's start.

DVC records them after a stage has run. If they changed meanwhile, ``dvc.lock`` would attribute the
old result to the new ones, so a stage compares them before it writes its outputs. ``dvc.yaml``
lists what a stage depends on; in a folder without it, only the settings are compared.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from sgcp.core.errors import SgcpError
from sgcp.core.files import PARTIAL, read_yaml
from sgcp.core.terminal import warn

GRAPH, PARAMS = "dvc.yaml", "params.yaml"
LISTED = 10  # differences that a message names


class Change(NamedTuple):
    """How a file differs from its description."""

    path: str
    what: str
    """``changed``, ``missing`` or ``new``."""

    def __str__(self) -> str:
        return f"{self.path} ({self.what})"


class Snapshot:
    """What some stages depend on, as it was at construction.

    Args:
        root: the project's folder; None: nothing is compared.
        dataset: which dataset the stages run for.
        stages: their names in ``dvc.yaml``.
        params: content of ``params.yaml`` as it was loaded.
        recipe: the recipe to train with.
    """

    def __init__(
        self,
        root: Path | None = None,
        dataset: str = "",
        stages: Sequence[str] = (),
        params: Mapping[str, Any] | None = None,
        recipe: str = "",
    ) -> None:
        self.root = root
        self._changed_data: Callable[[], list[Change]] = list
        self._warned = False
        self._keys = [f"{dataset}.{stage}" for stage in stages]
        self._paths: list[Path] = []
        if root is not None and (root / GRAPH).is_file():
            known = {**(params or {}), "recipe": recipe, "item": {"dataset": dataset}}
            self._keys, files = dependencies(root, stages, known)
            self._paths = [root / name for name in files]
        self._settings = select(params or {}, self._keys)
        self._files = digest_files(self._paths)

    def use(self, changed_data: Callable[[], list[Change]]) -> None:
        """Compare images and labels too.

        Args:
            changed_data: returns those that no longer match the index.
        """
        self._changed_data = changed_data

    def check(self) -> None:
        """Refuse to continue if anything changed since the command began.

        Raises:
            SgcpError: naming each difference.
        """
        if found := self.differences():
            raise SgcpError(
                f"nothing was written: inputs changed during the run:\n{_list_some(found)}\n"
                "Restore them, or run the command again with the new ones."
            )

    def warn_early(self) -> None:
        """Warn once about differences that ``check`` would refuse.

        Raises:
            SgcpError: images or labels have other content, so the training so far is useless.
        """
        changed = [str(change) for change in self._changed_data() if change.what == "changed"]
        if changed:
            raise SgcpError(
                f"images or labels changed during training:\n{_list_some(changed)}\n"
                "Restore or prepare them. Training then starts from the beginning."
            )
        if not self._warned and (found := self.differences()):
            self._warned = True
            warn(
                f"warning: inputs changed during the run:\n{_list_some(found)}\n"
                "The result will not be written unless they are restored."
            )

    def differences(self) -> list[str]:
        """Return what differs now, one line each; empty for a call from Python without a root."""
        if self.root is None:
            return []
        changed_data = [str(change) for change in self._changed_data()]
        return [*self._changed_settings(self.root / PARAMS), *self._changed_files(), *changed_data]

    def _changed_settings(self, path: Path) -> list[str]:
        try:
            now = select(read_yaml(path), self._keys)
        except (OSError, ValueError) as error:
            return [f"{path}: cannot be read any more ({error})"]
        before = self._settings
        return [
            f"{key}: {_value(before, key)} when the run began, {_value(now, key)} now"
            for key in sorted(before.keys() | now.keys())
            if key not in before or key not in now or before[key] != now[key]
        ]

    def _changed_files(self) -> list[str]:
        before, now = self._files, digest_files(self._paths)
        return [
            f"{path} ({'missing' if path not in now else 'changed' if path in before else 'new'})"
            for path in sorted(before.keys() | now.keys())
            if before.get(path) != now.get(path)
        ]


def dependencies(
    root: Path, stages: Sequence[str], known: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Return the settings and files that ``dvc.yaml`` lists for stages.

    Outputs of the stages are left out. Raw and prepared data is compared with the index instead.

    Raises:
        SgcpError: ``dvc.yaml`` is damaged.
    """
    try:
        graph = read_yaml(root / GRAPH)["stages"]
        entries = [graph[stage] for stage in stages if stage in graph]
        keys, deps, *outs = (
            [name for entry in entries for name in _names(entry.get(kind))]
            for kind in ("params", "deps", "outs", "metrics", "plots")
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SgcpError(f"{root / GRAPH}: damaged ({error})") from None
    files = []
    for dep in deps:
        name = fill_in(dep, known)
        if name.startswith("data/prepared/"):
            files += [f"{name}/index.csv", f"{name}/dataset.json"]
        elif not name.startswith("data/raw/") and not any(dep in names for names in outs):
            files.append(name)
    return [fill_in(key, known) for key in keys], files


def _names(entries: Iterable[Any] | None) -> list[str]:
    """Return the names of a list in ``dvc.yaml``; some entries are maps with options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries or ()]


def fill_in(text: str, known: Mapping[str, Any]) -> str:
    """Replace ``${a.b}`` as DVC does; unknown names stay."""

    def value(match: re.Match[str]) -> str:
        found = _lookup(known, match[1])
        return match[0] if found is None else str(found)

    return re.sub(r"\$\{([\w.]+)\}", value, text)


def select(params: Any, keys: Iterable[str]) -> dict[str, Any]:
    """Return the settings at or below some keys, each by its full name."""
    found: dict[str, Any] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{name}.{key}", inner)
        else:
            found[name] = value

    for key in keys:
        section = _lookup(params, key)
        if section is not None:
            add(key, section)
    return found


def _lookup(content: Any, name: str) -> Any:
    for part in name.split("."):
        content = content.get(part) if isinstance(content, Mapping) else None
    return content


def _value(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key]) if key in settings else "absent"


def digest_files(paths: Iterable[Path]) -> dict[Path, str]:
    """Digest files and those below folders, without hidden, compiled and partial ones."""
    digests = {}
    for path in paths:
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.suffix not in (".pyc", PARTIAL) and not file.name.startswith("."):
                with suppress(OSError):  # a folder, or just removed
                    digests[file] = hashlib.sha256(file.read_bytes()).hexdigest()
    return digests


def _list_some(lines: Sequence[str]) -> str:
    more = [f"... and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "\n".join(f"  {line}" for line in [*lines[:LISTED], *more])
