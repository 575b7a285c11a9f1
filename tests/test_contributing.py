"""CONTRIBUTING.md: its network, loss, dataset and engine work as the page shows them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, TINY, set_params
from pages import add_settings, fences, section
from PIL import Image

pytestmark = pytest.mark.integration

PAGE = ROOT / "CONTRIBUTING.md"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of what the commands need, with tiny settings."""
    for folder in ("sgcp", "pipeline"):
        shutil.copytree(ROOT / folder, tmp_path / "project" / folder)
    return tmp_path / "project"


def follow(root: Path, title: str) -> str:
    """Do what a section of the page shows; return what its commands print."""
    text = section(PAGE, title)
    for block in fences(text, "python"):
        (root / file_of(block)).write_text(block)
    for block in fences(text, "diff"):
        apply(root, block)
    params = root / "params.yaml"
    shutil.copy(ROOT / "params.yaml", params)
    for block in fences(text, "yaml"):
        if block.startswith("# "):
            (root / file_of(block)).write_text(block)
        else:
            add_settings(params, block)
    set_params(params, TINY)
    commands = [line.removeprefix("$ ") for line in "".join(fences(text, "console")).splitlines()]
    if not any("download" in command for command in commands):
        commands = ["sgcp download sample", "sgcp prepare sample", *commands]
    return "".join(call(root, command.split()) for command in commands)


def file_of(block: str) -> str:
    return block.splitlines()[0].removeprefix("# ")


def apply(root: Path, changes: str) -> None:
    """Replace ``-`` lines by the ``+`` lines after them, in the file that a comment names."""
    path, old, new = root, "", ""
    for line in [*changes.splitlines(), "# end"]:
        if new and not line.startswith("+"):
            text = path.read_text()
            assert text.count(old) == 1, (path, old)
            path.write_text(text.replace(old, new.removesuffix("\n")))
            old = new = ""
        if line.startswith("#"):
            path = root / file_of(line)
        elif line.startswith("-"):
            old = line[1:]
        else:
            new += line[1:] + "\n"


def call(root: Path, command: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=root, env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def test_network_and_loss_of_the_page_go_through_the_pipeline(root):
    assert "sample 'val'" in follow(root, "Add a network and a loss")
    card = json.loads((root / "data/models/sample/model.json").read_text())
    assert card["architecture"] == "my_parts:tiny"


def test_dataset_of_the_page_goes_through_the_pipeline(root):
    random = np.random.default_rng(0)
    for number, split in enumerate(("train",) * 4 + ("val",) * 2 + ("test",)):
        folder = root.parent / "roads" / split
        folder.mkdir(parents=True, exist_ok=True)
        image = random.integers(0, 256, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")
        if split != "test":
            mask = np.where(image[..., 0] > 100, 255, 0).astype(np.uint8)
            Image.fromarray(mask).save(folder / f"{number}_mask.png")
    printed = follow(root, "Add a dataset")
    assert "4 train, 2 val, 1 test" in printed
    assert "road " in printed
    with Image.open(root / "data/predictions/roads/6.png") as prediction:
        assert set(np.unique(prediction)) <= {0, 1}


def test_engine_of_the_page_gives_the_labels_of_pytorch():
    names: dict[str, Any] = {}
    (code,) = fences(section(PAGE, "Add an engine"), "python")
    exec(code, names)
    assert names["same"].mean() > 0.9999
