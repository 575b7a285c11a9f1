"""The page of ``sgcp demo`` in a browser: dropped files, pickers, messages, and whom it asks."""

import signal

import pytest
from browsing import visiting
from demos import serving
from networks import random_image, save_random
from PIL import Image
from videos import make_video

from sgcp.inference.engines.choice import onnx_of

pytestmark = pytest.mark.integration

WAIT = 240_000  # milliseconds; on a machine that is not busy everything takes a few thousand


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    model = save_random(folder)
    onnx_of(model)  # into the cache, so that the server need not import torch
    with serving(folder, "--max-seconds", "2", "--model", str(model)) as running:
        yield running
        assert running.interrupt(signal.SIGTERM)[0] == 0
        assert not running.files()


def drop(page, path):
    page.locator("input[type=file]").set_input_files(path)


def wait_for(page, text, where="#facts"):
    page.wait_for_function(
        f"document.querySelector('{where}')?.innerText.includes('{text}')", timeout=WAIT
    )


def check_manners(visit, demo):
    """No errors, nobody else asked. A page closes its own stream of events when it has the last."""
    closed = f"failed: {demo.address}gradio_api/queue/data"
    assert not [error for error in visit.errors if not error.startswith(closed)]
    assert not [address for address in visit.requests
                if not address.startswith((demo.address, "data:", "blob:"))]  # fmt: skip


def test_images_are_labelled_and_broken_ones_named(demo, tmp_path):
    street, broken = tmp_path / "street.png", tmp_path / "broken<b>.png"
    Image.fromarray(random_image(60, 80)).save(street)
    broken.write_bytes(street.read_bytes()[:2000])
    with visiting(demo.address) as visit:
        page = visit.page
        page.wait_for_selector("h1", timeout=WAIT)
        assert not visit.flaws()
        drop(page, street)
        wait_for(page, "80 x 60 pixels")
        assert " ms" in page.locator("#facts").inner_text()
        assert "%" in page.locator("#legend").inner_text()
        shown = page.get_by_alt_text("The labelled image")
        overlay = shown.get_attribute("src")
        assert not visit.flaws()

        # `auto` may have taken either: the other one is waited for.
        facts = page.locator("#facts").inner_text()
        engine = "openvino" if "onnxruntime" in facts else "onnxruntime"
        page.get_by_label(engine).check()
        wait_for(page, f"{engine}, ")
        page.get_by_label("Labels", exact=True).check()
        page.wait_for_function(
            "before => document.querySelector('img[alt^=The]').src != before", arg=overlay,
            timeout=WAIT,
        )  # fmt: skip
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the label map").click()
        assert download.value.suggested_filename == "street_labels.png"
        labels = Image.open(download.value.path())
        assert (labels.mode, labels.size) == ("L", (80, 60))

        page.get_by_label("Clear").first.click()
        drop(page, broken)
        said = page.locator(".toast-body")
        said.wait_for(timeout=WAIT)
        assert "damaged" in said.inner_text()
        assert "Traceback" not in said.inner_text()
        assert str(demo.temporary) not in said.inner_text()
        check_manners(visit, demo)


def test_videos_are_labelled_on_a_phone_in_the_dark(demo, tmp_path):
    long, short = tmp_path / "long.mp4", tmp_path / "short.mp4"
    make_video(long, 4, times=[0, 12800, 25600, 64000])
    make_video(short, 6)
    with visiting(demo.address, 390, 844, dark=True) as visit:
        page = visit.page
        page.wait_for_selector("h1", timeout=WAIT)
        drop(page, long)
        said = page.locator(".toast-body")
        said.wait_for(timeout=WAIT)
        assert "--max-seconds" in said.inner_text()
        page.locator(".toast-close").click()  # Gradio's own: a button within a button
        said.wait_for(state="detached", timeout=WAIT)

        page.get_by_label("Clear").first.click()
        drop(page, short)
        wait_for(page, "frames/s")
        wait_for(page, "Whole")
        assert "6" in page.locator("#facts").inner_text()
        assert page.locator("video").get_attribute("src").endswith("short_overlay.mp4")
        assert not visit.flaws()
        assert visit.width_needed() <= 390
        check_manners(visit, demo)
