"""``sgcp demo``: what it refuses, whom it answers, and how it ends."""

import asyncio
import errno
import io
import json
import re
import socket
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import forge
import numpy as np
import pytest
from conftest import Project
from demos import serving
from networks import save_random
from PIL import Image
from videos import frames_of, make_video

from sgcp.datasets.classes import camvid_classes
from sgcp.demo.gate import Gate
from sgcp.demo.pictures import VIEWS, Style
from sgcp.demo.shelf import Shelf, offered_models
from sgcp.demo.videos import StoppedError, VideoJob
from sgcp.errors import SgcpError
from sgcp.inference.video import is_video

# Labelling takes far longer than anybody waits; it cannot be interrupted, like a network's run.
SLOW = """
import time
from pathlib import Path
from sgcp.cli import app
from sgcp.demo import pictures, shelf

def label(*arguments):
    Path("begun").touch()
    time.sleep(300)

pictures.label_picture = label
shelf.Shelf.take = lambda *arguments: None
app()
"""
OURS = {"host": "127.0.0.1:7860"}
FOLDER = Path(tempfile.gettempdir(), "sgcp-demo-x").resolve()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "--port: 0 .. 65535"),
        (["--max-megabytes", "0"], "--max-megabytes: 1 .."),
        (["--max-seconds", "0"], "--max-seconds: more than 0"),
        (["--max-seconds", "nan"], "--max-seconds: more than 0"),
        (["--model", "nobody"], "no model 'nobody'"),
        (["--model", "nowhere.onnx"], "nowhere.onnx: no such file"),
        (["--device", "gpu"], "'auto', 'cpu' or 'cuda', got 'gpu'"),
        (["--host", "no address"], "'no address' is no address of this machine"),
    ],
)
def test_wrong_options_are_refused(tmp_path, arguments, message):
    assert message in Project(tmp_path).fails("demo", *arguments)


def test_without_gradio_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("sgcp.stages.demo.find_spec", lambda name: None)
    text = Project(tmp_path).fails("demo")
    assert "pip install -c constraints.txt -e '.[demo]'" in text
    assert text.count("\n") == 1


def test_a_taken_port_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"--port: {port} is taken" in Project(tmp_path).fails("demo", "--port", port)


@pytest.fixture
def opened(monkeypatch):
    """Addresses that the browser is told to open; the server ends as soon as it would begin."""

    def end(*arguments):
        raise KeyboardInterrupt

    class AtOnce:
        def __init__(self, seconds, function, arguments):
            self.start = lambda: function(*arguments)

    addresses = []
    monkeypatch.setattr("sgcp.stages.demo.serve", end)
    monkeypatch.setattr("sgcp.stages.demo.prepare_gradio", lambda folder: None)
    monkeypatch.setattr("sgcp.stages.demo.threading.Timer", AtOnce)
    monkeypatch.setattr("sgcp.stages.demo.webbrowser.open", addresses.append)
    return addresses


def test_the_address_is_printed_though_quiet(tmp_path, opened):
    text = Project(tmp_path).ok("--quiet", "demo", "--port", "0", "--device", "cpu")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/ labels what is dropped .*\n", text)
    assert not opened


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_page_for_all_machines_has_an_address_that_opens(tmp_path, opened, host):
    if host == "::" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    text = Project(tmp_path).ok("demo", "--port", "0", "--device", "cpu", "--host", host, "--open")
    assert re.match(r"http://127\.0\.0\.1:\d+/ ", text)
    assert opened == [text.split()[0]]
    assert "other machines open it too, by this machine's address" in text


def test_models_on_offer_are_given_bundled_and_trained(tmp_path):
    trained = tmp_path / "data/models/mine"
    trained.mkdir(parents=True)
    given = str(save_random(tmp_path))
    save_random(trained)
    assert offered_models([given], tmp_path) == [given, "camvid", str(trained)]
    assert offered_models([], None) == ["camvid"]


def test_nothing_but_what_is_on_offer_is_opened(tmp_path):
    shelf = Shelf(["camvid"], "cpu")
    for model, engine in (("/etc/passwd", "auto"), ("camvid", "tensorrt")):
        with pytest.raises(SgcpError, match="not on offer"):
            shelf.take(model, engine)


def refusal(listens="127.0.0.1", path="/", method="GET", **headers):
    named = {key.replace("_", "-"): value for key, value in (OURS | headers).items()}
    lines = [(key.encode(), value.encode()) for key, value in named.items()]
    found = Gate(None, listens, 10**6, FOLDER).refusal(
        {"headers": lines, "path": path, "method": method}
    )
    return found and found[0]


