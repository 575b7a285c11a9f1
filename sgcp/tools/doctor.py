"""``sgcp doctor``: what this installation has, how fast it is, what to do about its problems."""

import json
import locale
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from configparser import ConfigParser, ParsingError
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from sgcp.core.environment import cache_folder
from sgcp.core.errors import SgcpError
from sgcp.core.extras import DISTRIBUTION, MODULES, install_command
from sgcp.core.findings import wrapped
from sgcp.core.machine import cpu_info, processor_name, usable_cores
from sgcp.core.parallel import LONGEST_FOLDER
from sgcp.core.snapshot import GRAPH
from sgcp.core.terminal import answer, say
from sgcp.inference import labels
from sgcp.inference.engines.choice import ENGINES, list_ways
from sgcp.inference.engines.measured import MeasuredEngine, Trial, Way, explain
from sgcp.inference.segmenter import find_model, load
from sgcp.inference.tta import resize_input
from sgcp.settings.load import PARAMS_FILE, find_project, load_params

LIBRARIES = (
    "numpy", "pillow", "imagecodecs", "openvino", "onnxruntime", "av", "torch", "torchvision",
    "lightning-fabric", "dvc", "dvclive", "cityscapesscripts", "nncf", "starlette", "uvicorn",
)  # fmt: skip
UNITS = {
    "AVX2": "avx2", "AVX-512": "avx512f", "VNNI": "avx512_vnni", "AVX-VNNI": "avx_vnni",
    "bf16": "avx512_bf16", "AMX int8": "amx_int8", "AMX bf16": "amx_bf16",
    "NEON": "asimd", "NEON bf16": "bf16", "SVE": "sve", "i8mm": "i8mm",
}  # fmt: skip
REINSTALL = f"pip install --force-reinstall {DISTRIBUTION}"
VARIABLES = ("SGCP_CACHE", "SGCP_DEBUG", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTHONUTF8")
MODEL, SIZE = "camvid", (1024, 2048)
SECONDS = 1.0  # of each engine
PATIENCE = 30  # seconds that git and DVC may take
LOW_DISK, LOW_MEMORY, LOW_FILES = 2.0, 2.0, 256  # GiB, GiB, open files
GIB = 2**30


class Examination:
    """The report so far: facts by section, and problems with their fixes."""

    def __init__(self) -> None:
        self.facts: dict[str, dict[str, Any]] = {}
        self.problems: list[dict[str, str]] = []

    def problem(self, what: str, fix: str) -> None:
        """Add a problem and what to do about it."""
        self.problems.append({"problem": what, "fix": fix})

    def to_json(self) -> dict[str, Any]:
        """Return everything, with the home folder as ``~``."""
        text = json.dumps({"able": self.able, **self.facts, "problems": self.problems})
        home = json.dumps(os.path.expanduser("~"))[1:-1]
        if len(home) > 1:  # of some containers it is the root
            text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
        content: dict[str, Any] = json.loads(text)
        return content

    @property
    def able(self) -> bool:
        """Whether some engine segments an image."""
        return bool(self.facts.get("engines", {}).get("milliseconds"))


def doctor() -> dict[str, Any]:
    """Examine installation, machine and the current project; print and return a report.

    It has facts by section, ``problems``, and ``able``: whether an image can be segmented.
    """
    found = Examination()
    for examine in (_versions, _extras, _machine, _gpu, _engines, _cache, _system, _project):
        examine(found)
    content = found.to_json()
    _print(content)
    return content


def _versions(found: Examination) -> None:
    found.facts["versions"] = {
        "sgcp": _version(DISTRIBUTION),
        "python": platform.python_version(),
        "system": platform.platform(),
        **{name: known for name in LIBRARIES if (known := _version(name))},
    }
    found.facts["installed"] = {
        "package": str(Path(__file__).parents[1]),
        "python": sys.executable,
        "labels in C": labels.compiled is not None,
    }
    if labels.compiled is None:
        found.problem(
            "the C extension is missing or older than the code, so labels take 5 to 10 times as "
            "long",
            f"install a C compiler, then `pip install --force-reinstall --no-deps {DISTRIBUTION}`, "
            "or in a clone `pip install --no-deps -e .`",
        )
    for name, limit in (("numpy", (2, 4)), ("pillow", (13, 0))):
        parts = (_version(name) or "0.0").split(".")
        if _version("cityscapesscripts") and (int(parts[0]), int(parts[1])) >= limit:
            wanted = f"{name}<{limit[0]}.{limit[1]}"
            found.problem(f"cityscapesScripts needs {wanted}", f"pip install '{wanted}'")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _extras(found: Examination) -> None:
    facts = found.facts["extras"] = {}
    for extra, modules in MODULES.items():
        missing = [module for module in modules if not find_spec(module)]
        state = "not installed" if len(missing) == len(modules) else f"lacks {', '.join(missing)}"
        facts[extra] = f"{state}: {install_command(missing[0])}" if missing else "complete"


def _machine(found: Examination) -> None:
    info = cpu_info()
    flags = {*info.get("flags", "").split(), *info.get("Features", "").split()}
    total, free = memory()
    found.facts["machine"] = {
        "processor": processor_name(),
        "units": [name for name, flag in UNITS.items() if flag in flags] or None,
        "usable cores": usable_cores(),
        "cores": os.cpu_count(),
        "memory GiB": total,
        "free memory GiB": free,
    }
    if free is not None and free < LOW_MEMORY:
        found.problem(
            f"{free:.1f} GiB of memory are free", "close other programs; take smaller batches"
        )


def memory() -> tuple[float | None, float | None]:
    """Return the memory that this process may use and what is free of it, GiB; None: unknown."""
    try:
        rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(rows[key].split()[0]) / 2**20 for key in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError):
        return None, None
    with suppress(OSError, ValueError):  # of a container; ValueError: "max"
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text()) / GIB
        used = int(Path("/sys/fs/cgroup/memory.current").read_text()) / GIB
        total, free = min(total, limit), min(free, limit - used)
    return round(total, 1), round(free, 1)


