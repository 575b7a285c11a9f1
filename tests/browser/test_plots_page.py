"""`dvc plots diff` between two real runs: every chart is drawn, and says which run is which."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import vl_convert
from browsing import visiting
from conftest import ROOT

from sgcp.media.images import write_png

pytestmark = pytest.mark.integration

RUNS = {"first": "42", "second": "43"}  # seeds of the sample, whose results are in git
VEGA_LITE = "5.8"  # the oldest that there is here; DVC's page takes 5.2
CHARTS = 6  # loss, mIoU, pixel accuracy, learning rate, classes, confusion


def read_page(text: str) -> list[dict]:
    """Return the specifications on a page of DVC's."""
    decoder = json.JSONDecoder()
    return [decoder.raw_decode(text, found.end())[0] for found in re.finditer(r"var spec = ", text)]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """DVC's page of two commits, with Vega put in where it names a server."""
    root = tmp_path_factory.mktemp("plots") / "project"
    shutil.copytree(ROOT / "pipeline", root / "pipeline")
    shutil.copytree(ROOT / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, root)

    def call(*command: str) -> None:
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False,
                              env=os.environ | {"PATH": programs})  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    call("git", "init", "-q", "-b", "main")
    for name, seed in RUNS.items():
        shutil.copytree(ROOT / "metrics/sample/seeds" / seed, root / "metrics/sample",
                        dirs_exist_ok=True, copy_function=shutil.copyfile)  # fmt: skip
        image = np.full((64, 128, 3), int(seed), dtype=np.uint8)
        write_png(root / "data/panels/sample/street.png", image)
        call("git", "add", "-A")
        call("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", name)
        call("git", "tag", name)
    call("dvc", "plots", "diff", *RUNS, "-o", "out")
    path = root / "out/index.html"
    programs = vl_convert.javascript_bundle(vl_version=VEGA_LITE).replace("</script", r"<\/script")
    text = re.sub(r'<script[^>]*src="https:[^>]*>\s*</script>', "", path.read_text())
    path.write_text(text.replace("<head>", f"<head><script>{programs}</script>", 1))
    return path


def test_templates_compile_with_the_numbers_of_two_runs(page):
    specifications = read_page(page.read_text())
    assert len(specifications) == CHARTS
    for specification in specifications:
        text = json.dumps(specification)
        assert "DVC_METRIC" not in text
        svg = vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE)
        for run in RUNS:
            assert run in svg, specification["title"]
        assert "undefined" not in svg
        assert "NaN" not in svg


def test_a_run_has_one_colour_in_every_chart(page):
    scales = [
        json.dumps(node["scale"], sort_keys=True)
        for specification in read_page(page.read_text())
        for node in walk(specification)
        if node.get("field") == "rev" and "range" in (node.get("scale") or {})
    ]
    assert len(scales) == CHARTS - 1  # the matrices stand under the names of their runs
    assert len(set(scales)) == 1


def test_titles_name_the_curve_and_shares_are_in_per_cent(page):
    drawn = [vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE)
             for specification in read_page(page.read_text())]  # fmt: skip
    for title, percent in {
        "Training loss, sample": False,
        "mIoU while training, sample": True,
        "Pixel accuracy while training, sample": True,
        "Learning rate, sample": False,
        "IoU per class, sample": True,
    }.items():
        (svg,) = (svg for svg in drawn if f">{title}<" in svg)
        assert ("%<" in svg) == percent, title


def walk(node):
    """Yield every object of nested JSON."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from walk(child)


def test_page_draws_every_chart(page):
    with visiting(page, width=1600) as visit:
        visit.page.wait_for_function(
            f"document.querySelectorAll('canvas, svg.marks').length >= {CHARTS}"
        )
        panels = visit.page.locator("img")
        assert panels.count() == len(RUNS)
        assert {panels.nth(n).evaluate("image => image.naturalWidth") for n in range(2)} == {128}
        assert visit.errors == []
        assert not [address for address in visit.requests if address.startswith("http")]
        if folder := os.environ.get("SGCP_SCREENSHOTS"):
            visit.page.screenshot(path=f"{folder}/plots.png", full_page=True)
