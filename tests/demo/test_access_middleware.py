"""Which requests are answered."""

import asyncio

import pytest

from sgcp.demo.access_middleware import HEADERS, AccessMiddleware

OURS = {"host": "127.0.0.1:7860"}


def guard(app=None, listens="127.0.0.1"):
    return AccessMiddleware(app, listens, 10**6)


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


LINK = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}  # from another page


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/label", {}, None),
        ("/label", {"origin": "http://127.0.0.1:7860", "sec_fetch_site": "same-origin"}, None),
        ("/label", {"origin": "http://127.0.0.1:9999", "sec_fetch_site": "same-site"}, 403),
        ("/label", {"origin": "https://evil.example"}, 403),
        ("/label", {"origin": "null"}, 403),
        ("/label", {"sec_fetch_site": "same-site"}, 403),
        ("/label", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
        ("/label", LINK, 403),
        ("/", LINK, None),
        ("/", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
    ],
)
def test_other_pages_are_refused(path, headers, status):
    assert refusal(path=path, **headers) == status


def answers(app):
    """Ask for the page; return the messages of the answer."""
    said = []

    async def send(message):
        said.append(message)

    scope = {"type": "http", "headers": [(b"host", b"127.0.0.1")], "path": "/", "method": "GET"}
    asyncio.run(guard(app)(scope, None, send))
    return said


def test_headers_that_keep_the_browser_local_are_added_to_each_answer():
    async def app(scope, receive, send):
        kept = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": kept})

    expected = {"content-type": "text/html"} | HEADERS
    (message,) = answers(app)
    assert {key.decode(): value.decode() for key, value in message["headers"]} == expected


def test_uploads_have_a_limit():
    assert refusal(method="POST", content_length="1000000") is None
    assert refusal(method="POST", content_length="1000001") == 413
    assert refusal(method="POST", content_length="-1") == 411
    assert refusal(method="POST") == 411
