"""``sgcp init``: a project in an empty folder or a git repository; nothing is overwritten.

The wheel carries the files below ``sgcp/project`` (``setup.py``); a checkout has them at its root.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.extras import install_command
from sgcp.core.files import json_digest, read_text, read_yaml, write_text
from sgcp.core.layout import shipped
from sgcp.core.snapshot import GRAPH, PARAMS, digest_files
from sgcp.core.terminal import answer, say, warn
from sgcp.settings.load import load_params

if TYPE_CHECKING:
    from sgcp.inspection.custom_folder import Proposal

PACKAGE = Path(__file__).parents[1]
CODE = "pipeline/code.yaml"
CODE_HEAD = "# Written by `sgcp init`: the code of each stage in the installed sgcp."
COPIED = (
    ".dvcignore", ".dvc/config", "pipeline/classes", "pipeline/datasets", "pipeline/plots",
    "pipeline/splits",
)  # fmt: skip
COMPILED = (".c", ".pyd", ".so")  # differ between machines that give the same results
MAX_FILE = 2**18  # bytes
GITIGNORE = """\
/data/
/dvc_plots/
/.venv/
__pycache__/
*.partial
*.partial/
"""
GRAPH_HEAD = """\
# The stage graph. Each stage exists once for every dataset that params.yaml enables. DVC does not
# follow Python imports: `sgcp init` writes the digest of each stage's code into pipeline/code.yaml.
# Run it again after an upgrade of sgcp: stages with other code then run again.
"""
README = """\
# {name}

A project of sgcp (`pip install 'sgcpnet[pipeline]'`): semantic segmentation, from raw data to
scores and a checked submission.

```console
$ sgcp download {dataset}
$ sgcp prepare {dataset}
$ sgcp train {dataset}
```

`dvc repro` runs these stages and the later ones (validate, predict, package, report), and skips
what is up to date. `params.yaml` documents each setting; pages named `docs/...` are in the
repository of sgcp. `sgcp --help` lists the commands, `sgcp doctor` checks the installation.
"""


def init(folder: Path, custom: Path | None = None) -> None:
    """Write the files of a project; existing ones stay as they are.

    Args:
        custom: a folder of images and label maps to set the project up for.

    Raises:
        SgcpError: the folder has other files and no git, ``custom`` cannot be a dataset, or an
            existing file prevents that the project works.
    """
    _refuse_foreign(folder)
    proposal = None
    if custom is not None:
        from sgcp.inspection.custom_folder import look_at, print_proposal, write_classes

        proposal = look_at(custom.expanduser(), folder)
        print_proposal(proposal)
    contents = project_files(folder, proposal)
    if os.path.lexists(folder / GRAPH) and CODE not in _text(folder / GRAPH):
        del contents[CODE]  # a clone, which lists the code itself
    missing = [name for name in contents if not os.path.lexists(folder / name)]
    for name in missing:
        if file := next((up for up in (folder / name).parents if up.is_file()), None):
            raise SgcpError(f"{file}: is a file where a folder belongs. Rename it")
        write_text(folder / name, contents[name])
    if proposal is not None:
        write_classes(proposal)
    kept = [name for name in contents if name not in missing]
    old = _text(folder / CODE)
    if CODE in kept and old.startswith(CODE_HEAD) and old != contents[CODE]:
        write_text(folder / CODE, contents[CODE])
        say(f"{folder / CODE}: updated; `dvc repro` runs the stages with other code")
    if missing:
        say(f"{folder}: wrote {shorten(_collapse(missing), 10)}")
    other = [name for name in kept if _text(folder / name) != contents[name]]
    if other:
        say(f"{folder}: kept your {shorten(_collapse(other), 10)}")
    elif not missing:
        say(f"{folder}: complete, nothing to do")
    if proposal is not None:
        done = "settings for these images"
        if PARAMS in other:
            done = "exists, so it was not changed. Set in it"
        lines = [f"{key}: {value}" for key, value in proposal.settings(folder).items()]
        answer("\n  ".join([f"{folder / PARAMS}: {done}:", *lines]))
    _check(folder)
    target = " validate@custom" if proposal is not None and not proposal.counts["test"] else ""
    _print_next(folder, "sample" if proposal is None else "custom", f"dvc repro{target}")


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder with files of others, such as the home folder, unless git looks after it."""
    if not folder.is_dir() or _in_git(folder) or _has_stages(folder):
        return
    ours = {name.partition("/")[0] for name in project_files(folder, None)}
    ours |= {line.strip("/") for line in GITIGNORE.split()}
    names = sorted(path.name for path in folder.iterdir())
    if foreign := [name for name in names if not any(fnmatch(name, one) for one in ours)]:
        raise SgcpError(
            f"{folder}: contains other files ({shorten(foreign)}) and is in no git repository. "
            "Give a new or empty folder, as in `sgcp init streets`, or run `git init` in this one "
            "first"
        )


