"""Weights that would run code, fill the memory, or score nonsense without a word."""

import json
import os
import pickle
import struct
import zipfile
from hashlib import sha256
from pathlib import Path

import forge
import pytest
import torch
from conftest import Project
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import random_card, save_random
from safetensors.torch import load_file, save_file

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.models.artifact import load_model, save_model
from sgcp.training.checkpoints import MAGIC


class RunsCode:
    """What a pickle can do: call anything on being read."""

    def __reduce__(self):
        return os.system, ("touch owned",)


@pytest.fixture
def authors(shared: Path) -> dict[str, torch.Tensor]:
    content = torch.load(shared / "reference" / "camvid11.pth.tar", weights_only=True)
    return content["segmenter"]


def spread(value: torch.Tensor, *shape: int) -> torch.Tensor:
    """Return a tensor of any size in the bytes of one number."""
    return value.flatten()[:1].expand(shape)


BIAS, VARIANCE = "module.conv3.bias", "module.l1.1.running_var"
HEAD = "module.classifier.weight"


def spoilers() -> dict[str, tuple]:
    """Return what to do to the authors' tensors, and what the message says then."""
    nan = float("nan")
    return {
        "NaN": (BIAS, lambda t: torch.full_like(t, nan), "lateral3.bias: holds NaN"),
        "infinite": (BIAS, lambda t: t / 0, "lateral3.bias: holds NaN or infinite"),
        "whole numbers": (BIAS, lambda t: t.long(), "lateral3.bias: of torch.int64"),
        "half precision": (BIAS, lambda t: t.half(), "lateral3.bias: of torch.float16"),
        "complex": (BIAS, lambda t: t.to(torch.complex64), "lateral3.bias: of torch.complex64"),
        "sparse": (BIAS, lambda t: t.to_sparse(), "lateral3.bias: of"),
        "without data": (BIAS, lambda t: t.to("meta"), "lateral3.bias: of"),
        "other shape": (BIAS, lambda t: t[:7], "lateral3.bias: shape (7,), expected (40,)"),
        "terabytes": (BIAS, lambda t: spread(t, 10**12), "shape (1000000000000,)"),
        "no shape": (BIAS, lambda t: t[0], "shape ()"),
        "negative variance": (VARIANCE, lambda t: -t, "a negative variance"),
        "overflow": (BIAS, lambda t: t * 0 + 3e38, "scores are not finite"),
        "twelve classes": (HEAD, lambda t: spread(t, 12, 64, 1, 1), "classifier.bias: shape (11,)"),
        "a billion classes": (HEAD, lambda t: spread(t, 10**9, 64, 1, 1), "scores 1000000000"),
        "no classes": (HEAD, lambda t: t[:0], "has no classifier"),
        "flat head": (HEAD, lambda t: t.flatten(), "has no classifier"),
        "a list": (BIAS, lambda t: t.tolist(), "lateral3.bias: missing"),
        "twice": ("conv3.bias", lambda t: t + 1, "holds 'lateral3.bias' twice"),
        "foreign": ("layer4.bias", lambda t: t, "not an SGCPNet checkpoint"),
    }


@pytest.mark.parametrize("name", spoilers())
def test_checkpoint_that_does_not_fit_is_one_message(project: Project, authors, name):
    key, change, message = spoilers()[name]
    authors[key] = change(authors.get(key, authors[BIAS]))
    torch.save({"segmenter": authors}, project.root / "bad.pth.tar")
    before = forge.snapshot(project.root)
    arguments = ("import-checkpoint", "bad.pth.tar", "out", "--classes", "camvid")
    text = project.fails(*arguments)
    assert "bad.pth.tar" in text
    assert message in text
    assert forge.snapshot(project.root) == before


def hostile_files() -> dict[str, bytes]:
    """Return files that torch should not be trusted with."""
    code = pickle.dumps({"segmenter": RunsCode(), "state_dict": {"a": RunsCode()}}, 2)
    endless = pickle.dumps({"model": [0]}, 2)
    members = [("archive/data.pkl", code), ("archive/version", b"3\n")]
    return {
        "pickle with code": code,
        "new pickle with code": pickle.dumps(RunsCode(), 5),
        "zip with code": forge.zip_bytes(members, method=zipfile.ZIP_STORED),
        "zip without a pickle": forge.zip_bytes([("archive/x", b"")]),
        "unending pickle": endless[:-1],
        "absurd length": b"\x80\x02\x8d" + struct.pack("<Q", 2**60),
        "absurd memo": b"\x80\x02Nr\xff\xff\xff\xff.",
        "nested without end": b"\x80\x02" + b"(" * 10_000 + b"." * 2,
        "old tar": b"pickle".ljust(257, b"\0") + b"ustar\x0000",
        "cut short": forge.zip_bytes(members, method=zipfile.ZIP_STORED)[:-4],
        "text": b"<html>moved</html>",
        "nothing": b"",
        "a list": pickle.dumps([1, 2], 2),
        "empty": pickle.dumps({}, 2),
    }


