"""What a command depends on, as it was when the command began.

DVC records settings, inputs and code after a stage has run. If they changed meanwhile, ``dvc.lock``
would say that the old result came from the new ones, so a stage compares them before it gives its
outputs their names. What a stage depends on stands in ``dvc.yaml``; in a folder without it, on its
settings and the modules that are loaded.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_yaml
from sgcp.core.terminal import warn

if TYPE_CHECKING:
    from sgcp.datasets.stale import Change

PACKAGE = Path(__file__).parent.parent
GRAPH, PARAMS = "dvc.yaml", "params.yaml"
# Their files are compared with the index, by ``stale``.
DESCRIBED = ("data/raw/", "data/prepared/")
INDEX = ("index.csv", "dataset.json")
ABSENT = "absent"
SHOWN = 10  # differences that a message names


def no_data() -> list[Change]:
    """Compare nothing: no stage has named the images and labels that it reads."""
    return []


class Snapshot:
    """Settings, code and small inputs of some stages at the time of construction.

    Args:
        root: the project's folder; None: nothing is compared.
        dataset: which dataset the stages are run for.
        stages: their names in ``dvc.yaml``.
        params: content of ``params.yaml`` as it was loaded.
        recipe: the recipe that is trained by.
    """

    def __init__(
        self,
        root: Path | None = None,
        dataset: str = "",
        stages: Sequence[str] = (),
        params: Mapping[str, Any] | None = None,
        recipe: str = "",
    ) -> None:
        self.root, self.stages = root, stages
        self.data = no_data
        self.warned = False
        self.settings: dict[str, Any] = {}
        self.paths: list[Path] = []
        self.keys: list[str] = []
        if root is not None and params is not None:
            known = dict(params) | {"recipe": recipe, "item": {"dataset": dataset}}
            self.keys, names = read_graph(root, stages, known) or (
                [f"{dataset}.{stage}" for stage in stages],
                [],
            )
            self.paths = [root / name for name in names] or [PACKAGE]
            self.settings = tracked(params, self.keys)
        self.files = digest_files(self.paths)

    def use(self, compare: Callable[[], list[Change]]) -> None:
        """Name the images and labels that a stage reads, by what compares them with the index."""
        self.data = compare

    def check(self) -> None:
        """Refuse to go on if anything changed since the command began.

        Raises:
            SgcpError: naming each difference.
        """
        if found := self.differences():
            raise SgcpError(
                f"nothing was written, since inputs changed while this ran:\n{list_some(found)}\n"
                "Restore them and run the command again, or run it again with the new ones."
            )

    def warn_early(self) -> None:
        """Warn, once, of what ``check`` would refuse.

        Raises:
            SgcpError: images or labels have other content: what was learnt from them is of no use.
        """
        changed = [str(change) for change in self.data() if change.what == "changed"]
        if changed:
            raise SgcpError(
                f"images or labels changed while they were trained on:\n{list_some(changed)}\n"
                "Restore or prepare them; training starts anew."
            )
        if not self.warned and (found := self.differences()):
            self.warned = True
            warn(
                f"warning: inputs changed while this runs:\n{list_some(found)}\n"
                "The result will not be written unless they are restored."
            )

    def differences(self) -> list[str]:
        """Return what differs now, a line each."""
        if self.root is None:  # called from Python, where a session runs many stages
            return []
        return [
            *self.changed_settings(self.root / PARAMS),
            *self.changed_files(),
            *(str(change) for change in self.data()),
        ]

    def changed_settings(self, path: Path) -> list[str]:
        """Return the settings that differ from those in use."""
        try:
            content = read_yaml(path)
            now = tracked(content if isinstance(content, dict) else {}, self.keys)
        except (OSError, ValueError) as error:
            return [f"{path}: can no longer be read ({error})"]
        return [
            f"{key}: {shown(self.settings, key)} when the run began, {shown(now, key)} now"
            for key in sorted(self.settings.keys() | now.keys())
            if key not in self.settings or key not in now or self.settings[key] != now[key]
        ]

    def changed_files(self) -> list[str]:
        """Return the files of code and other small inputs that differ."""
        before, now = self.files, digest_files(self.paths)
        if self.paths == [PACKAGE]:  # of which a stage loads a part
            modules = list(sys.modules.values())
            loaded = {str(getattr(module, "__file__", None)) for module in modules}
            before, now = (
                {path: digest for path, digest in files.items() if str(path) in loaded}
                for files in (before, now)
            )
        changes = []
        for path in sorted(before.keys() | now.keys()):
            if before.get(path) != now.get(path):
                what = "missing" if path not in now else "new" if path not in before else "changed"
                name = path.relative_to(PACKAGE.parent) if path.is_relative_to(PACKAGE) else path
                changes.append(f"{name} ({what})")
        return changes


def read_graph(
    root: Path, stages: Sequence[str], known: Mapping[str, Any]
) -> tuple[list[str], list[str]] | None:
    """Return the settings and files that ``dvc.yaml`` lists for stages; None without ``dvc.yaml``.

    What one of the stages writes is left out.

    Raises:
        SgcpError: it is damaged.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not (root / GRAPH).is_file():
        return None
    try:
        # DVC allows aliases here, which `read_yaml` refuses.
        listed = YAML(typ="safe", pure=True).load(root / GRAPH)["stages"]
        graph = [listed[stage] for stage in stages if stage in listed]
        keys = [key for stage in graph for key in names_of(stage.get("params"))]
        deps = [name for stage in graph for name in names_of(stage.get("deps"))]
        outs = {
            name for stage in graph for kind in ("outs", "metrics", "plots")
            for name in names_of(stage.get(kind))
        }  # fmt: skip
    except (OSError, YAMLError, KeyError, TypeError, AttributeError) as error:
        raise SgcpError(f"{root / GRAPH}: damaged ({' '.join(str(error).split())[:200]})") from None
    files = []
    for name in (resolve(dep, known) for dep in deps if dep not in outs):
        if not name.startswith(DESCRIBED):
            files.append(name)
        elif name.startswith("data/prepared/"):
            files += [f"{name}/{part}" for part in INDEX]
    return [resolve(key, known) for key in keys], files


