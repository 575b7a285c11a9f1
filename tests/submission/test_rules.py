"""What each finding of a submission says: which file, and what is known of it."""

import warnings
import zipfile

from submissions import (
    GOOD,
    SIZE,
    STEMS,
    check,
    write_zip,
)

from sgcp.core.findings import Finding, Report
from sgcp.submission.archive import Entry
from sgcp.submission.check import Task, judge_entry, match_files
from sgcp.submission.expected import Expected, KnownImages
from sgcp.submission.rules import DAMAGED, SPECIAL


def details(report: Report, kind: str) -> list[tuple[str, str]]:
    return [(f.name, f.detail) for f in report.findings if f.kind.key == kind]


def test_each_finding_names_its_file_and_what_is_known_of_it(tmp_path):
    one = f"{STEMS[0]}.png"
    files = GOOD | {
        f"b/{STEMS[0]}_color.png": GOOD[one],
        "preds.tar.gz": b"x",
        f"{STEMS[1]}.v2.PNG": b"x",
        "__MACOSX/notes.txt": b"x",
        "a/__MACOSX/deep.png": b"x",
        "Thumbs.db": b"x",
        "notes.txt": b"x",
    }
    report = check(write_zip(tmp_path / "r.zip", files))
    assert details(report, "double") == [(STEMS[0], f"b/{STEMS[0]}_color.png, {one}")] or details(
        report, "double"
    ) == [(STEMS[0], f"{one}, b/{STEMS[0]}_color.png")]
    assert details(report, "nested-archive") == [("preds.tar.gz", "")]
    assert details(report, "ending") == [(f"{STEMS[1]}.v2.PNG", "")]
    assert {name for name, _ in details(report, "system-file")} == {
        "__MACOSX/notes.txt", "a/__MACOSX/deep.png", "Thumbs.db",
    }  # fmt: skip
    assert details(report, "stray") == [("notes.txt", "")]
    same = details(report, "same-content")
    assert len(same) == 1
    assert same[0][1] in (f"as {one}", f"as b/{STEMS[0]}_color.png")


def test_what_a_container_finds_itself_is_kept(tmp_path):
    """Names twice in the zip are found before any image is read."""
    path = write_zip(tmp_path / "r.zip", GOOD)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(f"{STEMS[0]}.png", GOOD[f"{STEMS[0]}.png"])
    assert [name for name, _ in details(check(path), "duplicate-member")] == [f"{STEMS[0]}.png"]


def test_file_that_cannot_be_read_is_damaged_and_named():
    entry = Entry("a/x.png")

    class Broken:
        def read(self, entry):
            raise OSError("no medium")

    judgement = judge_entry(Task(entry, SIZE), Broken(), {})
    assert [(f.kind, f.name, f.detail) for f in judgement.findings] == [
        (DAMAGED, "a/x.png", "no medium")
    ]


def test_file_that_is_not_opened_says_why(tmp_path):
    finding = Finding(DAMAGED, "x", "why")
    images = KnownImages([Expected("x", SIZE)])
    answers, findings = match_files([Entry("x.png", closed=finding)], images)
    assert findings == [finding]
    assert list(answers) == ["x"]


def test_link_that_answers_no_image_is_told_as_a_link():
    link, other = Finding(SPECIAL, "y"), Finding(DAMAGED, "z")
    entries = [Entry("y.txt", closed=link), Entry("z.txt", closed=other)]
    _, findings = match_files(entries, KnownImages([]))
    assert findings[0] is link
    assert (findings[1].kind.key, findings[1].name) == ("stray", "z.txt")


def test_number_of_another_image_is_not_taken_for_a_beginning():
    images = KnownImages([Expected("1", SIZE), Expected("berlin_000000_000019", SIZE)])
    assert images.image_of("10.png") is None
    assert images.image_of("1.png") == images.image_of("1_labels.png") == "1"
    # as the official evaluator has it
    assert images.image_of("berlin_000000_0000190.png") == "berlin_000000_000019"
