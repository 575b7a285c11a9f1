"""The page of `--live`: who is answered, slow and silent viewers, and bounded memory."""

import http.client
import io
import json
import socket
import time
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import HANGING
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import SemanticClass
from sgcp.tools import live_page
from sgcp.tools.live_page import LivePage

CLASSES = (SemanticClass(0, 0, "road <b>", (128, 64, 128)), SemanticClass(1, 1, "sky", (1, 2, 3)))


def image(level, side=64):
    return np.full((side, side, 3), level, np.uint8)


@pytest.fixture
def page():
    with LivePage("camera:0 <script>", CLASSES, 0) as page:
        yield page


def port(page):
    return int(page.address.rstrip("/").rpartition(":")[2])


def get(page, path="/", method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port(page), timeout=HANGING)
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request(method, path, headers=named)
    return connection.getresponse()


def parts(response):
    """Yield the images of a stream."""
    assert response.fp.readline() == b"--frame\r\n"
    while response.fp.readline():  # its type
        length = int(response.fp.readline().partition(b": ")[2])
        response.fp.readline()
        yield np.array(Image.open(io.BytesIO(response.fp.read(length))))
        assert response.fp.read(11) == b"\r\n--frame\r\n"


def test_page_has_its_legend_escaped_and_its_numbers(page):
    text = get(page).read().decode()
    assert "camera:0 &lt;script&gt;" in text
    assert 'rgb(128, 64, 128)"></span>road &lt;b&gt;</li>' in text
    page.show(image(9), {"frames": 3, "dropped": 1})
    assert json.loads(get(page, "/status").read()) == {"frames": 3, "dropped": 1}


def test_numbers_of_now_are_asked_for_at_each_request():
    seconds = iter([0.1, 5.2])
    with LivePage("x", CLASSES, 0, lambda: {"seconds_since_frame": next(seconds)}) as page:
        page.show(image(1), {"frames": 3})
        found = [json.loads(get(page, "/status").read()) for _ in range(2)]
    assert found == [{"frames": 3, "seconds_since_frame": s} for s in (0.1, 5.2)]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {"Host": "evil.example"}, 421),
        ("/stream", {"Host": "192.168.1.7:80"}, 421),
        ("/", {"Host": "localhost:1"}, 200),
        ("/stream", {"Sec_Fetch_Site": "cross-site"}, 403),
        ("/status", {"Origin": "http://evil.example"}, 403),
        ("/", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 200),
        *((path, {}, 404) for path in ("/../etc/passwd", "/x", "/status/", "/?", "/stream2")),
    ],
)
def test_only_the_page_itself_is_answered(page, path, headers, status):
    response = get(page, path, **headers)
    assert response.status == status
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert response.headers["cross-origin-resource-policy"] == "same-origin"


def test_nothing_can_be_sent_to_it(page):
    assert get(page, method="POST").status == 501
    assert page._listening.getsockname()[0] == "127.0.0.1"


def test_each_viewer_ends_with_the_newest_image(page):
    page.show(image(10), {})
    first, second = (parts(get(page, "/stream")) for _ in range(2))
    assert abs(int(next(first).mean()) - 10) < 3
    for level in (50, 90, 130, 200):
        page.show(image(level), {})
    for viewer in (first, second):
        levels = []
        while not levels or levels[-1] < 190:
            levels.append(int(next(viewer).mean()))
        assert levels == sorted(levels)


def test_an_image_is_encoded_once_and_only_for_viewers(page, monkeypatch):
    saved = []
    save = Image.Image.save
    monkeypatch.setattr(Image.Image, "save", lambda *a, **k: (saved.append(1), save(*a, **k)))
    page.show(image(1), {})
    page.show(image(2), {})
    assert saved == []
    viewers = [parts(get(page, "/stream")) for _ in range(3)]
    for viewer in viewers:
        next(viewer)
    assert len(saved) == 1


@contextmanager
def silent_viewer(page):
    with socket.create_connection(("127.0.0.1", port(page))) as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        viewer.sendall(b"GET /stream HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        yield viewer


def test_viewer_that_never_reads_is_left_and_delays_nobody(monkeypatch):
    monkeypatch.setattr(live_page._Handler, "timeout", 0.5)
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    with LivePage("x", CLASSES, 0) as page, silent_viewer(page):
        seen = parts(get(page, "/stream"))
        for _ in range(20):
            page.show(noise, {})
            next(seen)
        end = time.monotonic() + HANGING
        while page._server.free._value < live_page.VIEWERS - 1 and time.monotonic() < end:
            page.show(noise, {})
            next(seen)
        assert page._server.free._value == live_page.VIEWERS - 1  # the other one reads on


def test_connections_are_bounded(monkeypatch):
    monkeypatch.setattr(live_page, "VIEWERS", 2)
    with LivePage("x", CLASSES, 0) as page, silent_viewer(page), silent_viewer(page):
        while page._server.free._value:
            time.sleep(0.01)
        with pytest.raises((http.client.HTTPException, OSError)):
            get(page)


def test_viewers_end_with_the_page():
    with LivePage("x", CLASSES, 0) as page:
        page.show(image(1), {})
        seen = parts(get(page, "/stream"))
        next(seen)
    assert list(seen) == []


def test_taken_port_is_a_message(page):
    with pytest.raises(SgcpError, match=r"--port: \d+ is taken by another program"):
        LivePage("x", CLASSES, port(page))
