"""params.yaml and pipeline/datasets/*.yaml from hands we do not know."""

import contextlib
from pathlib import Path

import forge
import pytest
from conftest import ROOT, Project, set_params
from hypothesis import given, settings
from hypothesis import strategies as st

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_yaml
from sgcp.datasets.source import Description, read_description
from sgcp.settings import Params
from sgcp.settings.load import load_params

DAMAGED = {
    "list that holds itself": "datasets: &a [*a]",
    "alias without anchor": "datasets: *a",
    "python object": "!!python/object/apply:os.system [touch owned]",
    "unknown tag": "a: !mine 3",
    "bytes": "a: !!binary aGVsbG8=",
    "date": "a: 2001-12-14",
    "list for a key": "? [a, b]\n: 1",
    "key twice": "a: 1\na: 2",
    "deep lists": "[" * 1000 + "]" * 1000,
    "two documents": "a: 1\n---\nb: 2",
    "text where a number is due": "a: !!int abc",
    "tab": "a:\n\t- 1",
}
HOSTILE = {name: (content, "not valid YAML") for name, content in DAMAGED.items()} | {
    "megabytes": ("# " + "x" * 300_000, "longer than 262,144 bytes"),
    "number of 5000 digits": ("a: " + "9" * 5000, ""),
    "empty": ("", ""),
    "3,000 unknown keys": ("".join(f"key{n}: 1\n" for n in range(3000)), ""),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    ("file", "dataset"),
    [("params.yaml", "sample"), ("pipeline/datasets/camvid.yaml", "camvid")],
)
def test_hostile_yaml_is_one_short_message(project: Project, file, dataset, name):
    content, message = HOSTILE[name]
    (project.root / file).write_bytes(content.encode())
    before = forge.snapshot(project.root)
    text = project.fails("download", dataset)
    assert Path(file).name in text
    assert message in text
    assert len(text) < 4000
    assert forge.snapshot(project.root) == before  # nothing ran: no file named `owned`


def test_anchors_and_merge_keys_stand_for_their_values(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text("base: &base {lr: 1e-3, epochs: 2}\nfast: {<<: *base, epochs: 1}\n")
    assert read_yaml(path)["fast"] == {"lr": 1e-3, "epochs": 1}


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
    for read, kind in ((load_params, Params), (read_description, Description)):
        with contextlib.suppress(SgcpError):
            assert isinstance(read(path), kind)