@pytest.mark.parametrize(
    ("listens", "named", "answered"),
    [
        ("127.0.0.1", "127.0.0.1:7860", True),
        ("127.0.0.1", "localhost:7860", True),
        ("127.0.0.1", "[::1]:7860", True),
        ("127.0.0.1", "evil.example:7860", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "192.168.1.7:7860", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "[::1", False),
        ("0.0.0.0", "192.168.1.7:7860", True),
        ("0.0.0.0", "evil.example:7860", False),
        ("studio.example", "studio.example:7860", True),
    ],
)
def test_only_our_own_name_is_answered(listens, named, answered):
    assert refusal(listens, host=named) == (None if answered else 421)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"origin": "http://127.0.0.1:7860", "sec_fetch_site": "same-origin"}, None),
        ({"origin": "http://127.0.0.1:9999", "sec_fetch_site": "same-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, 403),
    ],
)
def test_other_pages_are_refused(headers, status):
    assert refusal(path=f"/gradio_api/file={FOLDER}/x.png", **headers) == status


def test_a_link_from_elsewhere_opens_the_page():
    assert refusal(sec_fetch_site="cross-site", sec_fetch_mode="navigate") is None
    assert refusal(sec_fetch_site="cross-site", sec_fetch_mode="no-cors") == 403


def test_what_the_page_does_not_need_is_not_there():
    for path in ("/gradio_api/proxy=http://x", "/gradio_api/process_recording", "/monitoring",
                 "/gradio_api/vibe-edit", "/gradio_api/openapi.json"):  # fmt: skip
        assert refusal(path=path) == 404


NOT_OURS = [
    "https://example.org/x.png", "http://127.0.0.1/x.png", "HTTPS://example.org/", "x.png", "",
    "/etc/passwd", f"{FOLDER}/../x.png", f"{FOLDER}/%2e%2e/x.png", f"{FOLDER}-other/x.png", "/\0",
]  # fmt: skip


@pytest.mark.parametrize("name", NOT_OURS)
def test_only_files_of_our_own_folder_are_served(name):
    assert refusal(path=f"/gradio_api/file={FOLDER}/a/x%20y.png") is None
    assert refusal(path=f"/gradio_api/file={name}") == 404


