"""Fixtures: a tiny project in a temporary folder, and the real data beside the repository."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

ROOT = Path(__file__).parent.parent
# Tiny networks are quickest on one thread, and far quicker where other work shares the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Graphs for the engines go into a cache of the tests' own, gone with them.
CACHE = tempfile.TemporaryDirectory(prefix="sgcp-cache-")
os.environ["XDG_CACHE_HOME"] = CACHE.name
# A script's background job ignores Ctrl-C, and its children inherit that. Tests that interrupt
# processes want them as a terminal starts them.
signal.signal(signal.SIGINT, signal.default_int_handler)
STAGES = ("download", "prepare", "train", "validate", "predict", "package-submission")
HANGING = 600  # seconds after which a process that ought to have ended is taken to hang
sys.path[:0] = [str(Path(__file__).parent)]

# `make mutants` wants to know whether a test fails, not on which smallest input.
settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], derandomize=True)

# A few pixels and images: every stage in seconds.
TINY = {
    "machine.loader_workers": 0,
    "machine.prepare_workers": 1,
    "sample.download.size": [64, 128],
    "sample.download.train": 4,
    "sample.download.val": 2,
    "sample.download.test": 2,
    "sample.train.epochs": 2,
    "sample.train.batch_size": 2,
    "sample.train.crop": [64, 64],
    "sample.train.validate_every": 1,
    "sample.validate.panels": 1,
    "sample.benchmark.size": [64, 128],
    "sample.benchmark.images": 2,
    "sample.benchmark.rounds": 1,
    "sample.benchmark.candidates": ["openvino"],
}


def set_params(path: Path, changes: dict[str, Any]) -> None:
    """Change keys of a params.yaml, by dotted name; None as a value deletes nothing.

    ``DATASET.train.KEY`` means that key of the recipe that the file selects.
    """
    # Merged sections are copied, so that a change stays in its own section.
    content = json.loads(json.dumps(YAML(typ="safe", pure=True).load(path.read_text())))
    for name, value in changes.items():
        *sections, key = name.split(".")
        if sections[1:] == ["train"]:
            sections.append(content["recipe"])
        section = content
        for part in sections:
            section = section[part]
        section[key] = value
    text = json.dumps(content, indent=1)  # which is YAML, but for these numbers
    path.write_text(text.replace(": NaN", ": .nan").replace(": Infinity", ": .inf"))


class Project:
    """A project folder and its command line."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def set(self, **changes: Any) -> None:
        set_params(self.root / "params.yaml", {k.replace("__", "."): v for k, v in changes.items()})

    def index_labels(self) -> None:
        """Describe the sample's label maps in its index as a test left them."""
        from sgcp.datasets.index import digest_pixels, read_dataset, write_dataset
        from sgcp.media.images import read_label

        folder = self.root / "data/prepared/sample"
        dataset = read_dataset(folder)
        items = (
            replace(item, label_digest=digest_pixels(read_label(folder / item.label)))
            if item.label
            else item
            for item in dataset.items
        )
        write_dataset(folder, replace(dataset, items=tuple(items)))

    def run(self, *arguments: str | Path) -> Result:
        """Run `sgcp` in this process, in the project's folder."""
        from sgcp.cli import app
        from sgcp.core.terminal import output

        before = Path.cwd()
        os.chdir(self.root)
        try:
            return CliRunner().invoke(app, [str(argument) for argument in arguments])
        finally:
            os.chdir(before)
            output.set()  # or `--json -` would last into other tests

    def ok(self, *arguments: str | Path) -> str:
        """Run `sgcp`, expecting success; return what it printed."""
        result = self.run(*arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    def stopped_after(self, steps: int, *arguments: str | Path) -> Result:
        """Run `sgcp train`, interrupted when so many steps of training are taken."""
        from sgcp.training import loop

        step, taken = loop.train_one_step, []

        def stop(*given: Any) -> Any:
            if len(taken) == steps:
                raise KeyboardInterrupt
            taken.append(1)
            return step(*given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "train_one_step", stop)
            result = self.run("train", *arguments)
        assert len(taken) == steps
        return result

    def fails(self, *arguments: str | Path) -> str:
        """Run `sgcp`, expecting one clear message and exit code 1; return the message."""
        result = self.run(*arguments)
        assert result.exit_code == 1, (result.output, result.exception)
        assert isinstance(result.exception, SystemExit), result.exception
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.output
        assert "unexpected" not in result.stderr or "unexpected '" in result.stderr, result.stderr
        return result.stderr


def run_python(code: str, **environment: str) -> str:
    """Run code in a process of its own, on this repository; return what it printed."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


@cache
def tiny_params() -> str:
    """Return params.yaml with tiny settings; changing it takes longer than many a test."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(ROOT / "params.yaml", folder))
        set_params(path, TINY)
        return path.read_text()


def make_project(root: Path) -> Project:
    shutil.copytree(ROOT / "pipeline", root / "pipeline")
    (root / "params.yaml").write_text(tiny_params())
    return Project(root)


@pytest.fixture(scope="module", params=["libpng", "pillow"])
def codec(request):
    """Both ways to PNG: the runtime has no imagecodecs."""
    from sgcp.media import images

    with pytest.MonkeyPatch.context() as patch:
        if request.param == "pillow":
            patch.setattr(images, "imagecodecs", None)
        yield request.param


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project with tiny settings."""
    return make_project(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder of a custom dataset."""
    from customs import write_source

    return write_source(tmp_path)


@pytest.fixture
def walled(tmp_path: Path) -> Project:
    """A tiny project with nothing beside it, so that what lands outside it is seen."""
    (tmp_path / "walls" / "project").mkdir(parents=True)
    return make_project(tmp_path / "walls" / "project")


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("prepared"))
    project.ok("download", "sample")
    project.ok("prepare", "sample")
    return project


@pytest.fixture
def prepared(_prepared: Project, tmp_path: Path) -> Project:
    """A project whose sample is made and prepared; a copy, to be broken at will."""
    shutil.copytree(_prepared.root, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path)


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    # `make mutants` starts a process for each of a thousand mutants: all of them share one.
    kept = Path(os.environ.get("SGCP_TRAINED", tmp_path_factory.mktemp("trained") / "project"))
    if not kept.is_dir():
        kept.mkdir()
        project = make_project(kept)
        project.set(sample__train__epochs=16, sample__train__validate_every=8)  # learns something
        for command in STAGES:
            project.ok(command, "sample")
    return Project(kept)


@pytest.fixture
def trained(_trained: Project, tmp_path: Path) -> Project:
    """A project whose sample went through every stage; a copy, to be broken at will."""
    shutil.copytree(_trained.root, tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference vectors, named by SGCP_SHARED."""
    path = Path(os.environ.get("SGCP_SHARED", ROOT.parent / "shared"))
    if not (path / "datasets").is_dir():
        pytest.skip("SGCP_SHARED names no folder with datasets and reference vectors")
    return path


@pytest.fixture
def write_tree(tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """Write files below a new folder; returns it."""

    def write(files: dict[str, bytes]) -> Path:
        folder = tmp_path / "tree"
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    return write


@pytest.fixture
def metrics(tmp_path: Path) -> list[str]:
    """Two comparable metrics files."""
    keys = ("dataset", "edition", "protocol", "class_order", "split", "split_fingerprint",
            "scored_size")  # fmt: skip
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, share in zip(paths, (0.5, 0.75), strict=True):
        content = {"miou": share, "iou": {"road": share}} | dict.fromkeys(
            (*keys, "scored_size"), "x"
        )
        path.write_text(json.dumps(content))
    return list(map(str, paths))
