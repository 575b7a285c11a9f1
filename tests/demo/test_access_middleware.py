"""Whom the page answers, and which files it serves and opens."""

import asyncio
import json
import tempfile
from pathlib import Path

import pytest

from sgcp.demo.access_middleware import HEADERS, AccessMiddleware

OURS = {"host": "127.0.0.1:7860"}
FOLDER = Path(tempfile.gettempdir(), "sgcp-demo-x").resolve()


def refusal(listens="127.0.0.1", path="/", method="GET", **headers):
    named = {key.replace("_", "-"): value for key, value in (OURS | headers).items()}
    lines = [(key.encode(), value.encode()) for key, value in named.items()]
    found = AccessMiddleware(None, listens, 10**6, FOLDER, None).refusal(
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
        ({"sec_fetch_site": "same-site"}, 403),
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
    gate = AccessMiddleware(None, "127.0.0.1", 10**6, tmp_path / "ours", None)
    assert gate.is_inside(f"{tmp_path}/ours/x.png")
    assert not gate.is_inside(f"{tmp_path}/ours/link/passwd")


def test_an_address_is_none_of_our_files_wherever_we_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not AccessMiddleware(None, "127.0.0.1", 10**6, tmp_path, None).is_inside(
        "https://example.org/x.png"
    )


def call(body, kind="application/json", is_call=lambda call: True):
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

    lines = [(b"host", b"127.0.0.1:7860"), (b"content-length", str(len(body)).encode()),
             (b"content-type", kind.encode())]  # fmt: skip
    scope = {"type": "http", "headers": lines, "path": "/gradio_api/queue/join", "method": "POST"}
    asyncio.run(AccessMiddleware(app, "127.0.0.1", 10**6, FOLDER, is_call)(scope, receive, send))
    return arrived, said[:1]


def test_a_dropped_file_arrives_whole():
    file = {"path": f"{FOLDER}/x.png", "url": f"http://127.0.0.1:7860/gradio_api/file={FOLDER}/x"}
    body = json.dumps({"data": [file, "camvid", None], "session_hash": "tab"}).encode()
    assert call(body) == ([body], [])


@pytest.mark.parametrize("name", [*NOT_OURS, None, ["https://example.org/"]])
def test_files_that_were_not_dropped_are_not_fetched(name):
    body = json.dumps({"data": [[{"more": {"path": name}}]], "session_hash": "tab"}).encode()
    assert call(body) == ([], [403])
    assert call(body.decode().encode("utf-16")) == ([], [400])


@pytest.mark.parametrize(
    "body",
    [
        b"data=https://example.org/", b"", b"[]", b"null", b"[" * 200_000,
        b'{"data": ' + b"[" * 40 + b"]" * 40 + b', "session_hash": "tab"}',
        b'{"data": [NaN], "session_hash": "tab"}', b'{"data": [-Infinity], "session_hash": "tab"}',
        b'{"data": [1e999], "session_hash": "tab"}', b'{"data": []}',
        b'{"data": [], "session_hash": 7}', b'{"data": [], "session_hash": "../tab"}',
        b'{"data": [], "session_hash": "' + b"x" * 65 + b'"}',
    ],
)  # fmt: skip
def test_calls_that_no_page_makes_are_refused(body):
    assert call(body) == ([], [400])


def test_calls_of_no_function_and_of_another_kind_are_refused():
    body = b'{"data": [], "session_hash": "tab"}'
    assert call(body, is_call=lambda call: False) == ([], [400])
    assert call(body, kind="text/plain") == ([], [415])
    assert call(body, kind="Application/JSON; charset=utf-8") == ([body], [])


def test_events_of_a_tab_that_asked_for_nothing_are_not_there():
    assert refusal(path="/gradio_api/queue/data") == 404


def test_the_browser_is_told_to_ask_nobody_else_and_nothing_said_behind_it_changes_that():
    async def app(scope, receive, send):
        kept = [(b"content-type", b"text/html"), (b"Content-Security-Policy", b"default-src *")]
        await send({"type": "http.response.start", "status": 200, "headers": kept})

    said = []

    async def send(message):
        said.extend(message["headers"])

    scope = {"type": "http", "headers": [(b"host", b"127.0.0.1")], "path": "/", "method": "GET"}
    asyncio.run(AccessMiddleware(app, "127.0.0.1", 10**6, FOLDER, None)(scope, None, send))
    expected = {"content-type": "text/html"} | HEADERS
    assert sorted(said) == sorted((k.encode(), v.encode()) for k, v in expected.items())


def test_a_failure_behind_it_is_one_line_and_no_traceback(capsys):
    async def app(scope, receive, send):
        raise KeyError("x")

    said = []

    async def send(message):
        said.append(message.get("status"))

    scope = {"type": "http", "headers": [(b"host", b"127.0.0.1")], "path": "/", "method": "GET"}
    asyncio.run(AccessMiddleware(app, "127.0.0.1", 10**6, FOLDER, None)(scope, None, send))
    assert said == [500, None]
    assert capsys.readouterr() == ("", "")


def test_uploads_have_a_limit():
    def send(path, **headers):
        return refusal(path=f"/gradio_api/{path}", method="POST", **headers)

    assert send("upload", content_length="1000000") is None
    assert send("upload", content_length="3000000") == 413
    assert send("queue/join", content_length="1500000") == 413
    assert send("upload") == 411
