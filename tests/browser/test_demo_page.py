"""The page of ``sgcp demo`` in a browser: files, the camera, views, messages, and whom it asks."""

import signal

import numpy as np
import pytest
from browsing import visiting
from conftest import HANGING
from demos import serving
from networks import random_image, save_random
from PIL import Image
from videos import make_video

from sgcp.inference.engines.choice import onnx_of

pytestmark = pytest.mark.integration

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
# How many pixels of a part of the overlay are painted, and the colour of the first of these.
PAINTED = """([left, right]) => {
  const canvas = document.getElementById("overlay");
  const { width, height } = canvas;
  const from = Math.round(left * width), count = Math.round((right - left) * width);
  const { data } = canvas.getContext("2d").getImageData(from, 0, count, height);
  let painted = 0;
  for (let place = 3; place < data.length; place += 4) painted += data[place] === 255;
  return [painted, ...data.slice(0, 3)];
}"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    model = save_random(folder)
    onnx_of(model)  # into the cache, so that the server need not import torch
    with serving(folder, "--max-seconds", "2", "--model", str(model)) as running:
        yield running
        assert running.interrupt(signal.SIGTERM)[0] == 0
        assert not running.files()


@pytest.fixture
def street(tmp_path):
    path = tmp_path / "street.png"
    Image.fromarray(random_image(60, 80)).save(path)
    return path


def drop(page, path):
    page.locator("#file").set_input_files(path)


def wait_for(page, text, where="#facts"):
    page.locator(where, has_text=text).wait_for(timeout=1000 * HANGING)


def slide(page, name, value):
    page.get_by_label(name).fill(str(value))


def painted(page, left=0.0, right=1.0):
    return page.evaluate(PAINTED, [left, right])


def downloaded(page, name):
    with page.expect_download() as download:
        page.get_by_role("button", name=name).click()
    return download.value.suggested_filename, Image.open(download.value.path())


def check_manners(visit, demo):
    """No errors, nobody else asked. A page ends its own requests, for newer ones."""
    aborted = f"failed: net::ERR_ABORTED {demo.address}label?"
    assert [error for error in visit.errors if not error.startswith(aborted)] == []
    assert not [address for address in visit.requests
                if not address.startswith((demo.address, "data:", "blob:"))]  # fmt: skip


def test_images_are_labelled_and_broken_ones_named(demo, street, tmp_path):
    broken = tmp_path / "broken<b>.png"
    broken.write_bytes(street.read_bytes()[:2000])
    with visiting(demo.address) as visit:
        page = visit.page
        assert not visit.flaws()
        drop(page, street)
        wait_for(page, "80 x 60 pixels")
        assert " ms" in page.inner_text("#facts")
        page.locator("#cancel").wait_for(state="hidden")
        assert not visit.flaws()

        # `auto` may have taken either: the other one is waited for.
        engine = "openvino" if "onnxruntime" in page.inner_text("#facts") else "onnxruntime"
        page.get_by_label("Engine").select_option(engine)
        wait_for(page, f"{engine}, ")
        page.get_by_label("Average over the mirrored image").check()
        page.get_by_label("Scales averaged").select_option("0.75, 1")
        wait_for(page, "80 x 60 pixels")

        drop(page, broken)
        wait_for(page, "damaged", "#status")
        said = page.inner_text("#status")
        assert said.startswith("That did not work: broken<b>.png: ")
        assert str(demo.temporary) not in said
        assert painted(page)[0] == 80 * 60  # the last result stays
        drop(page, street)
        page.locator("#status:not(.error)").wait_for(state="attached")
        check_manners(visit, demo)


def test_label_map_and_view_are_saved_as_they_are_shown(demo, street):
    with visiting(demo.address) as visit:
        page = visit.page
        drop(page, street)
        wait_for(page, "80 x 60 pixels")
        name, labels = downloaded(page, "Download the label map")
        assert (name, labels.mode, labels.size) == ("street_labels.png", "L", (80, 60))
        slide(page, "Opacity", 100)
        name, view = downloaded(page, "Download this view")
        assert name == "street_overlay.png"
        shown = np.asarray(view.convert("RGB"))
        ids = np.asarray(labels)
        colors = page.locator("#legend .swatch").evaluate_all(
            "all => all.map(one => one.style.background.match(/\\d+/g).map(Number))"
        )
        assert np.array_equal(shown, np.array(colors, np.uint8)[ids])
        slide(page, "Opacity", 0)
        _, view = downloaded(page, "Download this view")
        assert np.array_equal(np.asarray(view.convert("RGB")), np.asarray(Image.open(street)))
        check_manners(visit, demo)


def test_classes_confidence_and_the_line_change_what_is_shown(demo, street):
    with visiting(demo.address) as visit:
        page = visit.page
        drop(page, street)
        wait_for(page, "80 x 60 pixels")
        shares = page.locator("#legend li").all_inner_texts()
        largest = max(shares, key=lambda text: float(text.split()[-2]))
        assert largest.split()[0].isdecimal()  # its train id
        box = page.locator("#legend li", has_text=largest.split()[1]).get_by_role("checkbox")
        box.uncheck()
        share = float(largest.split()[-2]) / 100
        assert painted(page)[0] == pytest.approx((1 - share) * 80 * 60, abs=3)
        page.get_by_role("button", name="None").click()
        assert painted(page)[0] == 0
        page.get_by_role("button", name="All").click()
        whole = painted(page)
        assert whole[0] == 80 * 60

        page.get_by_label("Confidence", exact=True).check()
        assert painted(page)[1:] != whole[1:]
        assert not visit.flaws()
        slide(page, "Hide pixels of less confidence", 100)
        assert painted(page)[0] < 80 * 60
        slide(page, "Hide pixels of less confidence", 0)

        page.locator("#stage").scroll_into_view_if_needed()
        stage = page.locator("#stage").bounding_box()
        page.mouse.move(stage["x"] + 5, stage["y"] + 20)
        page.mouse.down()
        page.mouse.move(stage["x"] + stage["width"] / 4, stage["y"] + 20)
        page.mouse.up()
        place = float(page.get_by_label("Line between image and labels").input_value())
        assert place == pytest.approx(25, abs=1)
        clipped = page.locator("#overlay").evaluate("one => getComputedStyle(one).clipPath")
        assert clipped == f"inset(0px 0px 0px {place:g}%)"
        check_manners(visit, demo)


def test_an_image_that_browsers_cannot_open_is_shown_upright(demo, street, tmp_path):
    turned = Image.open(street).rotate(180)
    turned.getexif()[0x112] = 3  # shown turned by 180 degrees
    turned.save(tmp_path / "street.tif", exif=turned.getexif())
    with visiting(demo.address) as visit:
        drop(visit.page, tmp_path / "street.tif")
        wait_for(visit.page, "80 x 60 pixels")
        slide(visit.page, "Opacity", 0)
        _, view = downloaded(visit.page, "Download this view")
        assert np.array_equal(np.asarray(view.convert("RGB")), np.asarray(Image.open(street)))


def test_the_camera_is_labelled_until_it_is_stopped(demo):
    with visiting(demo.address, arguments=CAMERA) as visit:
        page = visit.page
        page.get_by_role("button", name="Start the camera").click()
        wait_for(page, "frames/s")
        assert not visit.flaws()
        assert painted(page)[0] > 0
        page.get_by_role("button", name="Stop the camera").click()
        page.get_by_role("button", name="Start the camera").wait_for()
        page.wait_for_timeout(500)
        asked = len(visit.requests)
        page.wait_for_timeout(500)
        assert len(visit.requests) == asked
        assert page.inner_text("#status") == ""


def test_a_server_that_ended_is_named(street, tmp_path):
    with serving(tmp_path) as ending, visiting(ending.address) as visit:
        visit.page.locator("#model option").first.wait_for(state="attached")
        ending.interrupt()
        drop(visit.page, street)
        wait_for(visit.page, "Start sgcp demo again", "#status")


def test_videos_are_labelled_on_a_phone_in_the_dark(demo, tmp_path):
    long, short = tmp_path / "long.mp4", tmp_path / "short.mp4"
    make_video(long, 4, times=[0, 12800, 25600, 64000])
    make_video(short, 6)
    with visiting(demo.address, 390, 844, dark=True) as visit:
        page = visit.page
        drop(page, long)
        wait_for(page, "--max-seconds", "#status")
        assert not visit.flaws()
        drop(page, short)
        wait_for(page, "frames/s")
        assert "Frames\n6" in page.inner_text("#facts")
        assert page.locator("video").evaluate("one => one.src").startswith("blob:")
        page.locator("video").evaluate("one => one.play()")
        assert not visit.flaws()
        assert visit.width_needed() <= 390
        check_manners(visit, demo)
