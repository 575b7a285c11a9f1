"""Annotations and descriptions that are no JSON, or mean two things at once."""

import contextlib
import json
from pathlib import Path

import forge
import numpy as np
import pytest
from conftest import Project
from hypothesis import given, settings
from hypothesis import strategies as st

from sgcp.core.errors import SgcpError
from sgcp.core.files import parse_json, read_json
from sgcp.datasets import cityscapes
from sgcp.datasets.cityscapes import read_polygons

SQUARE = [[0, 0], [9, 0], [9, 9]]


def annotation(*objects: object, **changes: object) -> str:
    return json.dumps({"imgHeight": 64, "imgWidth": 128, "objects": objects} | changes)


def polygon(points: object, label: object = "car", **more: object) -> str:
    return annotation({"label": label, "polygon": points} | more)


HOSTILE = {
    "not a number": (polygon([[float("nan"), 0], [1, 1]]), "NaN is no"),
    "infinite": (polygon([[0, 0], [1, float("-inf")]]), "-Infinity is no"),
    "infinite where nobody looks": (annotation(camera=float("inf")), "Infinity is no"),
    "too large to be finite": (polygon([["B", 0], [1, 1]]).replace('"B"', "1e999"), "too large"),
    "far outside": (polygon([[0, 0], [2e6, 1], [1, 1]]), "not a list of"),
    "number of 100,000 digits": (polygon("BIG").replace('"BIG"', "9" * 100_000), "damaged"),
    "one point": (polygon([[1, 1]]), "fewer than two points"),
    "no point": (polygon([]), "fewer than two points"),
    "true for a coordinate": (polygon([[True, 0], [1, 1]]), "not a list of"),
    "three coordinates": (polygon([[1, 2, 3], [1, 1]]), "not a list of"),
    "text for a coordinate": (polygon([[1, "x"]]), "not a list of"),
    "text for points": (polygon(["12", "34"]), "not a list of"),
    "number beyond a float": (polygon([[10**400, 0], [1, 1]]), "not a list of"),
    "map for a polygon": (polygon({"0": [1, 1]}), "not a list of"),
    "unknown label": (polygon(SQUARE, "unicorn"), "unlisted label 'unicorn'"),
    "list for a label": (polygon(SQUARE, ["car"]), "unlisted label"),
    "object without label": (annotation({"polygon": SQUARE}), "not a Cityscapes annotation"),
    "number of objects": (annotation(objects=3), "not a Cityscapes annotation"),
    "no label at all": (polygon(SQUARE, ""), "unlisted label ''"),
    "group of nothing": (polygon(SQUARE, "group"), "unlisted label 'group'"),
    "label of a megabyte": (polygon(SQUARE, "x" * 10**6), "unlisted label"),
    "half a character": (polygon(SQUARE, "\ud800"), "surrogates not allowed"),
    "escape sequence": (polygon(SQUARE, "\x1b[2J"), r"unlisted label '\x1b[2J'"),
    "deleted perhaps": (polygon(SQUARE, deleted="no"), "'deleted' of a 'car' is 'no'"),
    "deleted by half": (polygon(SQUARE, deleted=0.5), "'deleted' of a 'car' is '0.5'"),
    "objects in a map": (annotation(objects={"a": 1}), "not a Cityscapes annotation"),
    "object in a list": (annotation(["car", SQUARE]), "not a Cityscapes annotation"),
    "list at the top": ("[1]", "not a Cityscapes annotation"),
    "nothing": ("", "damaged"),
    "text": ('"objects"', "not a Cityscapes annotation"),
    "nested 100,000 deep": ("[" * 100_000, "nested too deep"),
    "nested 100,000 maps deep": ('{"a":' * 100_000, "nested too deep"),
    "objects twice": (annotation()[:-1] + ', "objects": []}', "'objects' is given twice"),
    "label twice": (
        polygon(SQUARE).replace('"label": "car"', '"label": "road", "label": "car"'),
        "'label' is given twice",
    ),
    "other size": (annotation(imgHeight=63), "for an image of (63, 128)"),
    "size as text": (annotation(imgHeight="64"), "for an image of ('64', 128)"),
    "negative size": (annotation(imgWidth=-128), "for an image of (64, -128)"),
    "more after the end": (annotation() + "{}", "damaged"),
    "cut short": (annotation()[:-3], "damaged"),
}  # fmt: skip


def spoil(project: Project, content: bytes) -> str:
    path = next((project.root / "data/raw/sample/gtFine/train").rglob("*_polygons.json"))
    path.write_bytes(content)
    return path.name


@pytest.mark.integration
def test_hostile_annotation_is_one_short_message_and_keeps_what_was(prepared: Project):
    for name, (content, message) in HOSTILE.items():
        spoiled = spoil(prepared, content.encode("utf-8"))
        before = forge.snapshot(prepared.root / "data")
        text = prepared.fails("prepare", "sample")
        assert spoiled in text, name
        assert message in text, name
        assert len(text) < 1000, name
        assert forge.snapshot(prepared.root / "data") == before, name


