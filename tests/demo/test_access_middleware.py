"""Which requests are answered, and which files are served and opened."""

import asyncio
import json
import tempfile
from pathlib import Path

import pytest

from sgcp.demo.access_middleware import HEADERS, AccessMiddleware

OURS = {"host": "127.0.0.1:7860"}
FOLDER = Path(tempfile.gettempdir(), "sgcp-demo-x").resolve()


def guard(app=None, listens="127.0.0.1", folder=FOLDER, is_call=None):
    return AccessMiddleware(app, listens, 10**6, folder, is_call)


def refusal(listens="127.0.0.1", path="/", method="GET", **headers):
    named = {key.replace("_", "-"): value for key, value in (OURS | headers).items()}
    lines = [(key.encode(), value.encode()) for key, value in named.items()]
    found = guard(listens=listens).refusal({"headers": lines, "path": path, "method": method})
    return found and found[0]


@pytest.mark.parametrize(
    ("listens", "named", "answered"),
    [
        *(("127.0.0.1", host, True) for host in ("127.0.0.1:7860", "localhost:7860", "[::1]:7860")),
        *(("127.0.0.1", host, False)
          for host in ("evil.example:7860", "localhost.evil.example",
                       "192.168.1.7:7860", "", "[::1")),
        ("0.0.0.0", "192.168.1.7:7860", True),
        ("0.0.0.0", "evil.example:7860", False),
        ("studio.example", "studio.example:7860", True),
    ],
)  # fmt: skip
def test_only_our_own_name_is_answered(listens, named, answered):
    assert refusal(listens, host=named) == (None if answered else 421)


FILE = f"/gradio_api/file={FOLDER}/x.png"
LINK = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}  # from another page


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (FILE, {}, None),
        (FILE, {"origin": "http://127.0.0.1:7860", "sec_fetch_site": "same-origin"}, None),
        (FILE, {"origin": "http://127.0.0.1:9999", "sec_fetch_site": "same-site"}, 403),
        (FILE, {"origin": "https://evil.example"}, 403),
        (FILE, {"origin": "null"}, 403),
        (FILE, {"sec_fetch_site": "same-site"}, 403),
        (FILE, {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
        (FILE, LINK, 403),
        ("/", LINK, None),
        ("/", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
        *((path, {}, 404) for path in ("/gradio_api/proxy=http://x", "/monitoring",
          "/gradio_api/process_recording", "/gradio_api/vibe-edit", "/gradio_api/openapi.json",
          "/gradio_api/queue/data")),  # events of a tab that has made no call
    ],
)  # fmt: skip
def test_other_pages_are_refused_and_other_paths_not_found(path, headers, status):
    assert refusal(path=path, **headers) == status


NOT_OURS = [
    "https://example.org/x.png", "http://127.0.0.1/x.png", "HTTPS://example.org/", "x.png", "",
    "/etc/passwd", f"{FOLDER}/../x.png", f"{FOLDER}/%2e%2e/x.png", f"{FOLDER}-other/x.png", "/\0",
]  # fmt: skip


@pytest.mark.parametrize("name", NOT_OURS)
def test_only_files_of_our_own_folder_are_served(name):
    assert refusal(path=f"/gradio_api/file={FOLDER}/a/x%20y.png") is None
    assert refusal(path=f"/gradio_api/file={name}") == 404


def test_only_files_inside_our_folder_are_ours(tmp_path, monkeypatch):
    """Links are followed first; an address is no path, whatever the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("/etc")
    ours = guard(folder=tmp_path).is_inside
    assert ours(f"{tmp_path}/x.png")
    assert not ours(f"{tmp_path}/link/passwd")
    assert not ours("https://example.org/x.png")


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
    asyncio.run(guard(app, is_call=is_call)(scope, receive, send))
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


def answers(app):
    """Ask for the page; return the messages of the answer."""
    said = []

    async def send(message):
        said.append(message)

    scope = {"type": "http", "headers": [(b"host", b"127.0.0.1")], "path": "/", "method": "GET"}
    asyncio.run(guard(app)(scope, None, send))
    return said


def test_headers_that_keep_the_browser_local_replace_those_of_the_application():
    async def app(scope, receive, send):
        kept = [(b"content-type", b"text/html"), (b"Content-Security-Policy", b"default-src *")]
        await send({"type": "http.response.start", "status": 200, "headers": kept})

    expected = {"content-type": "text/html"} | HEADERS
    (message,) = answers(app)
    assert sorted(message["headers"]) == sorted(
        (k.encode(), v.encode()) for k, v in expected.items()
    )


def test_a_failure_of_the_application_is_one_line_and_no_traceback(capsys):
    async def app(scope, receive, send):
        raise KeyError("x")

    assert [message.get("status") for message in answers(app)] == [500, None]
    assert capsys.readouterr() == ("", "")


def test_uploads_have_a_limit():
    def send(path, **headers):
        return refusal(path=f"/gradio_api/{path}", method="POST", **headers)

    assert send("upload", content_length="1000000") is None
    assert send("upload", content_length="3000000") == 413
    assert send("queue/join", content_length="1500000") == 413
    assert send("upload") == 411
