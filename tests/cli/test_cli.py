import pytest
from conftest import Project

COMMANDS = ["download", "prepare", "train", "validate", "predict", "package-submission",
            "check-submission", "import-checkpoint", "browse", "report"]  # fmt: skip


def test_help_lists_every_command(project: Project):
    text = project.ok("--help")
    for command in COMMANDS:
        assert command in text


def test_unkncustom_dataset_lists_the_known(project: Project):
    assert "choose one of sample, camvid, cityscapes, own" in project.fails("train", "kitti")


def test_dataset_may_be_left_out_where_one_is_enabled(project: Project):
    assert "street scenes" in project.ok("download")
    project.set(datasets=["sample", "camvid"])
    assert "name one of sample, camvid" in project.fails("download")


def test_outside_a_project_says_so(tmp_path):
    assert "no params.yaml" in Project(tmp_path).fails("train", "sample")


def test_commands_work_from_a_folder_below(project: Project):
    (project.root / "below").mkdir()
    Project(project.root / "below").ok("download", "sample")
    assert (project.root / "data/raw/sample").is_dir()


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("prepare", "run `sgcp download sample` first"),
        ("train", "run `sgcp prepare sample` first"),
        ("validate", "run `sgcp prepare sample` first"),
        ("predict", "run `sgcp prepare sample` first"),
        ("package-submission", "run `sgcp predict sample` first"),
    ],
)
def test_stage_before_its_turn_names_the_one_to_run(project: Project, command, advice):
    assert advice in project.fails(command, "sample")


def test_invalid_params_stop_every_command(project: Project):
    project.set(sample__train__lr=-1)
    for command in ("download", "train", "package-submission"):
        assert "sample.train.quick.lr: should be greater than 0" in project.fails(command, "sample")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prepare", "sample", "--protocol", "strict"), "only CamVid"),
        (("prepare", "camvid", "--protocol", "both"), "'strict' or 'grouped'"),
        (("validate", "sample", "--split", "dev"), "'train', 'val' or 'test'"),
        (("download", "camvid", "--archive", "absent.zip"), "absent.zip: no such"),
        (("download", "camvid", "a.zip"), "given as --archive FILE..."),
        (("download", "cityscapes", "--root", "absent"), "no such folder"),
        (("import-checkpoint", "absent.tar", "out"), "absent.tar: no such file"),
    ],
)
def test_wrong_options_are_explained(project: Project, arguments, message):
    assert message in project.fails(*arguments)


def test_unknown_option_is_a_usage_error(project: Project):
    assert project.run("train", "--fast").exit_code == 2
