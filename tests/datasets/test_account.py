"""The Cityscapes account path, against a local server that speaks the site's protocol."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from conftest import set_params
from server import PASSWORD, USER, answer, serving

from sgcp.datasets.account import credentials_file
from sgcp.datasets.sample import generate_sample

COUNTS = {"train": 3, "val": 2, "test": 1}


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, bytes]:
    """The sample, packed as Cityscapes packs its archives."""
    folder = tmp_path_factory.mktemp("site")
    generate_sample(folder, 3, (64, 128), COUNTS, 1)
    content = {}
    for part in ("leftImg8bit", "gtFine"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("license.txt", "non-commercial")
            for path in sorted((folder / part).rglob("*.*")):
                archive.write(path, path.relative_to(folder))
        content[f"{part}_trainvaltest.zip"] = buffer.getvalue()
    return content


LOGIN = answer(b"<html>log in</html>"), answer(b"", "302 Found", Set_Cookie="session=good; Path=/")


def answers(packages: dict[str, bytes], offered=None, md5=None) -> list[bytes]:
    """Return what the site answers, in order, to a download of all packages."""
    names = sorted(packages) if offered is None else offered
    rows = [{"name": name, "packageID": number} for number, name in enumerate(names)]
    replies = [*LOGIN, answer(json.dumps(rows).encode())]
    for name in ("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"):
        digest = md5 or hashlib.md5(packages[name]).hexdigest()
        replies += [answer(f"{digest}  {name}\n".encode()), answer(packages[name])]
    return replies


@pytest.fixture(autouse=True)
def account(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CITYSCAPES_DATASET", raising=False)
    monkeypatch.setenv("CITYSCAPES_USERNAME", USER)
    monkeypatch.setenv("CITYSCAPES_PASSWORD", PASSWORD)


def point_to(project, address: str) -> None:
    fine = {"editions.fine.site": address, "editions.fine.images": COUNTS}
    set_params(project.root / "pipeline/datasets/cityscapes.yaml", fine)


def test_account_downloads_unpacks_and_prepares(packages, project):
    with serving(*answers(packages)) as (address, requested):
        point_to(project, address)
        project.ok("download", "cityscapes")
        assert "nothing to do" in project.ok("download", "cityscapes")
    paths = [request.split()[1].decode() for request in requested]
    assert paths == [
        "/login", "/login", "/downloads/?list", "/md5-sum/?packageID=1",
        "/file-handling/?packageID=1", "/md5-sum/?packageID=0", "/file-handling/?packageID=0",
    ]  # fmt: skip
    assert b"username=ada%40example.org&password=correct+horse&submit=Login" in requested[1]
    assert all(b"Cookie: session=good" in request for request in requested[2:])
    project.ok("prepare", "cityscapes")
    labels = list((project.root / "data/prepared/cityscapes/labels").rglob("*.png"))
    assert len(labels) == COUNTS["train"] + COUNTS["val"]
    assert not list((project.root / "data").rglob("*.zip"))


def test_credentials_file_of_csdownload_is_used(packages, project, monkeypatch):
    with serving(*answers(packages)) as (address, requested):
        point_to(project, address)
        monkeypatch.delenv("CITYSCAPES_PASSWORD")
        credentials_file().parent.mkdir(parents=True)
        credentials_file().write_text(json.dumps({"username": "eve", "password": "from file"}))
        project.ok("download", "cityscapes")
    assert b"username=eve&password=from+file" in requested[1]


def test_missing_credentials_say_exactly_what_to_do(project, monkeypatch):
    monkeypatch.delenv("CITYSCAPES_USERNAME")
    text = project.fails("download", "cityscapes")
    for advice in ("register", "CITYSCAPES_USERNAME", "--archive", "--root", "CITYSCAPES_DATASET"):
        assert advice in text
    assert not (project.root / "data/raw/cityscapes").exists()


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        (lambda _: [LOGIN[0], answer(b"<html>try again</html>")], "refused"),
        (lambda packages: answers(packages, ["leftImg8bit_trainvaltest.zip"]),
         "does not offer gtFine_trainvaltest.zip"),
        (lambda packages: answers(packages, md5="0" * 32), "wrong checksum"),
    ],
)  # fmt: skip
def test_refusal_of_the_site_is_one_message(packages, project, replies, message):
    with serving(*replies(packages)) as (address, _):
        point_to(project, address)
        text = project.fails("download", "cityscapes")
    assert message in text
    assert PASSWORD not in text
    assert not (project.root / "data/raw/cityscapes").exists()


def test_archives_and_folders_at_hand_need_no_account(project, packages, tmp_path, monkeypatch):
    monkeypatch.delenv("CITYSCAPES_USERNAME")
    paths = []
    for name, content in packages.items():
        paths += ["--archive", tmp_path / name]
        (tmp_path / name).write_bytes(content)
    project.ok("download", "cityscapes", *paths)
    folder = tmp_path / "existing"
    for path in paths[1::2]:
        zipfile.ZipFile(path).extractall(folder)
    project.ok("download", "cityscapes", "--root", folder)
    image = next((project.root / "data/raw/cityscapes/leftImg8bit").rglob("*.png"))
    assert image.is_symlink()
    assert not image.readlink().is_relative_to(project.root / "data")


def test_existing_folder_is_found_by_its_variable(project, packages, tmp_path, monkeypatch):
    for content in packages.values():
        zipfile.ZipFile(io.BytesIO(content)).extractall(tmp_path / "existing")
    monkeypatch.setenv("CITYSCAPES_DATASET", str(tmp_path / "existing"))
    monkeypatch.delenv("CITYSCAPES_USERNAME")
    project.ok("download", "cityscapes")
    assert Path(project.root / "data/raw/cityscapes/gtFine").is_dir()


def test_truncated_archive_leaves_no_raw_folder(project, packages, tmp_path):
    name = "gtFine_trainvaltest.zip"
    (tmp_path / name).write_bytes(packages[name][:-500])
    text = project.fails("download", "cityscapes", "--archive", tmp_path / name)
    assert "truncated" in text
    assert not list((project.root / "data/raw").glob("[!.]*"))
