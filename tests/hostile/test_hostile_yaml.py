"""params.yaml and pipeline/datasets/*.yaml from hands we do not know."""

import contextlib
import tracemalloc
from pathlib import Path

import forge
import pytest
from conftest import ROOT, Project, set_params
from hypothesis import given, settings
from hypothesis import strategies as st

from sgcp.core.documents import read_yaml
from sgcp.core.errors import SgcpError
from sgcp.datasets.source import Source, read_source
from sgcp.settings import Params
from sgcp.settings.load import load_params

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], y{n}: 1}}\n" for n in range(1, 10)
)

HOSTILE = {
    "billion laughs": (LAUGHS, "anchors and aliases are not taken"),
    "billion laughs by merging": (MERGES, "anchors and aliases are not taken"),
    "list that holds itself": ("datasets: &a [*a]", "anchors and aliases are not taken"),
    "alias without anchor": ("datasets: *a", "anchors and aliases are not taken"),
    "anchor twice": ("a: &x 1\nb: &x 2", "anchors and aliases are not taken"),
    "python object": ("!!python/object/apply:os.system [touch owned]", "not valid YAML"),
    "python name": ("a: !!python/name:os.system", "not valid YAML"),
    "own tag": ("a: !mine 3", "not valid YAML"),
    "bytes": ("a: !!binary aGVsbG8=", "a: no text, number, list or map"),
    "date": ("a: 2001-12-14", "a: no text, number, list or map"),
    "set": ("a: !!set {x, y}", "a: no text, number, list or map"),
    "number for a key": ("1: 2", "has keys other than text"),
    "list for a key": ("? [a, b]\n: 1", "a key: no text, number, list or map"),
    "key twice": ("a: 1\na: 2", "duplicate key"),
    "deep lists": ("[" * 5000 + "]" * 5000, "not valid YAML"),
    "deep maps": ("".join(f"{' ' * n}a:\n" for n in range(400)), "not valid YAML"),
    "two documents": ("a: 1\n---\nb: 2", "not valid YAML"),
    "megabytes": ("# " + "x" * 300_000, "longer than 262,144 bytes"),
    "number of 5000 digits": ("a: " + "9" * 5000, ""),
    "hexadecimal of 5000 digits": ("a: 0x" + "f" * 5000, "a: too large a number"),
    "text where a number is due": ("a: !!int abc", ""),
    "tab": ("a:\n\t- 1", "not valid YAML"),
    "NUL": ("a: \0", "not valid YAML"),
    "half a character": ('a: "\\ud800"', "a: half a character"),
    "nothing": ("", ""),
    "3,000 unknown keys": ("".join(f"key{n}: 1\n" for n in range(3000)), "and 2987 more"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_params_are_one_short_message(project: Project, name, monkeypatch):
    content, message = HOSTILE[name]
    (project.root / "params.yaml").write_bytes(content.encode())
    before = forge.snapshot(project.root)
    text = project.fails("download", "sample")
    assert "params.yaml" in text
    assert message in text
    assert len(text) < 4000
    assert forge.snapshot(project.root) == before  # nothing ran: no file named `owned`


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "3,000 unknown keys"])
def test_hostile_source_description_is_one_short_message(project: Project, name):
    content, message = HOSTILE[name]
    (project.root / "pipeline/datasets/camvid.yaml").write_bytes(content.encode())
    text = project.fails("download", "camvid")
    assert "camvid.yaml" in text
    assert message in text
    assert len(text) < 1000


def test_aliases_are_refused_before_they_take_memory(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(LAUGHS)
    tracemalloc.start()
    with pytest.raises(ValueError, match="aliases"):
        read_yaml(tmp_path / "a.yaml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20


def change_source(project: Project, **changes: object) -> None:
    path = project.root / "pipeline/datasets/camvid.yaml"
    content = {f"editions.segnet.{key}": value for key, value in changes.items()}
    set_params(path, content)


ARCHIVE = {"file": "a.zip", "url": "http://127.0.0.1:9/a.zip", "size": None, "md5": None}


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../../evil.zip"},
        {"file": "/evil.zip"},
        {"file": ".."},
        {"file": ""},
        {"file": "a\0b.zip"},
        {"file": "x" * 300},
        {"url": "file:///etc/passwd"},
        {"url": "ftp://example.org/a.zip"},
        {"url": ""},
        {"size": -1},
        {"size": "12"},
        {"md5": "abc"},
        {"md5": 5},
        {"sha": "x"},
    ],
)
def test_download_that_would_leave_its_folder_or_check_nothing_is_refused(walled: Project, change):
    change_source(walled, archives=[ARCHIVE | change])
    before = forge.snapshot(walled.root.parent)
    text = walled.fails("download", "camvid")
    assert f"editions.segnet.archives.0.{next(iter(change))}" in text
    assert forge.snapshot(walled.root.parent) == before


@pytest.mark.parametrize("change", [{"packages": ["../x.zip"]}, {"images": {"tset": 1525}},
                                    {"images": {"test": -1}}, {"site": "file:///"}])  # fmt: skip
def test_misspelt_split_does_not_switch_a_check_off(project: Project, change):
    change_source(project, **change)
    assert f"editions.segnet.{next(iter(change))}" in project.fails("download", "camvid")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("camvid.download.archives", [""]),
        ("camvid.download.archives", ["a\0b.zip"]),
        ("cityscapes.download.root", ""),
        ("cityscapes.download.root", "a\0b"),
        ("sample.train.encoder_weights", "  "),
        ("sample.download.train", 10**12),
        ("machine.devices", 10**6),
        ("machine.loader_workers", 10**6),
        ("machine.prepare_workers", 10**6),
        ("sample.train.lr", 10**400),
        ("sample.download.seed", -(10**400)),
    ],
)
def test_impossible_setting_is_refused_by_name(project: Project, key, value):
    set_params(project.root / "params.yaml", {key: value})
    name = key.replace("sample.train.", "sample.train.quick.")
    assert name in project.fails("download", "sample")


LINES = (ROOT / "params.yaml").read_text().splitlines()[:40]
SNIPPETS = ["&a", "*a", "!!x", "- ", "? ", ": ", "{", "}", "[", "]", "|", ">", '"', "'", "%YAML 9",
            "---", "...", "\t", "  ", "<<: ", "0x", "1e", ".nan", "null", "#", "@"]  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_any_change_of_a_file_is_settings_or_an_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "params.yaml"
    lines = LINES[: data.draw(st.integers(0, len(LINES)))]
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(lines)))
        piece = data.draw(st.sampled_from(SNIPPETS) | st.text(max_size=5))
        line = lines.pop(at) if at < len(lines) else ""
        cut = data.draw(st.integers(0, len(line)))
        lines.insert(at, line[:cut] + piece + line[cut:])
    path.write_bytes("\n".join(lines).encode("utf-8", "replace"))
    for read, kind in ((load_params, Params), (read_source, Source)):
        with contextlib.suppress(SgcpError):
            assert isinstance(read(path), kind)
