"""The report as a reader meets it: drawn, moved and coloured in a browser."""

import json
import shutil

import pytest
from browsing import visiting
from conftest import Project

from sgcp.core.machine import processor_name, usable_cores

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def path(_trained, tmp_path_factory):
    """A page with an earlier run beside it, and speed as `sgcp benchmark` writes it."""
    project = Project(tmp_path_factory.mktemp("reported") / "project")
    shutil.copytree(_trained.root, project.root)
    metrics = project.root / "metrics/sample"
    other = json.loads((metrics / "validate.json").read_text())
    (project.root / "earlier.json").write_text(json.dumps(other))
    task = {"p50_ms": 1.5, "p95_ms": 2.0, "images_per_second": 500.0, "runs": 3}
    row = {"network": "SGCPNet", "engine": "torch", "precision": "fp32", "device": "cpu",
           "tasks": {"network": task}, "peak_mib": {}, "parameters": 607826,
           "gflop": 6.5}  # fmt: skip
    speed = {"model_sha256": other["model"]["sha256"], "size": [64, 128], "threads": 2,
             "device": "cpu", "processor": f"{usable_cores()} cores of {processor_name()}",
             "tasks": {"network": "scores"}, "rows": [row]}  # fmt: skip
    (metrics / "speed.json").write_text(json.dumps(speed))
    project.ok("report", "--against", "earlier.json")
    return project.root / "data/reports/sample/report.html"


def drawn(visit):
    """Wait until charts and images are there."""
    visit.page.wait_for_function(
        "[...document.querySelectorAll('.chart')].every((place) => place.querySelector('svg'))"
    )
    visit.page.wait_for_function("viewers.every((viewer) => viewer.views.errors)")
    return visit


def image(visit) -> str:
    """Return the pixels of the first viewer, once what was asked for is painted."""
    return visit.page.evaluate(
        "new Promise((resolve) => setTimeout(() => "
        "resolve(document.querySelector('.viewer canvas').toDataURL()), 50))"
    )


@pytest.mark.parametrize(
    ("width", "dark"), [(1600, False), (390, False), (390, True), (1200, True)]
)
def test_page_draws_everything_fits_and_is_accessible(path, width, dark):
    with visiting(path, width=width, dark=dark) as visit:
        drawn(visit)
        assert visit.page.locator(".chart svg").count() == 7
        assert visit.page.locator(".viewer").count() == 2
        assert visit.width_needed() <= width
        assert visit.flaws() == []
        assert visit.errors == []
        outside = [a for a in visit.requests if not a.startswith(("file:", "data:", "blob:"))]
        assert not outside
        assert visit.page.get_by_text("607,826").count() == 1


def test_line_moves_by_keyboard_and_shows_more_of_the_left_side(path):
    with visiting(path) as visit:
        drawn(visit)
        line = visit.page.locator(".viewer input[type=range]").first
        line.focus()
        seen = [image(visit)]
        for key in ("Home", "End", "ArrowLeft"):
            line.press(key)
            seen.append(image(visit))
        assert len(set(seen)) == 4
        line.press("End")
        visit.page.locator("#legend [name=left]:checked").focus()
        visit.page.keyboard.press("ArrowRight")  # from the image to the truth
        assert image(visit) not in seen


def test_line_follows_the_pointer_on_the_image(path):
    with visiting(path) as visit:
        drawn(visit)
        canvas = visit.page.locator(".viewer canvas").first
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        line = visit.page.locator(".viewer input[type=range]").first
        visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
        visit.page.mouse.down()
        visit.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 3)
        visit.page.mouse.up()
        assert abs(float(line.input_value()) - 25) < 3


def test_one_control_sets_the_sides_of_all_images(path):
    with visiting(path) as visit:
        drawn(visit)
        sides = "[...document.querySelectorAll('.viewer canvas')].map((one) => one.toDataURL())"
        before = visit.page.evaluate(sides)
        visit.page.locator("#legend [name=right][value=errors]").check()
        visit.page.wait_for_timeout(50)
        after = visit.page.evaluate(sides)
        assert len(before) == 2
        assert all(one != other for one, other in zip(before, after, strict=True))


def test_classes_switch_off_and_on_again_and_palettes_change_colours(path):
    with visiting(path) as visit:
        drawn(visit)
        before = image(visit)
        button = visit.page.get_by_role("button", name="road")
        button.press("Enter")
        assert button.get_attribute("aria-pressed") == "false"
        without = image(visit)
        assert without != before
        button.press("Enter")
        assert image(visit) == before
        visit.page.get_by_label("for the colour-blind").check()
        safe = image(visit)
        assert safe not in (before, without)
        visit.page.get_by_role("button", name="no class").click()
        assert image(visit) not in (safe, before)
