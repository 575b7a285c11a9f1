"""Every example of the help texts and every console block of the docs runs as it is printed."""

import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import HANGING, ROOT, set_params
from examples import World
from pages import PAGES, fences, help_examples, page_name, split_commands
from typer.main import get_command

from sgcp.cli import app

pytestmark = pytest.mark.integration

# What is not run here, and why.
ELSEWHERE = {
    r"git clone|git commit \.\.\.|make ": "is what runs the tests, or is no command",
    r"python ((benchmarks|\.\./toy)/)?\w+\.py|python -c": "takes minutes, or has its own test",
    r"pip install|PYTHONPATH=PIDNet": "needs the network; tests/tools/test_benchmark.py stands in",
    r"torchrun ": "wants several GPUs; tests/training/test_processes.py runs two processes",
    r"CITYSCAPES_USERNAME=": "asks a server; tests/datasets/test_account.py has one",
    r"dvc plots show data/resume": "wants a training run in progress",
    r"dvc remote add .*(s3|ssh)://": "wants a server",
    r"sgcp segment (camera|rtsp|udp|https?):": "wants a source; tests/tools/test_live.py has some",
}
EXAMPLES = [
    example
    for name, command in get_command(app).commands.items()
    for example in help_examples(command)
    if name != "export"  # on docs/export.md
    and not any(re.match(pattern, example) for pattern in ELSEWHERE)
]
ANSWERS = (0, 1)  # of check-submission: without a problem, or with some
SLOW = "docs/experiments.md"
# With their files and output: in test_custom_dataset, test_contributing, test_docs_code.
TESTED_ELSEWHERE = ("docs/custom-dataset.md", "CONTRIBUTING.md", "docs/export.md")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("world"))
    world.run_chain("sample", "camvid", "cityscapes", "custom")
    world.add_results()
    return world


@pytest.fixture
def bundled_elsewhere(tmp_path, monkeypatch) -> None:
    """Let `sgcp bundle` write to another folder than the package's own."""
    from sgcp.tools.bundle import bundle

    monkeypatch.setattr(bundle, "__defaults__", (tmp_path / "weights",))


def run(world: World, words: list[str], refused: bool = False) -> None:
    """Run one command of a page, expecting success unless it is printed with an error."""
    if words[:2] == ["sgcp", "demo"]:
        assert serves(world, words[1:])
    elif words[0] == "sgcp":
        result = world.project.run(*words[1:])
        expected = ANSWERS if words[1] == "check-submission" else (int(refused),)
        assert result.exit_code in expected, (words, result.output, result.exception)
        assert ("error:" in result.output) is refused, result.output
    else:
        world.clone.call(*words)


def serves(world: World, words: list[str]) -> bool:
    """Start `sgcp demo` without a browser and end it; tell whether it printed its address."""
    words = ["0" if before == "--port" else word for before, word in pairwise(["", *words])]
    process = subprocess.Popen(
        [sys.executable, "-m", "sgcp", *words, *([] if "--port" in words else ["--port", "0"])],
        cwd=world.root, env=os.environ | {"PYTHONPATH": str(ROOT), "BROWSER": "true"},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    address = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(HANGING) == 0
    return address.startswith("http://127.0.0.1:")


def needs(world: World, words: list[str], request: pytest.FixtureRequest) -> None:
    """Provide what a command needs beyond the chain's outputs."""
    if words[1:2] == ["import-checkpoint"]:
        reference = request.getfixturevalue("shared") / "reference"
        for name, source in (("model_best", "cityscapes19"), ("camvid", "camvid11")):
            shutil.copy(reference / f"{source}.pth.tar", world.root / f"{name}.pth.tar")
    if words[1:2] == ["bundle"]:
        request.getfixturevalue("bundled_elsewhere")
    if words[1:3] in (["bundle", "camvid"], ["report", "camvid"]):  # the model's own scores
        world.project.ok("train", "camvid", "--recipe", "robust")
        world.project.ok("validate", "camvid")
    if "street.onnx" in words and words[1] != "export":
        world.project.ok("export", "data/models/sample", "street.onnx")


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_of_a_help_text_runs(world: World, example, tmp_path, request):
    here = world.copy(tmp_path)
    words = here.words(example)
    needs(here, words, request)
    run(here, words)


def blocks(page: Path) -> list[tuple[str, bool]]:
    """Return a page's console commands, and whether an error follows in the page."""
    found = []
    for block in fences(page, "console"):
        lines = block.replace("\\\n", " ").splitlines()
        for number, line in enumerate(lines):
            if line.startswith("$ "):
                refused = any(
                    after.startswith("error:") for after in lines[number + 1 : number + 2]
                )
                found.append((line[2:], refused))
    return found


PAGES_WITH_COMMANDS = [
    pytest.param(page, id=page_name(page), marks=[pytest.mark.slow] * (page_name(page) == SLOW))
    for page in PAGES
    if blocks(page) and page_name(page) not in TESTED_ELSEWHERE
]


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS)
def test_console_blocks_of_a_page_run(world: World, page, tmp_path, request):
    here = world.copy(tmp_path)
    for line, refused in blocks(page):
        if setting := re.search(r"# .*with ([\w.]+): (\w+)", line):
            set_params(here.root / "params.yaml", {setting[1]: setting[2]})
        if any(re.match(pattern, line) for pattern in ELSEWHERE):
            continue
        for words in split_commands(here.words(line)):
            needs(here, words, request)
            run(here, words, refused)


def test_examples_and_pages_are_found():
    assert len(EXAMPLES) > 25
    assert len(PAGES_WITH_COMMANDS) >= 8
