"""The page of `sgcp browse` in a browser."""

import io
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from browsing import visiting
from conftest import make_project
from PIL import Image
from scenes_at_hand import CLASSES, Folder

from sgcp.media.images import read_label

pytestmark = pytest.mark.integration

HOSTILE = "<script>alert(1)<b>'\".png"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A page of data by hand, with a hostile name among the images and the suspects."""
    project = make_project(tmp_path_factory.mktemp("browse"))
    folder = Folder(project.root)
    first, second, *others = folder.dataset.items
    image = first.image.with_name(HOSTILE)
    (folder.raw / first.image).rename(folder.raw / image)
    folder.index_again(replace(first, image=image), second, *others)
    folder.label("train", 0).unlink()
    folder.image("val", 0).unlink()
    project.ok("browse", "sample", "--images", "3")
    return project.root / "data/browse/sample/index.html"


@pytest.mark.parametrize(
    ("width", "dark"), [(1200, False), (1600, True), (390, False), (390, True)]
)
def test_page_opens_everywhere_without_a_flaw(page, width, dark):
    with visiting(page, width=width, dark=dark) as visit:
        visit.page.wait_for_selector(".chart svg")
        visit.page.evaluate(
            "document.querySelectorAll('details').forEach((details) => details.open = true)"
        )
        assert visit.errors == []
        assert visit.width_needed() <= width
        assert all(address.startswith(("file:", "data:")) for address in visit.requests)
        assert visit.flaws() == []
        assert visit.page.locator(".chart svg").count() == 4


def test_names_show_as_text_and_links_lead_to_the_images(page):
    with visiting(page) as visit:
        assert visit.page.get_by_role("link", name=HOSTILE).count() >= 1
        assert visit.page.locator("figure script:not([type])").count() == 0
        assert visit.errors == []
        addresses = visit.page.eval_on_selector_all(
            ".images figcaption a", "links => links.map((link) => link.getAttribute('href'))"
        )
    assert len(addresses) == 9 - 1  # a missing image is not shown
    assert all((page.parent / unquote(address)).is_file() for address in addresses)


def color_at_the_middle(visit) -> list[int]:
    """Return the RGB of a label's middle, as the screen shows it."""
    truth = visit.page.locator(".truth").last
    truth.scroll_into_view_if_needed()
    shot = Image.open(io.BytesIO(truth.screenshot())).convert("RGB")
    return list(shot.getpixel((shot.width // 2, shot.height // 2)))


def test_palette_and_slider_change_the_colours_by_keyboard_alone(page):
    with visiting(page) as visit:
        seen = [color_at_the_middle(visit)]
        for place, key in (("#palette-official", "ArrowRight"), ("#blend", "Home")):
            visit.page.focus(place)
            visit.page.keyboard.press(key)
            seen.append(color_at_the_middle(visit))
        assert len(set(map(tuple, seen))) == 3
        assert visit.page.locator(".label.official:visible").count() == 0


def test_pointer_names_the_class_below_it(page):
    labels = page.parents[3] / "data/prepared/sample/labels/val"
    with visiting(page) as visit:
        truth = visit.page.locator(".truth").last
        stem = truth.locator("xpath=ancestor::figure").locator("figcaption a").inner_text()
        label = read_label(labels / f"{stem}.png")
        truth.scroll_into_view_if_needed()
        box = truth.bounding_box()
        for train_id, name in [*((item.train_id, item.name) for item in CLASSES), (255, "ignored")]:
            y, x = np.argwhere(label == train_id)[-1] + 0.5
            at = box["x"] + x / label.shape[1] * box["width"]
            visit.page.mouse.move(at, box["y"] + y / label.shape[0] * box["height"])
            assert visit.page.inner_text("#class-name") == name
        assert visit.errors == []