def _gpu(found: Examination) -> None:
    files = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    named = (_call(query) or "").splitlines()
    facts: dict[str, Any] = {"devices": named or files or "none"}
    if (files or named) and find_spec("torch"):
        try:
            import torch

            facts["torch finds it"] = torch.cuda.is_available()
            facts["torch's CUDA"] = torch.version.cuda
        except (ImportError, OSError) as error:
            found.problem(f"torch cannot be imported ({_line(error)})", "pip install -U torch")
        if not facts.get("torch finds it"):
            found.problem(
                "there is a GPU that torch does not find",
                "install a driver for the CUDA version of torch, or a torch for the driver "
                "(https://pytorch.org); with several, look at CUDA_VISIBLE_DEVICES",
            )
    found.facts["gpu"] = facts


def _engines(found: Examination) -> None:
    """Time the bundled model in every engine and precision."""
    facts: dict[str, Any] = {"model": MODEL, "image": list(SIZE), "milliseconds": {}}
    found.facts["engines"] = facts
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    say("timing engines, a second each")
    try:
        ways = [*list_ways(find_model(MODEL), "auto")]
    except (SgcpError, ImportError) as error:
        found.problem(f"no engine for the CPU can be listed ({_line(error)})", REINSTALL)
        ways = []
    ways += [Way("torch", "fp32")] if find_spec("torch") else []
    trials: list[Trial] = []
    plain = None
    for way in ways:
        try:
            model = load(MODEL, engine=way.engine, precision=way.precision)
            first = model.segment(image)
            seconds: list[float] = []
            while not seconds or sum(seconds) < SECONDS:
                begun = perf_counter()
                model.segment(image)
                seconds.append(perf_counter() - begun)
        except (SgcpError, ImportError, OSError) as error:
            again = f"pip install --force-reinstall {way.engine}"
            found.problem(f"engine {way} does not run ({_line(error)})", again)
            continue
        plain = first if plain is None else plain
        took = round(1e3 * median(seconds), 1)
        facts["milliseconds"][str(way)] = took
        if way.engine != "torch":
            trials.append(Trial(way, took, float((first != plain).mean())))
    facts["auto"] = _describe_auto(image, trials).removeprefix("auto ")
    if missing := [name for name in ENGINES if name != "torch" and not find_spec(name)]:
        facts["not installed"] = missing
    if not found.able:
        found.problem("no engine segments an image", REINSTALL)
    elif not find_spec("openvino"):
        found.problem("openvino, the fastest engine, is not installed", "pip install openvino")


def _describe_auto(image: Any, trials: Sequence[Trial]) -> str:
    """Return which way ``auto`` takes for such an image, and why."""
    if len(trials) < 2:
        return "takes the only engine" if trials else "takes torch"
    model = load(MODEL)
    if isinstance(model.engine, MeasuredEngine):
        network_input = resize_input(image, model.card.input_size(*SIZE))
        if kept := model.engine.kept(network_input):
            return f"{explain(kept)} (of an earlier image of this size)"
    return f"{explain(trials)} (on noise; it decides by your first image of a size)"


def _cache(found: Examination) -> None:
    folder = cache_folder()
    files = [path for path in folder.rglob("*") if path.is_file()] if os.path.isdir(folder) else []
    nearest = _nearest(folder)
    writable = os.path.isdir(nearest) and os.access(nearest, os.W_OK)
    found.facts["cache"] = {
        "folder": str(folder),
        "writable": writable,
        "MiB": round(sum(path.stat().st_size for path in files) / 2**20, 1),
        "files": len(files),
    }
    if not writable:
        found.problem(
            f"the cache {folder} cannot be written, so every start compiles again",
            "set SGCP_CACHE to a folder that you can write",
        )


def _nearest(path: Path) -> Path:
    """Return the first of a path and the folders above that can be seen to exist."""
    return next((above for above in (path, *path.parents) if os.path.exists(above)), path)


