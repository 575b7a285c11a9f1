"""Which calls the page's functions take."""

from types import SimpleNamespace

import pytest

from sgcp.demo.page import build_page, is_call

FILE = {"path": "/x/a.png", "meta": {"_type": "gradio.FileData"}}
ASKED = [FILE, "camvid", "auto", "Overlay", 50, None]


@pytest.fixture(scope="module")
def page():
    offered = SimpleNamespace(models=["camvid"], engines=["auto"])

    async def act(*inputs):
        """Stand for every action."""

    names = ("label", "label_again", "restyle", "cancel", "leave", "forget")
    actions = SimpleNamespace(models=offered, **dict.fromkeys(names, act))
    return build_page(actions, "")


def call(page, place=None, value=None, **more):
    data = list(ASKED)
    if place is not None:
        data[place] = value
    return is_call(page, {"data": data, "fn_index": 0, "session_hash": "tab"} | more)


def test_calls_of_the_page_are_accepted(page):
    assert call(page)
    assert call(page, 0, None)
    assert call(page, 4, 12.5)
    assert call(page, 0, FILE | {"path": "/x/A.PNG"})
    assert call(page, 0, FILE | {"url": "x", "orig_name": "a.png", "size": 9, "mime_type": ""})
    assert call(page, trigger_id=7, event_data=None)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "/x/a.png"), (0, [FILE]), (0, {"path": "/x/a.png"}), (0, FILE | {"size": "x"}),
        (0, FILE | {"path": "/x/a.txt"}), (1, "/etc/passwd"), (1, ["camvid"]), (2, None),
        (3, {}), (4, "50"), (4, None), (4, True), (4, [1]), (4, -1), (4, 101), (4, float("nan")),
    ],
)  # fmt: skip
def test_values_that_no_browser_sends_are_refused(page, place, value):
    assert not call(page, place, value)


@pytest.mark.parametrize(
    "more",
    [
        {"fn_index": 99}, {"fn_index": -1}, {"fn_index": "0"}, {"fn_index": None}, {"data": []},
        {"data": ASKED * 2}, {"data": {}}, {"batched": True}, {"trigger_id": "x"},
    ],
)  # fmt: skip
def test_calls_of_no_function_are_refused(page, more):
    assert not call(page, **more)