@pytest.mark.parametrize("content", [b"\xff\xfe[", b"\xef\xbb\xbf{}", b"\0" * 50, b'{"a\xff": 1}'])
def test_other_encodings_are_refused(prepared: Project, content):
    assert spoil(prepared, content) in prepared.fails("prepare", "sample")


def test_file_longer_than_any_annotation_is_not_read(prepared: Project, monkeypatch):
    monkeypatch.setattr(cityscapes, "MAX_ANNOTATION", 1000)
    spoil(prepared, polygon(SQUARE * 100).encode())
    assert "longer than 1,000 bytes" in prepared.fails("prepare", "sample")


def test_polygon_that_would_take_minutes_to_draw_is_refused(prepared: Project):
    spoil(prepared, polygon(SQUARE * 40_000).encode())
    assert "more than 100,000 points" in prepared.fails("prepare", "sample")


def test_degenerate_polygons_are_drawn_as_the_official_converter_draws_them(tmp_path: Path):
    """Lines, a repeated point and points outside are no damage: Cityscapes has them."""
    from cityscapesscripts.helpers.annotation import Annotation
    from cityscapesscripts.preparation.json2labelImg import createLabelImage

    shapes = [[[0, 0], [9, 9]], [[5, 5]] * 3, [[-50, -50], [200, -50], [200, 10]], [[1.5, 2.5]] * 4]
    path = tmp_path / "a.json"
    path.write_text(
        annotation(
            {"label": "road", "polygon": [[0, 0], [127, 0], [127, 63], [0, 63]]},
            {"label": "sky", "polygon": SQUARE, "deleted": 1},
            *({"label": "car", "polygon": shape} for shape in shapes),
        )
    )
    official = Annotation()
    official.fromJsonFile(str(path))
    ours = read_polygons(path, (64, 128))
    labels = [np.array(createLabelImage(each, "trainIds")) for each in (ours, official)]
    assert np.array_equal(*labels)
    assert set(np.unique(labels[0])) == {0, 13}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
COORDINATE = st.integers(-9, 140) | st.floats(-1e7, 1e7) | JSON
OBJECT = st.fixed_dictionaries(
    {
        "label": st.sampled_from(["car", "road", "persongroup", "license plate", "x"]) | JSON,
        "polygon": st.lists(st.lists(COORDINATE, min_size=1, max_size=3), max_size=5) | JSON,
    },
    optional={"deleted": st.sampled_from([0, 1, True]) | JSON, "user": JSON},
)


@settings(deadline=None, max_examples=120)
@given(objects=st.lists(OBJECT, max_size=3), more=st.dictionaries(st.text(), JSON, max_size=2))
def test_any_annotation_is_drawn_or_refused(tmp_path_factory, objects, more):
    from cityscapesscripts.preparation.json2labelImg import createLabelImage

    path = tmp_path_factory.getbasetemp() / "any.json"
    content = more | {"imgHeight": 64, "imgWidth": 128, "objects": objects}
    path.write_text(json.dumps(content), encoding="utf-8")
    try:
        read = read_polygons(path, (64, 128))
    except SgcpError:
        return
    label = np.array(createLabelImage(read, "trainIds"))
    assert label.shape == (64, 128)
    assert set(np.unique(label).tolist()) <= {*range(19), 255}


@settings(deadline=None, max_examples=100)
@given(content=JSON)
def test_valid_json_means_what_the_standard_parser_says(content):
    try:
        text = json.dumps(content, allow_nan=False)
        text.encode("utf-8")
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            parse_json(json.dumps(content))
    else:
        assert parse_json(text) == json.loads(text)


@settings(deadline=None, max_examples=200)
@given(
    content=st.binary(max_size=60) | st.text(alphabet='{}[],:"\\u0d8eE+-19.tfn ').map(str.encode)
)
def test_any_bytes_are_an_object_or_an_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.json"
    path.write_bytes(content)
    with contextlib.suppress(SgcpError):
        assert isinstance(read_json(path, "x"), dict)


def test_description_longer_than_any_is_not_read(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("sgcp.core.files.MAX_JSON", 10)
    (tmp_path / "a.json").write_text('{"a": "long enough"}')
    with pytest.raises(SgcpError, match="longer than 10 bytes"):
        read_json(tmp_path / "a.json", "x")


@pytest.mark.parametrize("content", ["{", "{}", "\0"])
def test_damaged_manifest_is_mended_by_the_command_it_names(project: Project, content):
    project.ok("download", "sample")
    (project.root / "data/raw/sample/download.json").write_text(content)
    if "{" not in content or content == "{":
        assert "run `sgcp download sample` again" in project.fails("prepare", "sample")
    project.ok("download", "sample")
    project.ok("prepare", "sample")
