"""The page of `sgcp segment --live` in a browser."""

import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from browsing import visiting
from conftest import HANGING
from playwright.sync_api import expect

from sgcp.datasets.classes import camvid_classes
from sgcp.tools.live_page import LivePage

pytestmark = pytest.mark.integration


@contextmanager
def playing(ask=dict):
    """A page whose image turns from dark to bright."""
    with LivePage("<b>camera:0", camvid_classes(), 0, ask) as page:
        stop = threading.Event()

        def show():
            for number in range(10**6):
                if stop.is_set():
                    return
                level = min(250, 10 * number)
                status = {"frames": number + 1, "frames_per_second": 20.0, "latency_ms": 31.5,
                          "dropped": 7}  # fmt: skip
                page.show(np.full((48, 64, 3), level, np.uint8), status)
                time.sleep(0.05)

        thread = threading.Thread(target=show)
        thread.start()
        try:
            yield page
        finally:
            stop.set()
            thread.join()


BRIGHTNESS = """() => {
  const canvas = document.createElement("canvas"), image = document.querySelector("img");
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  if (!canvas.width) return -1;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return context.getImageData(20, 20, 1, 1).data[0];
}"""


@pytest.mark.parametrize(
    ("width", "dark"), [(1200, False), (1200, True), (390, False), (390, True)]
)
def test_page_shows_the_newest_image_its_numbers_and_the_legend(width, dark):
    with playing() as page, visiting(page.address, width=width, dark=dark) as visit:
        # wait_for_function evaluates text in the page, which its policy forbids.
        end = time.monotonic() + HANGING
        while visit.page.evaluate(BRIGHTNESS) <= 200:  # it moves
            assert time.monotonic() < end
        shown = expect(visit.page.locator("#status"))
        shown.to_contain_text("20 frames/s, latency 31.5 ms, 7 dropped")
        assert visit.page.inner_text("h1") == "<b>camera:0"
        assert visit.page.locator(".legend li").all_inner_texts() == [
            item.name for item in camvid_classes()
        ]
        assert visit.errors == []
        assert visit.width_needed() <= width
        assert visit.flaws() == []
        assert all(address.startswith((page.address, "data:")) for address in visit.requests)


@pytest.mark.parametrize(
    ("seconds", "reconnecting", "line"),
    [
        (1.9, False, "20 frames/s, latency 31.5 ms"),
        (4.6, False, "No frame for 5 s"),
        (12.2, True, "No frame for 12 s, reconnecting"),
    ],
)
def test_page_says_for_how_long_there_is_no_frame(seconds, reconnecting, line):
    now = {"seconds_since_frame": seconds, "reconnecting": reconnecting}
    with playing(lambda: now) as page, visiting(page.address) as visit:
        expect(visit.page.locator("#status")).to_contain_text(f"{line}, 7 dropped, ")