@pytest.mark.parametrize("name", hostile_files())
def test_hostile_checkpoint_runs_nothing(project: Project, name, recwarn):
    (project.root / "bad.pth.tar").write_bytes(hostile_files()[name])
    before = forge.snapshot(project.root)
    assert "bad.pth.tar" in project.fails("import-checkpoint", "bad.pth.tar", "out")
    assert forge.snapshot(project.root) == before  # no file named `owned`
    assert not recwarn.list


@pytest.mark.parametrize("limit", [100, 5000])
def test_checkpoint_that_unpacks_to_more_than_a_network_is_not_read(
    project: Project, monkeypatch, limit
):
    monkeypatch.setattr("sgcp.models.authors.MAX_CHECKPOINT_BYTES", limit)
    bomb = forge.zip_bytes([("archive/data.pkl", b"N."), ("archive/data/0", bytes(10**6))])
    (project.root / "bad.pth").write_bytes(bomb)
    assert f"more than {limit:,} bytes" in project.fails("import-checkpoint", "bad.pth", "out")


@pytest.mark.parametrize(
    ("path", "message"),
    [("/etc", "is a folder"), ("/dev/zero", "no such file"), ("absent.pth", "no such file"),
     ("code.pth", "would run code")],
)  # fmt: skip
def test_encoder_weights_that_are_none_stop_training_at_once(prepared: Project, path, message):
    (prepared.root / "code.pth").write_bytes(hostile_files()["pickle with code"])
    prepared.set(sample__train__encoder_weights=path)
    before = forge.snapshot(prepared.root)
    text = prepared.fails("train", "sample")
    assert path in text
    assert message in text
    assert forge.snapshot(prepared.root) == before


