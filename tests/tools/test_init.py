"""`sgcp init`: what it writes, what it leaves alone, and that the project runs."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TINY, Project, set_params
from customs import halves, noise, save
from PIL import Image
from ruamel.yaml import YAML
from test_pipeline import Clone
from wheels import build_wheel

from sgcp.core import files
from sgcp.datasets.custom_classes import read_classes
from sgcp.settings.load import load_params
from sgcp.tools import init as tool

NEEDED = {"params.yaml", "dvc.yaml"}


@pytest.fixture
def desk(tmp_path: Path) -> Project:
    """An empty folder to work in, with nothing beside it."""
    (tmp_path / "desk").mkdir()
    return Project(tmp_path / "desk")


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def yaml(path: Path):
    return YAML(typ="safe", pure=True).load(path.read_text())


def git(root: Path, *command: str) -> None:
    subprocess.run(["git", *command], cwd=root, check=True, capture_output=True)


def test_project_has_the_files_of_this_one(desk):
    output = desk.ok("init", "new")
    made = desk.root / "new"
    for name in ("params.yaml", ".dvcignore", "pipeline/datasets/camvid.yaml"):
        assert (made / name).read_bytes() == (ROOT / name).read_bytes()
    assert {path.name for path in (made / "pipeline").iterdir()} == {
        "classes", "code.yaml", "datasets", "plots", "splits",
    }  # fmt: skip
    shown = output.splitlines()[-4:]
    assert shown[0].split() == ["cd", "new"]
    assert [line.split()[:2] for line in shown[1:]] == [
        ["sgcp", "download"], ["sgcp", "prepare"], ["sgcp", "train"],
    ]  # fmt: skip


def test_graph_is_this_one_with_digests_instead_of_code(desk):
    desk.ok("init")
    made, ours = yaml(desk.root / "dvc.yaml"), yaml(ROOT / "dvc.yaml")
    assert set(made) == {"stages"}
    digests = yaml(desk.root / "pipeline/code.yaml")
    for name, stage in ours["stages"].items():
        stage["deps"] = [dep for dep in stage["deps"] if not dep.startswith("sgcp/")]
        stage["params"] += [{"pipeline/code.yaml": [name]}]
        assert len(digests[name]) == 16
    assert made["stages"] == ours["stages"]
    assert len({*digests.values()}) == len(ours["stages"])


def test_second_run_changes_nothing(desk):
    desk.ok("init")
    before = tree(desk.root)
    assert "complete, nothing to do" in desk.ok("init")
    assert tree(desk.root) == before


def test_existing_files_are_kept_and_named(desk, tmp_path):
    desk.ok("init", tmp_path / "whole")
    names = [name for name in tree(tmp_path / "whole") if name not in NEEDED]
    for name in names:
        (desk.root / name).parent.mkdir(parents=True, exist_ok=True)
        (desk.root / name).write_text(f"mine: {name}\n")
    output = desk.ok("init")
    kept = next(line for line in output.splitlines() if "kept your" in line)
    assert all(name.partition("/")[0] in kept for name in names)
    assert "add the line `/data/`" in output
    content = tree(desk.root)
    assert {name for name in content if content[name] == f"mine: {name}\n".encode()} == {*names}


@pytest.mark.parametrize("name", sorted(NEEDED))
@pytest.mark.parametrize("content", ["a: 1\n", "\xff", "stages: {train: {cmd: python train.py}}\n"])
def test_needed_file_of_another_program_is_kept_and_refused(desk, name, content):
    (desk.root / name).write_bytes(content.encode("latin-1"))
    message = desk.fails("init")
    assert name in message
    assert "Rename it, run `sgcp init .` again" in message
    assert (desk.root / name).read_bytes() == content.encode("latin-1")


@pytest.mark.parametrize("options", [(), ("--custom", "/data/mine")])
def test_folder_of_other_files_is_refused_unless_git_or_sgcp_knows_it(desk, options):
    for name in (".bashrc", "thesis.tex"):
        (desk.root / name).write_text("mine")
    before = tree(desk.root)
    message = desk.fails("init", *options)
    assert ".: contains other files (.bashrc, thesis.tex) and is in no git repository" in message
    assert "`sgcp init streets`, or run `git init`" in message
    assert tree(desk.root) == before
    desk.ok("init", "new")
    (desk.root / "new/thesis.tex").write_text("mine")
    desk.ok("init", "new")  # a project already
    git(desk.root, "init", "-q")
    desk.ok("init")
    (desk.root / "below").mkdir()
    (desk.root / "below/x").write_text("mine")
    desk.ok("init", "below")


def test_environment_and_data_may_come_before_the_project(desk):
    for name in (".venv", "data"):
        (desk.root / name).mkdir()
    desk.ok("init")


def test_file_in_the_place_of_a_folder_is_named(desk):
    (desk.root / "pipeline").write_text("")
    assert "is a file where a folder belongs" in desk.fails("init")


def test_killed_anywhere_it_continues(desk, tmp_path, monkeypatch):
    desk.ok("init", tmp_path / "whole" / "desk")
    whole, replace = tree(tmp_path / "whole" / "desk"), Path.replace
    for moment in range(len(whole)):
        left = [moment]

        def stop(path, target, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return replace(path, target)

        shutil.rmtree(desk.root)
        desk.root.mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(files.Path, "replace", stop)
            assert desk.run("init").exit_code == 130
        assert len(tree(desk.root)) == moment
        desk.ok("init")
        assert tree(desk.root) == whole


def test_git_repository_gets_dvc_with_git(desk):
    git(desk.root, "init", "-q")
    output = desk.ok("init", "below")
    assert "no_scm" not in (desk.root / "below/.dvc/config").read_text()
    assert "training needs a first commit" in output
    assert "analytics = false" in (desk.root / "below/.dvc/config").read_text()


def test_without_git_dvc_is_set_to_do_without(desk):
    assert "no git repository" in desk.ok("init")
    assert "no_scm = True" in (desk.root / ".dvc/config").read_text()


def test_upgrade_is_noticed_until_init_runs_again(desk):
    desk.ok("init")
    set_params(desk.root / "params.yaml", TINY)
    code = desk.root / "pipeline/code.yaml"
    text = code.read_text()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert len(comments) == 2
    assert all(line.endswith("sgcp.") for line in comments)
    code.write_text(re.sub("download: .*", 'download: "0123456789abcdef"', text))
    message = desk.fails("download", "sample")
    assert "Run `sgcp init`" in message
    assert "code.yaml: updated" in desk.ok("init")
    assert code.read_text() == text
    desk.ok("download", "sample")


def test_a_digest_of_code_that_yaml_takes_for_a_number_stays_text(desk, monkeypatch):
    digests = dict.fromkeys(tool.stage_code(ROOT), "12140e5222214047") | {"report": "1" * 16}
    monkeypatch.setattr(tool, "stage_code", lambda root: digests)
    desk.ok("init")
    set_params(desk.root / "params.yaml", TINY)
    assert yaml(desk.root / "pipeline/code.yaml") == digests
    desk.ok("download", "sample")


def test_help_text_is_no_part_of_the_code_of_a_stage(tmp_path, monkeypatch):
    package = Path(shutil.copytree(ROOT / "sgcp", tmp_path / "sgcp"))
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(tool, "PACKAGE", package)
    before = tool.stage_code(tmp_path)
    for name in ("cli/pipeline.py", "submission/check.py"):
        with (package / name).open("a") as file:
            file.write("# a remark\n")
    (package / "inference/_labels.abi3.so").write_bytes(b"")
    after = tool.stage_code(tmp_path)
    assert [name for name in before if before[name] != after[name]] == ["package"]


# A folder of images and labels.


def ground(desk: Project, source: Path) -> tuple[str, str]:
    """Return what `init --custom` prints, and classes.csv."""
    output = desk.ok("init", "--custom", source)
    return output, (source / "classes.csv").read_text()


@pytest.fixture
def unnamed(source: Path) -> Path:
    """A folder without classes.csv: values 3 and 7."""
    (source / "classes.csv").unlink()
    return source


def test_custom_folder_runs_through_the_stages(desk, unnamed):
    output, table = ground(desk, unnamed)
    assert "2 train, 2 val, 1 test images" in output
    assert "6x8 (5)" in output
    assert "`dvc repro` for these stages" in output
    assert table == "name,values,color\nclass_3,3,#ff2211\nclass_7,7,#0000ff\n"
    params = load_params(desk.root / "params.yaml")
    assert params.datasets == ("custom",)
    quick = params.custom.recipes["quick"]
    assert (quick.crop, quick.input_side, quick.batch_size) == ((8, 8), None, 2)
    changes = ("--set", "epochs=1", "--set", "crop=[32,32]")
    for command in (["download"], ["prepare"], ["train", *changes], ["validate"], ["predict"]):
        desk.ok(command[0], "custom", *command[1:])


def test_comments_of_the_settings_stay(desk, unnamed):
    ground(desk, unnamed)
    ours = (ROOT / "params.yaml").read_text().splitlines()
    made = (desk.root / "params.yaml").read_text().splitlines()
    kept = [line for line in ours if line in made]
    assert len(ours) - len(kept) <= 5
    assert sum(line.count("#") for line in made) == sum(line.count("#") for line in ours)


def test_existing_settings_are_kept_and_the_changes_printed(desk, unnamed):
    desk.ok("init")
    before = (desk.root / "params.yaml").read_bytes()
    output, _ = ground(desk, unnamed)
    assert "exists, so it was not changed. Set in it:\n  datasets: [custom]" in output
    assert (desk.root / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("size", "quick", "strong"),
    [
        ((480, 640), (256, (256, 344)), (None, (384, 384))),
        ((1024, 2048), (256, (256, 512)), (512, (384, 384))),
        ((100, 1000), (None, (96, 96)), (None, (96, 96))),
    ],
)
def test_sizes_follow_those_of_the_images(desk, tmp_path, size, quick, strong):
    source = tmp_path / "photos"
    for split in ("train", "val"):
        label = np.zeros(size)
        label[:, : size[1] // 2] = 1
        save(source / f"images/{split}/a.png", np.zeros((*size, 3)))
        save(source / f"labels/{split}/a.png", label)
    ground(desk, source)
    recipes = load_params(desk.root / "params.yaml").custom.recipes
    assert (recipes["quick"].input_side, recipes["quick"].crop) == quick
    assert (recipes["strong"].input_side, recipes["strong"].crop) == strong


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("_classes.csv", "Pixel Value, Class\n3, sea\n7, dry land\n", ["sea", "dry land"]),
        ("classes.txt", "a\nb\nc\nsea\ne\nf\ng\nland\n", ["sea", "land"]),
        ("class_dict.csv", "name,id,r,g,b\nsea,3,0,0,255\nland,7,9,9,9\n", ["sea", "land"]),
        ("classes.json", '{"3": "sea", "7": "land"}', ["sea", "land"]),
        (
            "label_map.json",
            '[{"id": 3, "name": "sea"}, {"id": 7, "name": "land"}]',
            ["sea", "land"],
        ),
        ("classes.yaml", "names: {3: sea, 7: land}\n", ["sea", "land"]),
        ("classes.txt", "3 sea\n7 dry land\n", ["sea", "dry land"]),
        ("classes.txt", "sea 3\ndry land 7\n", ["sea", "dry land"]),
        ("classes.txt", "a\n1 b\n2 b\nlane 1\n3 b\n4 b\n5 b\n3 wheeler\n", ["lane 1", "3 wheeler"]),
        ("classes.txt", "b 1\nb 2\nb 3\nb 4\nb 5\nb 6\nb 7\nb 8\n", ["b 4", "b 8"]),
        ("classes.csv.txt", "3,lane 1\n7,lane 2\n", ["lane 1", "lane 2"]),
        ("classes.json", '["a","b","c","lane 1","d","e","f","lane 2"]', ["lane 1", "lane 2"]),
        ("classes.txt", "\x00\x01 no list \xff\n", ["class_3", "class_7"]),
        ("classes.json", "{[", ["class_3", "class_7"]),
    ],
)
def test_classes_are_named_by_a_list_beside_the_labels(desk, unnamed, name, content, names):
    (unnamed / name).write_bytes(content.encode("latin-1"))
    output, _ = ground(desk, unnamed)
    assert [item.name for item in read_classes(unnamed / "classes.csv").classes] == names
    assert ("named by" in output) == (names[0] != "class_3")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("label_colors.txt", "0 255 0\t\tLand\n0 0 9\tVoid\n1 1 1 Else\n9 0 0 Sea"),
        (
            "labelmap.txt",
            "# label:color_rgb:parts\nLand:0,255,0::\nvoid:0,0,9::\nSea:9,0,0::",
        ),
    ],
)
def test_colours_are_named_too(desk, unnamed, name, content):
    for path in unnamed.glob("labels/*/*.png"):
        label = np.where(np.asarray(Image.open(path))[..., None] == 7, [0, 255, 0], [9, 0, 0])
        label[:2, :2] = 0, 0, 9
        save(path, label)
    (unnamed / name).write_text(content)
    _, table = ground(desk, unnamed)
    assert table.splitlines()[1:] == [
        "Sea,#090000,#090000", "Land,#00ff00,#00ff00", "ignore,#000009,",
    ]  # fmt: skip


def test_255_is_ignored_but_in_a_mask_of_two_values(desk, unnamed):
    paths = [*unnamed.glob("labels/*/*.png")]
    for path in paths:
        save(path, halves(0, 255))
    assert "class_255,255" in ground(desk, unnamed)[1]
    (unnamed / "classes.csv").unlink()
    label = halves(0, 4)
    label[0] = 255
    save(paths[0], label)
    assert ground(desk, unnamed)[1].endswith("class_4,4,#0000ff\nignore,255,\n")


def test_palette_gives_the_colours(desk, unnamed):
    palette = [byte for value in range(256) for byte in (value, 255 - value, 7)]
    for path in unnamed.glob("labels/*/*.png"):
        save(path, halves(7, 3), palette)
    assert ground(desk, unnamed)[1].endswith("class_3,3,#03fc07\nclass_7,7,#07f807\n")


def test_a_palette_with_a_transparent_index_is_a_palette(desk, unnamed):
    for path in unnamed.glob("labels/*/*.png"):
        save(path, halves(7, 3), [*range(256)] * 3)
        Image.open(path).save(path, transparency=3)
    assert "cannot be used" not in ground(desk, unnamed)[0]
    desk.ok("download", "custom")
    desk.ok("prepare", "custom")


def test_folders_are_relative_to_the_project_that_names_them(desk, unnamed):
    """Where the command stands does not matter: beside the images, or below the project."""
    beside, below = Project(unnamed), Project(desk.root / "pipeline")
    beside.ok("init", desk.root, "--custom", ".")
    below.ok("download", "custom")
    (unnamed / "inside").mkdir()
    assert "is or contains" in Project(unnamed / "inside").fails("init", "--custom", unnamed)


def test_blended_edges_are_told_from_classes(desk, tmp_path):
    source = tmp_path / "smooth"
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        label = np.zeros((80, 80, 3), np.uint8)
        label[20:60, 10:50] = 230, 25, 75
        label[40:70, 40:75] = 67, 99, 216
        turned = Image.fromarray(label).rotate(7, Image.Resampling.BICUBIC)
        save(source / f"labels/{split}/a.png", np.asarray(turned))
        save(source / f"images/{split}/a.png", rng.integers(0, 255, (80, 80, 3)))
    output, table = ground(desk, source)
    assert "`dvc repro validate@custom` for these stages" in output  # there is no test split
    assert table.splitlines()[1:] == [
        "class_0,#000000,#000000", "class_1,#e6194b,#e6194b", "class_2,#4363d8,#4363d8",
        "ignore,*,",
    ]  # fmt: skip
    assert "more colours" in output
    desk.ok("download", "custom")
    desk.ok("prepare", "custom")


def test_folder_that_is_not_whole_is_described(desk, unnamed):
    save(unnamed / "images/train/bare.png", noise(8))
    save(unnamed / "images/train/small.png", noise(9, (12, 16)))
    save(unnamed / "labels/train/small.png", halves(3, 7))
    save(unnamed / "images/train/deep.png", noise(9))
    Image.fromarray(halves(3, 7).astype(np.uint16) * 256).save(unnamed / "labels/train/deep.png")
    (unnamed / "images/train/broken.png").write_bytes(b"no image")
    output, _ = ground(desk, unnamed)
    assert "images without a label map: 2 (images/train/bare.png" in output
    assert "labels/train/small.png: 6x8, image 12x16" in output
    assert "deep.png: mode I;16" in output
    assert "images that cannot be used: 1" in output
    assert load_params(desk.root / "params.yaml").custom.prepare.allow_missing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda source: shutil.rmtree(source / "labels"), "lacks labels/SPLIT"),
        (lambda source: shutil.rmtree(source / "labels/val"), "no image of val has a label map"),
        (lambda source: [save(p, halves(3, 3)) for p in source.glob("labels/*/*.png")],
         "have 1 different values (3)"),
        (lambda source: (source / "classes.txt").write_text("3 void\n7 land\n"),
         "1 classes that are not ignored (land)"),
        (lambda source: [save(source / f"labels/{p}.png", np.arange(48).reshape(6, 8) + base)
                         for p, base in zip(["train/a", "train/b", "val/c", "val/d"],
                                            [0, 48, 96, 144], strict=True)],
         "192 rows"),
        (lambda source: (source / "labels/train/a.png").unlink(), "training needs two"),
        (lambda source: [p.write_bytes(b"") for p in source.glob("labels/*/*.png")],
         "no label map can be used"),
        (lambda source: (source / "classes.csv").write_text("a,b\n"), "expected the columns"),
        (lambda source: (source / "images").rename(source / "img"), "lacks images/SPLIT"),
    ],
)  # fmt: skip
def test_problem_of_a_folder_is_a_message(desk, unnamed, change, message):
    change(unnamed)
    result = desk.run("init", "--custom", unnamed)
    assert "Traceback" not in result.output
    assert message in result.output + result.stderr


def test_grey_photographs_are_no_label_maps(desk, tmp_path):
    source = tmp_path / "photos"
    for split in ("train", "val"):
        save(source / f"images/{split}/a.png", noise(1, (16, 16)))
        save(source / f"labels/{split}/a.png", np.arange(256).clip(0, 254).reshape(16, 16))
    message = desk.fails("init", "--custom", source)
    assert "255 classes that are not ignored (class_0, " in message
    assert not (source / "classes.csv").exists()
    assert list(desk.root.iterdir()) == []


def test_table_of_classes_that_exists_is_compared_with_the_labels(desk, source):
    before = (source / "classes.csv").read_bytes()
    save(source / "labels/val/c.png", halves(7, 99))
    output = desk.ok("init", "--custom", source)
    assert "lacks values of the label maps: 99" in output
    assert (source / "classes.csv").read_bytes() == before


# From a wheel, and with DVC.


@pytest.mark.integration
def test_dvc_runs_the_stages_and_those_alone_whose_code_changed(tmp_path):
    made = Clone(tmp_path / "new")
    made.root.mkdir()
    for command in (
        ("init", "-q"),
        ("config", "user.email", "a@b.org"),
        ("config", "user.name", "a"),
    ):
        made.call("git", *command)
    made.environment = lambda: os.environ | {  # the code is not in the project
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT), "COLUMNS": "200",
    }  # fmt: skip
    made.call("sgcp", "init")
    set_params(made.root / "params.yaml", TINY)
    made.commit("start")
    stages = ["download", "prepare", "train", "validate", "predict", "package", "report"]
    assert made.ran(made.call("dvc", "repro")) == stages
    assert "up to date" in made.call("dvc", "repro")
    assert made.call("git", "status", "--short").split()[1::2] == ["dvc.lock", "metrics/"]
    code = made.root / "pipeline/code.yaml"
    code.write_text(re.sub("validate: .*", "validate: 0123456789abcdef", code.read_text()))
    made.call("dvc", "commit", "-f", "validate@sample")  # as an older sgcp would have
    made.call("sgcp", "init")
    assert made.ran(made.call("dvc", "repro", "--dry")) == ["validate"]


@pytest.mark.integration
def test_wheel_carries_the_files_of_the_checkout(tmp_path, desk):
    with zipfile.ZipFile(build_wheel(tmp_path)) as archive:
        archive.extractall(tmp_path / "installed")
    carried = tree(tmp_path / "installed/sgcp/project")
    assert {name: (ROOT / name).read_bytes() for name in carried} == carried
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    command = [sys.executable, "-m", "sgcp", "init", "new"]
    subprocess.run(command, cwd=desk.root, env=environment, check=True)
    desk.ok("init", "other/new")  # of the checkout
    assert tree(desk.root / "new") == tree(desk.root / "other/new")
