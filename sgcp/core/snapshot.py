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

from sgcp.core.errors import SgcpError, first_lines
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
    """What some stages of ``dvc.yaml`` depend on, as it was at construction.

    Args:
        root: the project's folder; None: nothing is compared.
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
        self._settings, self._files = select(params, self._keys), digest_files(self._paths)

    def use(self, changed_data: Callable[[], list[Change]]) -> None:
        """Compare images and labels too: ``changed_data`` returns those that differ now."""
        self._changed_data = changed_data

    def check(self) -> None:
        """Refuse to continue if anything changed since the command began, naming what."""
        if found := self.differences():
            raise SgcpError(
                "nothing was written: inputs changed during the run:\n"
                f"{first_lines(found, LISTED, '  ')}\n"
                "Restore them, or run the command again with the new ones."
            )

    def warn_early(self) -> None:
        """Warn once about differences that ``check`` would refuse.

        Raise SgcpError if images or labels have other content: the training so far is useless.
        """
        if changed := [change for change in self._changed_data() if change.what == "changed"]:
            raise SgcpError(
                "images or labels changed during training:\n"
                f"{first_lines(changed, LISTED, '  ')}\n"
                "Restore or prepare them. Training then starts from the beginning."
            )
        if not self._warned and (found := self.differences()):
            self._warned = True
            warn(
                f"warning: inputs changed during the run:\n{first_lines(found, LISTED, '  ')}\n"
                "The result will not be written unless they are restored."
            )

    def differences(self) -> list[str]:
        """Return what differs now, one line each; empty for a call from Python without a root."""
        if self.root is None:
            return []
        lines = []
        try:
            settings = select(read_yaml(self.root / PARAMS), self._keys)
        except (OSError, ValueError) as error:
            lines, settings = [f"{PARAMS}: cannot be read any more ({error})"], self._settings
        for key in _differing(self._settings, settings):
            before, now = (json.dumps(values.get(key)) for values in (self._settings, settings))
            lines.append(f"{key}: {before} when the run began, {now} now")
        files = digest_files(self._paths)
        for path in _differing(self._files, files):
            what = "new" if path not in self._files else "changed" if path in files else "missing"
            lines.append(str(Change(str(path), what)))
        return lines + [str(change) for change in self._changed_data()]


def dependencies(
    root: Path, stages: Sequence[str], known: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Return the settings and files that ``dvc.yaml`` lists for stages.

    Outputs of the stages are left out. Raw and prepared data is compared with the index instead.
    """
    try:
        graph = read_yaml(root / GRAPH)["stages"]
        keys, deps, *outs = (
            # Entries with options are maps of one key.
            [entry if isinstance(entry, str) else next(iter(entry))
             for stage in stages if stage in graph for entry in graph[stage].get(kind) or ()]
            for kind in ("params", "deps", "outs", "metrics", "plots")
        )  # fmt: skip
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


def fill_in(text: str, known: Mapping[str, Any]) -> str:
    """Replace ``${a.b}`` as DVC does; unknown names stay."""

    def value(match: re.Match[str]) -> str:
        found = _lookup(known, match[1])
        return match[0] if found is None else str(found)

    return re.sub(r"\$\{([\w.]+)\}", value, text)


def select(params: Any, keys: Iterable[str]) -> dict[str, Any]:
    """Return the settings at or below some keys, by their full names; None for a missing one."""
    found: dict[str, Any] = {}
    for key in keys:
        value = _lookup(params, key)
        if isinstance(value, Mapping):
            found |= select(params, [f"{key}.{name}" for name in value])
        else:
            found[key] = value
    return found


def _lookup(content: Any, name: str) -> Any:
    for part in name.split("."):
        content = content.get(part) if isinstance(content, Mapping) else None
    return content


def _differing(before: Mapping[Any, Any], now: Mapping[Any, Any]) -> list[Any]:
    return [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]


def digest_files(paths: Iterable[Path]) -> dict[Path, str]:
    """Digest files and those below folders, without hidden, compiled and partial ones."""
    digests = {}
    for path in paths:
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.suffix not in (".pyc", PARTIAL) and not file.name.startswith("."):
                with suppress(OSError):  # a folder, or just removed
                    digests[file] = hashlib.sha256(file.read_bytes()).hexdigest()
    return digests