def test_resume_checkpoint_with_code_is_not_run(prepared: Project):
    """Not even where its checksum is right: it is told, left aside, and training begins anew."""
    folder = prepared.root / "data/resume/sample"
    folder.mkdir(parents=True)
    body = hostile_files()["pickle with code"]
    (folder / "a.ckpt").write_bytes(body)
    (folder / "b.ckpt").write_bytes(MAGIC + sha256(body).hexdigest().encode() + b"\n" + body)
    output = prepared.ok("train", "sample")
    assert output.count("corrupt or written by an older version; ignored") == 2
    assert not (prepared.root / "owned").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A model of ours, which must load; copied by the tests that spoil it.

    Without the digest of its weights, which whoever forges a model would forge too.
    """
    folder = save_random(tmp_path_factory.mktemp("model")).parent
    (folder / "model.json").write_text(json.dumps(random_card().to_json()))
    return folder


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def refused(folder: Path, name: str) -> str:
    with pytest.raises(SgcpError) as caught:
        sgcp.load(folder)
    assert name in str(caught.value)
    assert len(str(caught.value)) < 700
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.double(), "lateral3.bias: of torch.float64"),
        (lambda t: t.bool(), "lateral3.bias: of torch.bool"),
        (lambda t: t * 0 + 3e38, "scores are not finite"),
    ],
)
def test_weights_of_another_type_or_value_are_never_cast(model: Path, change, message):
    path = model / "model.safetensors"
    content = load_file(path)
    content["lateral3.bias"] = change(content["lateral3.bias"])
    save_file(content, path)
    assert message in refused(model, "model.safetensors")


def header(content: object, length: int | None = None, data: bytes = b"") -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(4),
        header({}, 2**63),
        header({}, 2**40),
        header({}, 99_000_000),
        header({}, 0),
        header({}),
        header(b"[" * 5000),
        header(b"\xff"),
        header({"a": ENTRY}),
        header({"a": ENTRY | {"data_offsets": [0, 2**62]}}),
        header({"a": ENTRY | {"data_offsets": [4, 0]}}, data=bytes(4)),
        header({"a": ENTRY | {"shape": [2**40, 2**40]}}, data=bytes(4)),
        header({"a": ENTRY | {"shape": [-1]}}, data=bytes(4)),
        header({"a": ENTRY | {"dtype": "F128"}}, data=bytes(4)),
        header({"a": ENTRY | {"dtype": "F4", "shape": [8]}}, data=bytes(4)),
        header({"a": ENTRY | {"dtype": "F8_E8M0", "shape": [4]}}, data=bytes(4)),
        header({"a": ENTRY, "b": ENTRY}, data=bytes(4)),
        header(b'{"a": {"dtype": "F32"}, "a": {}}'),
        header({"__metadata__": {"a": 1}}),
    ],
)
def test_absurd_header_is_one_message(model: Path, content):
    (model / "model.safetensors").write_bytes(content)
    refused(model, "model.safetensors")


def test_weights_longer_than_any_network_are_not_read(model: Path):
    with (model / "model.safetensors").open("r+b") as file:
        file.truncate(2**36)  # a hole, which takes no space
    assert "far more than this network has" in refused(model, "model.safetensors")


ROW = {"train_id": 0, "label_id": 0, "name": "Sky", "color": [0, 0, 0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trained_on": ...}, "['trained_on']"),  # else it is scored on what it learnt
        ({"mean": ...}, "['mean']"),
        ({"trained_onn": []}, "['trained_onn']"),
        ({"std": [0.2, 0.2, 0.0]}, "std"),
        ({"std": [-0.2, 0.2, 0.2]}, "std"),
        ({"std": [1e-300, 0.2, 0.2]}, "std"),
        ({"mean": [124.0, 116.0, 104.0]}, "mean"),
        ({"mean": [float("nan")] * 3}, "NaN"),
        ({"format": 99}, "not a model description"),
        ({"format": ...}, "not a model description"),
        ({"architecture": "ResNet"}, "unknown 'ResNet'"),
        ({"mean": [1, 2]}, "mean"),
        ({"mean": "grey"}, "mean"),
        ({"mean": ["1", "2", "3"]}, "mean"),
        ({"trained_on": [1]}, "trained_on"),
        ({"provenance": None}, "provenance"),
        ({"provenance": {"export": 5}}, "export"),
        ({"encoder": "resnet"}, "encoder"),
        ({"classes": []}, "classes"),
        ({"classes": 5}, "classes"),
        ({"classes": [None] * 11}, "classes"),
        ({"classes": [ROW | {"label_id": 999}] * 11}, "classes"),
        ({"classes": [ROW] * 11}, "a class stands there twice"),
        ({"classes": [ROW] * 1000}, "classes"),
        ({"classes": [ROW | {"name": str(n), "train_id": n} for n in range(256)]}, "classes"),
    ],
)
def test_description_that_would_falsify_numbers_is_refused(model: Path, change, message):
    path = model / "model.json"
    content = json.loads(path.read_text()) | change
    content = {key: value for key, value in content.items() if value is not ...}
    path.write_text(json.dumps(content))
    assert message in refused(model, "model.json")


def test_model_and_description_are_written_together(whole: Path, tmp_path: Path, monkeypatch):
    """Whatever breaks, no weights lie beside the description of others."""
    network, card = load_model(whole)
    target = tmp_path / "model.safetensors"
    save_model(network, network.state_dict(), card, target)
    before = forge.snapshot(tmp_path)

    def fail_at(suffix: str, method: str) -> None:
        original = getattr(Path, method)

        def broken(self: Path, *arguments, **options):
            if self.name.endswith(suffix):
                raise OSError(28, "No space left on device")
            return original(self, *arguments, **options)

        monkeypatch.setattr(Path, method, broken)

    fail_at("model.json.partial.partial", "open")
    with pytest.raises(OSError, match="No space left"):
        save_model(network, network.state_dict(), card, target)
    assert forge.snapshot(tmp_path) == before
    monkeypatch.undo()
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(SgcpError, match="is a folder where a file belongs"):
        save_model(network, network.state_dict(), card, tmp_path / "folder.safetensors")
    assert not (tmp_path / "folder.safetensors").exists()
    fail_at("model.json.partial", "replace")  # as a kill would, between the two names
    with pytest.raises(OSError, match="No space left"):
        save_model(network, network.state_dict(), card, target)
    assert "model.json: not found" in refused(tmp_path, "model.json")


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_damage_to_the_weights_is_an_error_or_no_change(whole: Path, data):
    """What changes nothing may load: a byte of padding, or one weight by a little."""
    small = whole.with_name("small")
    small.mkdir(exist_ok=True)
    content = bytearray((whole / "model.safetensors").read_bytes())
    length = 8 + struct.unpack("<Q", content[:8])[0]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, length - 1))
        content[place] = data.draw(st.integers(0, 255))
    (small / "model.safetensors").write_bytes(content)
    (small / "model.json").write_bytes((whole / "model.json").read_bytes())
    try:
        network, _ = load_model(small)
    except SgcpError:
        return
    ours, theirs = network.state_dict(), load_model(whole)[0].state_dict()
    assert ours.keys() == theirs.keys()