def _has_stages(folder: Path) -> bool:
    try:
        stages = read_yaml(folder / GRAPH)["stages"]
        return all("sgcp" in stages[name]["cmd"] for name in ("download", "prepare", "train"))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def project_files(folder: Path, proposal: Proposal | None) -> dict[str, str]:
    """Return the content of each file of a new project, by name."""
    root = shipped()
    paths = [path for name in COPIED for path in (root / name, *sorted((root / name).rglob("*")))]
    files = {path.relative_to(root).as_posix(): _text(path) for path in paths if path.is_file()}
    if not _in_git(folder):
        files[".dvc/config"] = files[".dvc/config"].replace("[core]", "[core]\n    no_scm = True")
    # In quotes: YAML reads 12140e5222214047 as a number.
    code = [f'{name}: "{digest}"' for name, digest in stage_code(root).items()]
    params, dataset = _text(root / PARAMS), "sample"
    if proposal is not None:
        params, dataset = proposal.change(params, folder), "custom"
    return files | {
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        ".gitignore": GITIGNORE,
        "README.md": README.format(name=folder.resolve().name, dataset=dataset),
        CODE: "\n".join([CODE_HEAD, "# Run it again after an upgrade of sgcp.", *code, ""]),
        GRAPH: _graph(_text(root / GRAPH)),
        PARAMS: params,
    }


def _text(path: Path) -> str:
    try:
        return read_text(path, MAX_FILE)
    except (OSError, ValueError):  # a folder, a dead link, another encoding: the user's own
        return ""


def _graph(text: str) -> str:
    """Return ``dvc.yaml`` with a digest of each stage's code in place of the code."""
    text = text.partition("stages:\n")[2].partition("\n# Committed scores")[0]
    text = re.sub(r"      - sgcp/.*\n", "", text)
    param = r"(    params:\n      - \$\{item\.dataset\}\.(\w+).*\n)"
    return f"{GRAPH_HEAD}stages:\n" + re.sub(param, rf"\1      - {CODE}:\n          - \2\n", text)


def stage_code(root: Path) -> dict[str, str]:
    """Return a digest of the installed code that each stage of a ``dvc.yaml`` lists."""
    digests = {}
    for name, stage in read_yaml(root / GRAPH)["stages"].items():
        code = [PACKAGE.parent / dep for dep in stage["deps"] if dep.startswith("sgcp/")]
        files = {
            path.relative_to(PACKAGE).as_posix(): digest
            for path, digest in digest_files(code).items()
            if path.suffix not in COMPILED
        }
        digests[name] = json_digest(files)
    return digests


def _in_git(folder: Path) -> bool:
    here = folder.resolve()
    return any((above / ".git").exists() for above in (here, *here.parents))


def _collapse(names: Sequence[str]) -> list[str]:
    """Return names with those below ``pipeline`` and ``.dvc`` as one each."""
    tops = Counter(name.partition("/")[0] for name in names)
    return [f"{top} ({count} files)" if count > 1 else top for top, count in tops.items()]


def _check(folder: Path) -> None:
    """Refuse files of other programs in the places of those that the stages need."""
    again = f"Rename it, run `sgcp init {folder}` again and merge the two"
    problems = []
    try:
        load_params(folder / PARAMS)
    except SgcpError as error:
        problems.append(f"{folder / PARAMS}: are not the settings of sgcp ({error}). {again}")
    if not _has_stages(folder):
        problems.append(f"{folder / GRAPH}: lacks the stages of sgcp. {again}")
    if problems:
        raise SgcpError("\n".join(problems))
    if not {"/data/", "/data", "data/", "data"} & {*_text(folder / ".gitignore").splitlines()}:
        warn(
            f"{folder / '.gitignore'}: add the line `/data/`: data and models are for DVC, not git"
        )


def _print_next(folder: Path, dataset: str, repro: str) -> None:
    if not find_spec("dvc"):
        warn(f"note: DVC is not installed, and the stages need it: {install_command('dvc')}")
    if not _in_git(folder):
        say(
            "note: no git repository, so no experiments. To add one: `git init`, "
            "`dvc config --unset core.no_scm`"
        )
    elif not _has_commit(folder):
        warn("note: training needs a first commit: `git add .`, `git commit -m start`")
    cd = [] if folder.resolve() == Path.cwd() else [f"cd {folder}"]
    stages = [f"sgcp {stage} {dataset}" for stage in ("download", "prepare", "train")]
    answer("\n  ".join([f"next, or `{repro}` for these stages and the later ones:", *cd, *stages]))


def _has_commit(folder: Path) -> bool:
    command = ["git", "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:  # no git, which DVC will say
        return True


def check_code(root: Path, stages: Sequence[str]) -> None:
    """Refuse stages whose code DVC would record wrongly: sgcp was upgraded since ``sgcp init``.

    Raises:
        SgcpError: ``pipeline/code.yaml`` has the digests of another version.
    """
    if not (root / CODE).is_file():
        return
    recorded, code = read_yaml(root / CODE), stage_code(shipped())
    if not isinstance(recorded, Mapping) or any(
        recorded.get(stage) != code[stage] for stage in stages if stage in code
    ):
        raise SgcpError(
            f"{root / CODE}: of another sgcp than the installed one. Run `sgcp init` in the "
            "project; `dvc repro` then runs what the upgrade changes"
        )
