"""A strict type checker accepts a user's file, and rejects wrong uses of the public names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from test_docs_code import DOCUMENTED

pytestmark = pytest.mark.integration

USER = """
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sgcp
from numpy.typing import NDArray
from PIL import Image
from sgcp import InferenceOptions, Segmenter, SgcpError


def label(folder: Path, model: Segmenter) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    options = InferenceOptions(flip=True, scales=(1.0, 1.25), window=None)
    for path in sorted(folder.glob("*.jpg")):
        try:
            yield path.name, model.segment(path, input_size=(360, 480), options=options)
        except SgcpError as error:
            print(error)


model = sgcp.load("camvid", device="cpu", precision="fp32", callers=2, threads=None)
names: list[str] = [item.name for item in model.classes]
for name, labels in label(Path("photos"), model):
    print(name, names[int(labels.max())], sgcp.__version__)
one: NDArray[np.uint8] = model.segment(np.zeros((4, 4, 3), np.uint8))
other: NDArray[np.uint8] = model.segment(Image.new("RGB", (4, 4)))
several: list[NDArray[np.uint8]] = model.segment([Path("a.png"), Path("b.png")])
confidence: NDArray[np.float16] = model.predict("street.png").confidence
print(len(sgcp.read_dataset(Path("data/prepared/camvid")).split("val")))
"""
WRONG = {
    'sgcp.laod("camvid")': "has no attribute",
    "sgcp.load(3)": "incompatible type",
    'sgcp.load("camvid", presicion="fp32")': "Unexpected keyword",
    "sgcp.InferenceOptions(flip=True, scales=2.0)": "incompatible type",
    'text: str = sgcp.load("camvid").segment("street.png")': "Incompatible types in assignment",
    'sgcp.load("camvid").segment("street.png", input_size=360)': "No overload variant",
}


def check_types(folder: Path, code: str, *options: str) -> str:
    """Return what ``mypy --strict`` prints of a user's file; of this repository's own, nothing."""
    file = folder / "user.py"
    file.write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", *options, file.name],
        cwd=folder, env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("user")


@pytest.fixture
def in_checkout(folder, monkeypatch) -> Path:
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    return folder


def test_typical_use_is_accepted(in_checkout):
    names = [name.rpartition(".") for name in DOCUMENTED]
    everything = "\n".join(f"from {module} import {name} as n{i}" for i, (module, _, name)
                           in enumerate(names))  # fmt: skip
    assert len(names) > 30
    found = check_types(in_checkout, USER + everything, "--follow-imports=silent")
    assert found.startswith("Success"), found


def test_each_wrong_use_is_rejected(in_checkout):
    code = "\n".join(["import sgcp", *WRONG])
    found = check_types(in_checkout, code, "--follow-imports=silent").splitlines()
    for line, (use, message) in enumerate(WRONG.items(), 2):
        assert any(text.startswith(f"user.py:{line}:") and message in text for text in found), (
            use, found,
        )  # fmt: skip
