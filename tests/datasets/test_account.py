"""The Cityscapes account path, against a local server that speaks the site's protocol."""

import io
import json
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from server import PASSWORD, USER, Site, serve

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


@pytest.fixture
def site(packages, project, monkeypatch, tmp_path):
    """A server with the packages, a project that points to it, and no credentials."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CITYSCAPES_DATASET", raising=False)
    for name in ("CITYSCAPES_USERNAME", "CITYSCAPES_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    with serve(Site(packages)) as site:
        path = project.root / "pipeline/datasets/cityscapes.yaml"
        yaml = YAML()
        content = yaml.load(path.read_text())
        content["editions"]["fine"] |= {"site": site.url, "images": COUNTS}
        yaml.dump(content, path)
        yield site


@pytest.fixture
def account(monkeypatch):
    monkeypatch.setenv("CITYSCAPES_USERNAME", USER)
    monkeypatch.setenv("CITYSCAPES_PASSWORD", PASSWORD)


def test_account_downloads_unpacks_and_prepares(site, project, account):
    project.ok("download", "cityscapes")
    project.ok("prepare", "cityscapes")
    labels = list((project.root / "data/prepared/cityscapes/labels").rglob("*.png"))
    assert len(labels) == COUNTS["train"] + COUNTS["val"]
    assert not (project.root / "data/downloads").exists() or not list(
        (project.root / "data/downloads").rglob("*.zip")
    )
    before = len(site.requests)
    assert "nothing to do" in project.ok("download", "cityscapes")
    assert len(site.requests) == before


def test_credentials_file_of_csdownload_is_used(site, project):
    credentials_file().parent.mkdir(parents=True)
    credentials_file().write_text(json.dumps({"username": USER, "password": PASSWORD}))
    project.ok("download", "cityscapes")


def test_missing_credentials_say_exactly_what_to_do(site, project):
    text = project.fails("download", "cityscapes")
    for advice in ("register", "CITYSCAPES_USERNAME", "--archive", "--root", "CITYSCAPES_DATASET"):
        assert advice in text
    assert site.requests == []
    assert not (project.root / "data/raw/cityscapes").exists()


def test_wrong_password_is_refused_and_not_shown(site, project, account, monkeypatch):
    monkeypatch.setenv("CITYSCAPES_PASSWORD", "wrong secret")
    text = project.fails("download", "cityscapes")
    assert "refused" in text
    assert "wrong secret" not in text


def test_package_not_offered_is_named(site, project, account):
    with serve(Site({"leftImg8bit_trainvaltest.zip": b"x"})) as poor:
        path = project.root / "pipeline/datasets/cityscapes.yaml"
        path.write_text(path.read_text().replace(site.url, poor.url))
        text = project.fails("download", "cityscapes")
    assert "gtFine_trainvaltest.zip" in text


def test_wrong_published_checksum_leaves_no_raw_folder(site, project, account):
    site.md5["gtFine_trainvaltest.zip"] = "0" * 32
    assert "wrong checksum" in project.fails("download", "cityscapes")
    assert not (project.root / "data/raw/cityscapes").exists()


def test_archives_and_folders_at_hand_need_no_account(site, project, packages, tmp_path):
    paths = []
    for name, content in packages.items():
        paths += ["--archive", tmp_path / name]
        (tmp_path / name).write_bytes(content)
    project.ok("download", "cityscapes", *paths)
    folder = tmp_path / "existing"
    for path in paths[1::2]:
        zipfile.ZipFile(path).extractall(folder)
    assert site.requests == []
    project.ok("download", "cityscapes", "--root", folder)
    image = next((project.root / "data/raw/cityscapes/leftImg8bit").rglob("*.png"))
    assert image.is_symlink()
    project.ok("prepare", "cityscapes")


def test_existing_folder_is_found_by_its_variable(site, project, packages, tmp_path, monkeypatch):
    for content in packages.values():
        zipfile.ZipFile(io.BytesIO(content)).extractall(tmp_path / "existing")
    monkeypatch.setenv("CITYSCAPES_DATASET", str(tmp_path / "existing"))
    project.ok("download", "cityscapes")
    assert Path(project.root / "data/raw/cityscapes/gtFine").is_dir()


def test_truncated_archive_leaves_no_raw_folder(site, project, packages, tmp_path):
    name = "gtFine_trainvaltest.zip"
    (tmp_path / name).write_bytes(packages[name][:-500])
    text = project.fails("download", "cityscapes", "--archive", tmp_path / name)
    assert "truncated" in text
    assert not list((project.root / "data/raw").glob("[!.]*"))