def test_a_link_out_of_our_folder_is_not_followed(tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/link").symlink_to("/etc")
    gate = Gate(None, "127.0.0.1", 10**6, tmp_path / "ours")
    assert gate.is_inside(f"{tmp_path}/ours/x.png")
    assert not gate.is_inside(f"{tmp_path}/ours/link/passwd")


def test_an_address_is_none_of_our_files_wherever_we_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not Gate(None, "127.0.0.1", 10**6, tmp_path).is_inside("https://example.org/x.png")


def call(body):
    """Send a call in two pieces; return what Gradio gets of it, and the status of a refusal."""
    arrived, said = [], []
    pieces = [{"type": "http.request", "body": body[:9], "more_body": True},
              {"type": "http.request", "body": body[9:]}]  # fmt: skip

    async def receive():
        return pieces.pop(0)

    async def send(message):
        said.append(message.get("status"))

    async def app(scope, receive, send):
        arrived.append((await receive())["body"])

    lines = [(b"host", b"127.0.0.1:7860"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "headers": lines, "path": "/gradio_api/queue/join", "method": "POST"}
    asyncio.run(Gate(app, "127.0.0.1", 10**6, FOLDER)(scope, receive, send))
    return arrived, said[:1]


def test_a_dropped_file_arrives_whole():
    file = {"path": f"{FOLDER}/x.png", "url": f"http://127.0.0.1:7860/gradio_api/file={FOLDER}/x"}
    body = json.dumps({"data": [file, "camvid", None]}).encode()
    assert call(body) == ([body], [])


@pytest.mark.parametrize("name", [*NOT_OURS, None, ["https://example.org/"]])
def test_files_that_were_not_dropped_are_not_fetched(name):
    body = json.dumps({"data": [[{"more": {"path": name}}]]}).encode()
    assert call(body) == ([], [403])
    assert call(body.decode().encode("utf-16")) == ([], [403])


def test_calls_that_are_no_json_are_refused():
    assert call(b"data=https://example.org/") == ([], [403])
    assert call(b"[" * 200_000) == ([], [403])


def test_uploads_have_a_limit():
    def send(path, **headers):
        return refusal(path=f"/gradio_api/{path}", method="POST", **headers)

    assert send("upload", content_length="1000000") is None
    assert send("upload", content_length="3000000") == 413
    assert send("queue/join", content_length="1500000") == 413
    assert send("upload") == 411


class Halves:
    """Labels the left half of any picture Sky, the right one Building."""

    classes, workers = camvid_classes(), 2
    engine = SimpleNamespace(name="none", precision="fp32")

    def segment(self, image):
        labels = np.ones(image.shape[:2], np.uint8)
        labels[:, : image.shape[1] // 2] = 0
        return labels


def video_job(folder, seconds=10.0, style=Style()):
    return VideoJob(make_video(folder / "street.mp4"), folder / "out.mp4", Halves(), style, seconds)


def test_a_video_gets_the_colours_and_their_shares(tmp_path):
    job = video_job(tmp_path, style=Style("Labels"))
    assert job.run().frames == job.done == job.total == 12
    assert [(item.name, share) for item, share in job.shares()] == [("Sky", 0.5), ("Building", 0.5)]
    first = frames_of(job.target)[1][0]
    assert np.abs(first[:, :28].astype(int) - Halves.classes[0].color).max() < 20


def test_a_stopped_video_leaves_no_file(tmp_path):
    job = video_job(tmp_path)
    advance = job.advance

    def stop_midway(done, total):
        if done == 3:
            job.stop.set()
        advance(done, total)

    job.advance = stop_midway
    with pytest.raises(StoppedError):
        job.run()
    assert [path.name for path in tmp_path.iterdir()] == ["street.mp4"]


def test_a_long_video_is_refused_before_it_is_read(tmp_path):
    job = video_job(tmp_path, seconds=0.1)
    with pytest.raises(SgcpError, match=r"lasts 0\.5 s, and this server takes 0\.1"):
        job.run()
    assert job.done == 0


class Tab:
    """One tab of the browser, and what is asked for in it; the weights "slow" wait for ``go``."""

    def __init__(self, folder, monkeypatch):
        from sgcp.demo import actions

        self.begun, self.go = threading.Event(), threading.Event()
        self.folder, self.media = folder / "results", folder
        self.folder.mkdir()
        self.actions = actions.Actions(SimpleNamespace(take=self.take), self.folder, 10.0)
        self.kept = actions.Kept(None, self.actions.new_folder(), "before")
        monkeypatch.setattr(actions, "label_picture", self.label_picture)
        monkeypatch.setattr(actions, "show", lambda **parts: parts)
        monkeypatch.setattr(actions.Actions, "show_picture", lambda self, kept, style: kept)
        self.waits_at = "take"

    def wait(self, where, model):
        if (self.waits_at, model) == (where, "slow"):
            self.begun.set()
            assert self.go.wait(60)

    def take(self, model, engine):
        self.wait("take", model)
        segmenter = Halves()
        segmenter.model = model
        return segmenter

    def label_picture(self, path, segmenter, style):
        self.wait("label_picture", segmenter.model)
        return path.name

    async def label(self, name, model):
        """Return all that the page is shown."""
        request = SimpleNamespace(session_hash="tab")
        asked = [str(self.media / name), model, "auto", "Overlay", 50, self.kept, request]
        return [updates async for updates in self.actions.label(*asked)]

    async def label_two(self, first, second):
        """Drop a second file while the first is slow; return what each shows."""
        slow = asyncio.ensure_future(self.label(first, "slow"))
        while not self.begun.is_set():
            await asyncio.sleep(0.01)
        later = asyncio.ensure_future(self.label(second, "quick"))
        while self.actions.turns["tab"] < 2:
            await asyncio.sleep(0.01)
        if self.waits_at == "take":
            await later
        self.go.set()
        return await slow, await later


@pytest.mark.parametrize(
    ("first", "waits_at"), [("a.mp4", "take"), ("a.png", "take"), ("a.png", "label_picture")]
)
def test_the_file_dropped_last_is_the_one_that_counts(tmp_path, monkeypatch, first, waits_at):
    tab = Tab(tmp_path, monkeypatch)
    tab.waits_at = waits_at
    make_video(tmp_path / "a.mp4")
    make_video(tmp_path / "b.mp4")
    (tmp_path / "a.png").write_bytes(a_png())
    stale, shown = asyncio.run(tab.label_two(first, "b.mp4"))
    job = tab.actions.jobs["tab"]
    assert stale == []
    assert shown[-1]["video"] == str(job.target)
    assert job.source.name == "b.mp4"
    assert list(tab.folder.iterdir()) == [job.target.parent]


def test_a_result_that_came_too_late_removes_nothing_that_is_shown(tmp_path, monkeypatch):
    tab = Tab(tmp_path, monkeypatch)
    tab.waits_at = "label_picture"

    async def leave_midway():
        slow = asyncio.ensure_future(tab.label("a.png", "slow"))
        while not tab.begun.is_set():
            await asyncio.sleep(0.01)
        tab.actions.turns["tab"] += 1
        tab.go.set()
        return await slow

    assert asyncio.run(leave_midway()) == []
    assert list(tab.folder.iterdir()) == [tab.kept.folder]


def test_a_file_that_fails_leaves_what_is_shown(tmp_path, monkeypatch):
    import gradio

    tab = Tab(tmp_path, monkeypatch)
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(gradio.Error, match=r"a\.mp4: damaged or not a video"):
        asyncio.run(tab.label("a.mp4", "quick"))
    assert list(tab.folder.iterdir()) == [tab.kept.folder]


@pytest.mark.parametrize(
    ("name", "content", "video"),
    [
        ("a.png", "picture", False),
        ("a.mp4", "video", True),
        ("a.mp4", "picture", False),
        ("a.PNG", "video", True),
        ("a", "picture", False),
        ("a", "video", True),
        ("a.png", "half", False),  # damaged: a picture by its name
        ("a.mov", "half", True),
        ("a.png", "huge", False),
        ("a", "huge", False),
    ],
)
def test_content_tells_videos_from_pictures_and_then_the_name(tmp_path, name, content, video):
    contents = {
        "picture": a_png(),
        "video": make_video(tmp_path / "made.mp4").read_bytes(),
        "half": a_png()[:6],
        "huge": forge.png((30000, 30000), rows=b""),
    }
    (tmp_path / name).write_bytes(contents[content])
    assert is_video(tmp_path / name) == video


def test_a_picture_with_a_video_s_name_is_labelled_as_a_picture(tmp_path, monkeypatch):
    tab = Tab(tmp_path, monkeypatch)
    (tmp_path / "a.mp4").write_bytes(a_png())
    make_video(tmp_path / "made.mp4").rename(tmp_path / "b.png")
    assert [kept.labelled for kept in asyncio.run(tab.label("a.mp4", "quick"))] == ["a.mp4"]
    assert asyncio.run(tab.label("b.png", "quick"))[-1]["video"].endswith("b_overlay.mp4")


def test_a_full_disk_is_named_and_no_folder_of_the_server(tmp_path):
    from sgcp.demo.actions import Actions

    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a_labels.png"))
    said = Actions.explain(full, tmp_path / "a.png").message
    assert (
        said == "a_labels.png: No space left on device; free some space and run the command again"
    )


def test_a_bug_shows_its_traceback_to_those_who_ask(tmp_path, monkeypatch, capsys):
    from sgcp.demo.actions import Actions

    def explain_a_bug():
        try:
            [].pop()
        except IndexError as error:
            return Actions.explain(error, tmp_path).message, capsys.readouterr().err

    monkeypatch.delenv("SGCP_DEBUG", raising=False)
    assert explain_a_bug() == ("unexpected IndexError; this is a bug in sgcp", "")
    monkeypatch.setenv("SGCP_DEBUG", "1")
    said, printed = explain_a_bug()
    assert said == "unexpected IndexError; this is a bug in sgcp"
    assert "explain_a_bug" in printed
    assert printed.endswith("IndexError: pop from empty list\n")


def test_a_view_is_named_apart_from_the_label_map():
    assert "street_labels.png" not in [Style(view).name("street", ".png") for view in VIEWS]


def a_png():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_ctrl_c_ends_it_at_once_while_a_picture_is_labelled(tmp_path):
    with serving(tmp_path, "--max-megabytes", "1", code=SLOW) as demo:
        assert demo.ask("/")[0] == 200
        assert demo.ask("/", Host="evil.example")[0] == 421
        assert demo.ask("/gradio_api/file=/etc/passwd")[0] == 404
        assert demo.ask("/gradio_api/file=https://example.org/x.png")[0] == 404
        assert demo.ask("/gradio_api/queue/join", b"{}", Origin="http://evil.example")[0] == 403
        dropped = demo.upload("street.png", a_png())
        assert demo.ask(f"/gradio_api/file={dropped}") == (200, a_png())
        demo.begin_labelling(dropped)
        begun = time.monotonic()
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < begun + 120
            time.sleep(0.05)
        assert list(demo.temporary.iterdir())
        pressed = time.monotonic()
        assert demo.interrupt() == (0, "ended; what was dropped on the page is removed\n")
        assert time.monotonic() < pressed + 60  # one or two, on a machine that is not busy
        assert not list(demo.temporary.iterdir())