def names_of(entries: Iterable[Any] | None) -> list[str]:
    """Return the names of a list in ``dvc.yaml``, some of which have options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries or ()]


def resolve(text: str, known: Mapping[str, Any]) -> str:
    """Fill in ``${a.b}`` as DVC does; what is not known stays."""

    def value(match: re.Match[str]) -> str:
        found: Any = known
        for part in match[1].split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return match[0] if found is None else str(found)

    return re.sub(r"\$\{([\w.]+)\}", value, text)


def tracked(params: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return the settings at or below some keys, each by its full name."""
    found: dict[str, Any] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{name}.{key}", inner)
        else:
            found[name] = value

    for key in keys:
        section: Any = params
        for part in key.split("."):
            section = section.get(part) if isinstance(section, Mapping) else None
        if section is not None:
            add(key, section)
    return found


def shown(settings: Mapping[str, Any], key: str) -> str:
    """Return a setting as it is written."""
    return json.dumps(settings[key])[:80] if key in settings else ABSENT


def digest_files(paths: Iterable[Path]) -> dict[Path, str]:
    """Digest files, and those below folders; hidden and compiled ones are no inputs."""
    digests = {}
    for path in paths:
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.suffix in (".pyc", ".partial") or file.name.startswith("."):
                continue
            try:
                digests[file] = hashlib.sha256(file.read_bytes()).hexdigest()
            except OSError:  # a folder, or gone
                continue
    return digests


def list_some(lines: Sequence[str]) -> str:
    """Return up to ``SHOWN`` lines, indented."""
    more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join(f"  {line}" for line in [*lines[:SHOWN], *more])
