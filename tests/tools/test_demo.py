"""``sgcp demo``: what it refuses, and how it begins and ends."""

import re
import socket
import stat
import time
from pathlib import Path

import forge
import pytest
from conftest import Project
from demos import serving
from networks import save_random
from PIL import Image
from videos import make_video

from sgcp.core.errors import SgcpError
from sgcp.demo.model_cache import ModelCache, offered_models

pytestmark = pytest.mark.integration

# Labelling takes far longer than anybody waits; it cannot be interrupted, like a network's run.
SLOW = """
import time
from pathlib import Path
from sgcp.cli import app
from sgcp.demo import media, model_cache

def label(*arguments):
    Path("begun").touch()
    time.sleep(300)

media.Job._label_image = label
model_cache.ModelCache.take = lambda *arguments: None
app()
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "--port: "),
        (["--max-megabytes", "0"], "--max-megabytes: "),
        (["--max-seconds", "0"], "--max-seconds: "),
        (["--max-seconds", "nan"], "--max-seconds: "),
        (["--model", "nobody"], "no model 'nobody'"),
        (["--model", "nowhere.onnx"], "nowhere.onnx: no such file"),
        (["--host", "no address"], "'no address' is not an address"),
    ],
)
def test_wrong_options_are_refused(tmp_path, arguments, message):
    assert message in Project(tmp_path).fails("demo", *arguments)


def test_a_taken_port_and_missing_packages_are_named(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"--port: {port} is taken" in Project(tmp_path).fails("demo", "--port", port)
    monkeypatch.setattr("sgcp.core.extras.find_spec", lambda name: None)
    message = "sgcp demo needs starlette, which is not installed. Run `pip install 'sgcpnet[demo]'`"
    assert message in Project(tmp_path).fails("demo")


@pytest.fixture
def opened(monkeypatch):
    """Addresses opened in the browser; the server ends as soon as it would begin."""

    def end(*arguments):
        raise KeyboardInterrupt

    class AtOnce:
        def __init__(self, seconds, function, arguments):
            self.start = lambda: function(*arguments)

    addresses = []
    monkeypatch.setattr("sgcp.tools.demo.serve", end)
    monkeypatch.setattr("sgcp.tools.demo.threading.Timer", AtOnce)
    monkeypatch.setattr("sgcp.tools.demo.webbrowser.open", addresses.append)
    return addresses


def test_the_address_is_printed_even_with_quiet(tmp_path, opened):
    text = Project(tmp_path).ok("--quiet", "demo", "--port", "0", "--device", "cpu")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/ .*\n", text)
    assert not opened


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_page_for_all_machines_has_an_address_that_opens(tmp_path, opened, host):
    if host == "::" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    text = Project(tmp_path).ok("demo", "--port", "0", "--device", "cpu", "--host", host, "--open")
    assert re.match(r"http://127\.0\.0\.1:\d+/ ", text)
    assert opened == [text.split()[0]]
    assert "other machines" in text


def test_models_on_offer_are_given_bundled_and_trained(tmp_path):
    trained = tmp_path / "data/models/mine"
    trained.mkdir(parents=True)
    given = str(save_random(tmp_path))
    save_random(trained)
    assert offered_models([given], tmp_path) == [given, "camvid", str(trained)]
    assert offered_models([], None) == ["camvid"]


def test_only_models_and_engines_on_offer_are_opened(tmp_path):
    models = ModelCache(["camvid"], "cpu")
    for model, engine in (("/etc/passwd", "auto"), ("camvid", "tensorrt")):
        with pytest.raises(SgcpError, match="not on offer"):
            models.take(model, engine)


def blank(height, width):
    return forge.saved(Image.new("RGB", (width, height)), compress_level=1)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads Linux's /proc")
def test_large_files_take_less_than_a_gigabyte_and_are_labelled_or_refused(tmp_path):
    large = make_video(tmp_path / "large.mp4", 3, (4320, 7680)).read_bytes()
    with serving(tmp_path) as demo:
        refused = demo.label("large.mp4", large)[0]["error"]
        assert "frames of 7680x4320, and at most 4,194,304 pixels are read" in refused
        refused = demo.label("large.png", blank(8192, 8192))[0]["error"]
        assert "large.png: 8192 x 8192 pixels, and this page accepts 33,554,432" in refused
        answer, parts = demo.label("large.png", blank(4096, 8192), confidence="true")
        assert answer["facts"]["Image"] == "8192 x 4096 pixels"
        assert list(parts) == ["labels", "image", "confidence"]
        status = Path(f"/proc/{demo.process.pid}/status").read_text()
        assert int(re.search(r"VmHWM:\s*(\d+)", status)[1]) * 1024 < 10**9


def test_uploads_that_break_off_leave_nothing(tmp_path):
    with serving(tmp_path) as demo:
        for _ in range(3):
            demo.begin("street.png", bytes(3_000_000), missing=1000).close()
        demo.label("street.png", forge.png((8, 8)))  # the server got to the others
        (folder,) = demo.files()
        assert list(folder.iterdir()) == []


def test_malformed_requests_are_refused_in_one_line_and_print_nothing(tmp_path):
    with serving(tmp_path) as demo:
        for query in ("", "model=camvid", "model=camvid&engine=auto&strength=9", "%00=%ff"):
            status, said = demo.ask(f"/label?{query}", b"x")
            assert (status, said.count(b"\n")) == (400, 0), query
        for asked in ({"model": "/etc/passwd"}, {"engine": "tensorrt"}):
            assert "not on offer" in demo.label("a.png", forge.png((8, 8)), **asked)[0]["error"]
        assert demo.ask("/label")[0] == 405
        assert demo.ask("/../pyproject.toml")[0] == 404
        assert demo.ask("/demo.js/../../demo.py")[0] == 404
        assert demo.interrupt() == (0, "ended; dropped files are removed\n")


def test_files_of_a_killed_server_are_removed_by_the_next(tmp_path):
    with serving(tmp_path, code=SLOW) as demo:
        demo.begin("street.png", forge.png((8, 8)))
        wait_for(tmp_path / "begun", demo)
        (left,) = demo.temporary.rglob("street.png")
        demo.process.kill()
        demo.process.wait()
        assert left.is_file()
    with serving(tmp_path) as demo:
        assert not left.exists()
        (living,) = demo.temporary.glob("sgcp-demo-*")
        assert stat.S_IMODE(living.stat().st_mode) == 0o700


def test_ctrl_c_ends_it_at_once_while_an_image_is_labelled(tmp_path):
    with serving(tmp_path, "--max-megabytes", "1", code=SLOW) as demo:
        assert demo.ask("/")[0] == 200
        assert demo.ask("/", Host="evil.example")[0] == 421
        assert demo.ask("/offer", Origin="http://evil.example")[0] == 403
        demo.begin("street.png", forge.png((8, 8)))
        wait_for(tmp_path / "begun", demo)
        assert demo.files()
        assert demo.interrupt() == (0, "ended; dropped files are removed\n")
        assert not demo.files()


COUNTING = """
import time
from sgcp.cli import app
from sgcp.demo import media

def describe(frame, colors, strength):
    with open("frames", "ab") as file:
        file.write(b".")
    time.sleep(0.02)
    return frame

media.blend = describe
app()
"""


def test_a_tab_that_closes_stops_its_video(tmp_path):
    video, frames = make_video(tmp_path / "long.mp4", 2000).read_bytes(), tmp_path / "frames"
    with serving(tmp_path, code=COUNTING) as demo:
        leaving = demo.begin("long.mp4", video)
        wait_for(frames, demo)
        leaving.close()
        demo.label("street.png", forge.png((8, 8)))  # after the video has ended
        assert frames.stat().st_size < 2000
        (folder,) = demo.files()
        assert list(folder.iterdir()) == []


def wait_for(path, demo):
    while not path.exists():
        assert demo.process.poll() is None
        time.sleep(0.05)
