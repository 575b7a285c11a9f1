"""The wheel: its base, alone in an empty environment, does what README.md says, without torch."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from demos import serving
from networks import random_image, save_random
from pages import fences
from PIL import Image
from submissions import GOOD, SIZE, write_zip
from test_types import USER, check_types
from videos import make_video
from wheels import build_wheel

pytestmark = pytest.mark.integration

LARGEST_BASE = 400 * 10**6  # bytes, with what a new environment contains
LACKS = ("torch", "dvc", "pandas", "onnx", "cityscapesscripts", "imagecodecs", "av")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


class Environment:
    """A virtual environment, and an empty folder in which its programs run."""

    def __init__(self, folder: Path) -> None:
        self.programs, self.desk = folder / "venv" / "bin", folder / "desk"
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        self.empty = self.size()
        self.desk.mkdir()

    def run(self, *words: object, code: int = 0) -> str:
        """Run one of its programs; return what it printed."""
        hidden = ("PYTHONPATH", "SGCP_CACHE")
        variables = {key: value for key, value in os.environ.items() if key not in hidden}
        done = subprocess.run(
            [self.programs / str(words[0]), *map(str, words[1:])],
            cwd=self.desk, env=variables | {"XDG_CACHE_HOME": str(self.desk.parent / "cache")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def install(self, *what: object) -> None:
        self.run("pip", "install", "-q", "-c", ROOT / "constraints.txt", *what)

    def size(self) -> int:
        """Return the bytes on disk, as ``du`` counts them."""
        files = self.programs.parent.rglob("*")
        return sum(file.lstat().st_blocks * 512 for file in files)


@pytest.fixture(scope="module")
def base(wheel, tmp_path_factory) -> Environment:
    """The wheel and what it requires; ``street.png`` lies on the desk."""
    base = Environment(tmp_path_factory.mktemp("base"))
    try:
        base.install("typing-extensions")
    except AssertionError as error:
        pytest.skip(f"no package registry: {str(error).splitlines()[-1][:200]}")
    base.install(wheel)
    Image.fromarray(random_image(72, 96)).save(base.desk / "street.png")
    return base


def test_base_is_small(base, capsys):
    size = base.size()
    with capsys.disabled():
        print(f"\nbase: {size / 1e6:.0f} MB, {base.empty / 1e6:.0f} of them an empty environment's")
    assert size <= LARGEST_BASE


def test_base_lacks_what_only_the_pipeline_needs(base):
    find = "import importlib.util as u, sys; print([m for m in sys.argv[1:] if u.find_spec(m)])"
    assert base.run("python", "-c", find, *LACKS) == "[]\n"
    assert base.run("sgcp", "--version") == "sgcp 0.1.0\n"


def test_images_are_labelled_offline_by_the_graph_in_the_package(base):
    with Image.open(base.desk / "street.png") as image:
        image.save(base.desk / "street.jpg")
    base.run("sgcp", "segment", "street.jpg", "--out", "made", "--device", "auto")
    assert sorted(path.name for path in (base.desk / "made").glob("*.png")) == [
        "street_labels.png", "street_overlay.png",
    ]  # fmt: skip
    assert not (base.desk.parent / "cache/sgcp/graphs").exists()


@pytest.mark.parametrize("snippet", fences(ROOT / "README.md", "python"))
def test_python_of_the_readme_runs(base, snippet):
    assert base.run("python", "-c", snippet).startswith("['")


def test_strict_type_checker_reads_the_installed_types(base):
    python = base.programs / "python"
    found = check_types(base.desk, USER, "--python-executable", str(python))
    assert found.startswith("Success"), found


def test_submissions_are_checked(base):
    write_zip(base.desk / "good.zip", GOOD)
    for name in GOOD:
        path = base.desk / "leftImg8bit/test" / name.split("_")[0]
        path.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.zeros((*SIZE, 3), np.uint8))
        image.save(path / name.replace(".png", "_leftImg8bit.png"))
    text = base.run("sgcp", "check-submission", "good.zip", "--images", "leftImg8bit/test", code=1)
    assert "1 problem: the server" in text  # 3 images are not 1525
    assert "Image count" in text or "1525" in text


def test_project_and_report_need_no_extra(base):
    text = base.run("sgcp", "init", "streets")
    assert "DVC is not installed, and the stages need it: pip install 'sgcpnet[pipeline]'" in text
    assert (base.desk / "streets/pipeline/splits/camvid/train.txt").is_file()
    base.run("sgcp", "doctor", "--json", "report.json")
    report = json.loads((base.desk / "report.json").read_text())
    assert {"openvino fp32", "openvino int8"} <= report["engines"]["milliseconds"].keys()
    assert report["extras"]["pipeline"] == "not installed: pip install 'sgcpnet[pipeline]'"


def test_what_needs_an_extra_says_so_in_one_line(base):
    save_random(base.desk)
    text = base.run("sgcp", "segment", "street.png", "--model", "model.safetensors", code=1)
    assert text.startswith("error: model.safetensors: needs torch to become a graph")
    assert "`pip install 'sgcpnet[pipeline]'`" in text
    assert text.count("\n") == 1
    text = base.run("sgcp", "import-checkpoint", "model_best.pth.tar", "out", code=1)
    assert text == (
        "error: this command needs torch, which is not installed. Run `pip install "
        "'sgcpnet[pipeline]'`\n"
    )


def test_video_extra_labels_videos(base, wheel):
    make_video(base.desk / "drive.mp4")
    needed = "error: drive.mp4 needs av, which is not installed. Run `pip install 'sgcpnet[video]'`"
    assert base.run("sgcp", "segment", "drive.mp4", code=1) == f"{needed}\n"
    base.install(f"{wheel}[video]")
    assert "1 of 1 videos (12 frames)" in base.run("sgcp", "segment", "drive.mp4")
    assert (base.desk / "segmented/drive_overlay.mp4").is_file()


def test_demo_extra_serves_the_page(base, wheel, capsys):
    before = base.size()
    base.install(f"{wheel}[demo]")
    with capsys.disabled():
        print(f"\nsgcpnet[demo]: {(base.size() - before) / 1e6:.0f} MB more than sgcpnet[video]")
    image = (base.desk / "street.png").read_bytes()
    with serving(base.desk, installed=base.programs / "python") as demo:
        assert b"demo.js" in demo.ask("/")[1]
        assert demo.ask("/demo.js")[0] == 200
        answer, parts = demo.label("street.png", image, confidence="true")
        assert answer["facts"]["Image"] == "96 x 72 pixels"
        assert list(parts) == ["labels", "image", "confidence"]


def test_wheel_carries_weights_graphs_and_pages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    folders = (ROOT / "sgcp/weights", ROOT / "sgcp/reporting/pages")
    files = {str(path.relative_to(ROOT)) for folder in folders for path in folder.iterdir()}
    assert files <= names
    assert "sgcp/weights/camvid.onnx" in files