def _system(found: Examination) -> None:
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++", "c++")), None)
    free = {}
    for path in (Path.cwd(), cache_folder(), Path(tempfile.gettempdir())):
        free[str(path)] = round(shutil.disk_usage(_nearest(path)).free / GIB, 1)
    found.facts["system"] = {
        "C++ compiler": compiler,
        "free disk GiB": free,
        "open files": _open_files(),
        "file names": sys.getfilesystemencoding(),
        "locale": locale.getlocale()[1],
        "output": getattr(sys.stdout, "encoding", None),
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }
    for place, gib in free.items():
        if gib < LOW_DISK:
            found.problem(f"{place}: {gib:.1f} GiB of disk are free", "free some space")
    if find_spec("torch") and compiler is None:
        found.problem(
            "no C++ compiler, so long training runs are not compiled", "install g++ or clang++"
        )
    if sys.getfilesystemencoding().lower() != "utf-8":
        found.problem("file names are not UTF-8", "set PYTHONUTF8=1, or LANG=C.UTF-8")
    if (limit := _open_files()) is not None and limit < LOW_FILES:
        found.problem(f"{limit} files may be open at once", "run `ulimit -n 4096` first")
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_FOLDER:
        found.problem(
            f"TMPDIR={tempfile.gettempdir()}: too long for the sockets of worker processes",
            "set TMPDIR to a shorter path",
        )


def _open_files() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _project(found: Examination) -> None:
    """Describe the project that the current folder belongs to, if any."""
    try:
        root = find_project(Path.cwd())
    except SgcpError:
        found.facts["project"] = {"folder": None}
        return
    facts: dict[str, Any] = {"folder": str(root)}
    found.facts["project"] = facts
    try:
        params = load_params(root / PARAMS_FILE)
        facts |= {"datasets": list(params.datasets), "recipe": params.recipe}
    except SgcpError as error:
        found.problem(_line(error), f"correct {PARAMS_FILE}")
    if found.facts["extras"]["pipeline"] != "complete":
        found.problem("the project's stages need more libraries", install_command("torch"))
    commit = _call(["git", "-C", str(root), "rev-parse", "--short", "HEAD"])
    changed = _call(["git", "--no-optional-locks", "-C", str(root), "status", "--porcelain"])
    facts["git commit"] = commit.strip() if commit else None
    if changed is None and any((above / ".git").exists() for above in (root, *root.parents)):
        found.problem(
            "git cannot read the project's repository", f"`git -C {root} status` says why"
        )
    elif changed is None:
        found.problem(
            "the project is in no git repository, so DVC has no experiments or comparisons",
            "`git init`, `dvc config --unset core.no_scm`, then commit",
        )
    else:
        facts["changed files"] = len(changed.splitlines())
        if not commit:
            found.problem("git has no commit, which training needs", "`git add .`, `git commit`")
    _dvc(found, root, facts)


def _dvc(found: Examination, root: Path, facts: dict[str, Any]) -> None:
    if not (root / ".dvc").is_dir():
        facts["dvc"] = None
        found.problem("the project has no .dvc folder, so `dvc repro` cannot run", "`sgcp init`")
        return
    if not find_spec("dvc"):
        return
    config = ConfigParser(strict=False, interpolation=None)
    with suppress(OSError, ParsingError, UnicodeDecodeError):
        config.read([root / ".dvc/config", root / ".dvc/config.local"], encoding="utf-8")
    remotes = (re.fullmatch(r"'?remote \"(.*)\"'?", name) for name in config.sections())
    facts["dvc remotes"] = [remote[1] for remote in remotes if remote]
    status = _call([sys.executable, "-m", "dvc", "status", "--json"], root)
    try:
        stages = json.loads(status or "")
        facts["dvc status"] = f"to run: {', '.join(stages)}" if stages else "up to date"
    except ValueError:
        facts["dvc status"] = None
        found.problem(
            f"`dvc status` fails in {root}, or takes over {PATIENCE} s",
            f"run it there; it names the line of {GRAPH} that is wrong",
        )


def _call(command: Sequence[str], folder: Path | None = None) -> str | None:
    """Return what a program prints; None if it is missing, fails, or takes too long."""
    try:
        ended = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE,
            errors="replace", stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _print(content: Mapping[str, Any]) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_header=False, show_edge=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for section, facts in content.items():
        if isinstance(facts, dict):
            table.add_row(Text(section, "bold"), "")
            for name, value in facts.items():
                table.add_row(f"  {name}", _write(value))
    answer(table)
    for one in content["problems"]:
        answer(wrapped(f"problem: {one['problem']}. To fix it: {one['fix']}"))
    answer(f"{len(content['problems']) or 'no'} problem{'s' * (len(content['problems']) != 1)}")


def _write(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_write(part)}" for name, part in value.items()) or "-"
    if isinstance(value, list) and all(isinstance(part, int) for part in value):
        return "x".join(map(str, value)) or "-"
    if isinstance(value, list):
        return ", ".join(map(_write, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
