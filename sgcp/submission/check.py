"""The rules of a submission: what the Cityscapes server accepts, checked before the upload."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial

from sgcp.core.archives import DAMAGED as BROKEN_ZIP
from sgcp.core.findings import Finding, Report
from sgcp.core.parallel import map_parallel
from sgcp.datasets.classes import SemanticClass
from sgcp.submission import rules
from sgcp.submission.archive import Container, Entry
from sgcp.submission.expected import FORM, OTHER_CITIES, Images
from sgcp.submission.prediction_file import Judgement, judge_image

SYSTEM_FILES = (".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar", ".bz2", ".xz")
FEW = 16  # files that one process checks sooner than several have started


def check_submission(
    container: Container, images: Images, classes: Sequence[SemanticClass]
) -> tuple[Report, dict[str, list[Entry]]]:
    """Check a folder or a zip against every rule.

    Returns:
        What was found, and the files of each image.

    Raises:
        SgcpError: the zip cannot be read at all.
    """
    entries, findings = container.entries()
    answers, more = match_files(entries, images)
    findings += more + images.lacking(answers)
    tasks = [
        (entry, images.size_of(image))
        for image, found in sorted(answers.items())
        for entry in found
        if not entry.closed
    ]
    train_ids = {item.label_id: item.train_id for item in classes}
    judge = partial(judge_entry, container=container, train_ids=train_ids)
    judgements = map_parallel(judge, tasks, "auto" if len(tasks) > FEW else 1, "checking")
    total: Counter[int] = Counter()
    for judgement in judgements:
        findings += judgement.findings
        total.update(judgement.pixels)
    findings += _find_equal([entry.name for entry, _ in tasks], judgements)
    pixels = {item.name: total[item.label_id] for item in classes}
    if not any(finding.kind == rules.TRAIN_IDS for finding in findings) and any(pixels.values()):
        findings += [Finding(rules.ABSENT, name) for name, count in pixels.items() if not count]
    report = Report(tuple(findings), len(entries), len(tasks), pixels, images.cityscapes)
    return report, answers


def match_files(
    entries: Iterable[Entry], images: Images
) -> tuple[dict[str, list[Entry]], list[Finding]]:
    """Find the files of each image: in the image's folder, at any depth, by ``NAME*.png``.

    Cityscapes' images have no folders here: their files are found as the evaluator finds them.
    Where no file lies in an image's folder, the files were saved without these folders, and answer
    the images of their names; a name that several images have answers none.

    Returns:
        Files by image, and the files that answer none or answer it once more.
    """
    answers: dict[str, list[Entry]] = {}
    findings, elsewhere = [], []
    for entry in entries:
        image = images.image_of(entry.path)
        if image is not None and entry.base.endswith(".png"):  # in any folder, __MACOSX too
            answers.setdefault(image, []).append(entry)
        elif _is_system_file(entry):
            findings.append(Finding(rules.SYSTEM, entry.name))
        elif image is None and entry.base.endswith(".png"):
            elsewhere.append(entry)
        else:
            findings.append(_judge_stray(entry, image, images.cityscapes))
    in_folders = any("/" in image for image in answers)
    for entry in elsewhere:
        named = [] if in_folders else images.images_named(entry.path)
        if not named:
            findings.append(_judge_stray(entry, None, images.cityscapes))
        elif len(named) > 1:
            findings.append(Finding(rules.AMBIGUOUS, entry.name, ", ".join(named[:8])))
        else:
            answers.setdefault(named[0], []).append(entry)
    for image, found in sorted(answers.items()):
        findings += [entry.closed for entry in found if entry.closed]
        if len(found) > 1:
            names = ", ".join(entry.name for entry in found[:8])
            findings.append(Finding(rules.DOUBLE, image, names))
    return answers, findings


def _is_system_file(entry: Entry) -> bool:
    """Return whether a file manager left a file, which is not named as a prediction."""
    return (
        entry.base.lower() in SYSTEM_FILES
        or entry.base.startswith("._")
        or "__MACOSX" in entry.name.split("/")
    )


def _judge_stray(entry: Entry, image: str | None, cityscapes: bool) -> Finding:
    if entry.closed and entry.closed.kind == rules.SPECIAL:
        return entry.closed
    ending = entry.base[entry.base.rfind(".") :].lower()
    if ending in ARCHIVES:
        return Finding(rules.NESTED, entry.name)
    if image is not None:
        return Finding(rules.ENDING, entry.name)
    if ending != ".png":
        return Finding(rules.STRAY, entry.name)
    match = FORM.match(entry.base) if cityscapes else None
    if match and (split := OTHER_CITIES.get(match[1])):
        return Finding(rules.OTHER_SPLIT, entry.name, split)
    return Finding(rules.UNKNOWN, entry.name)


def judge_entry(
    task: tuple[Entry, tuple[int, int]], container: Container, train_ids: dict[int, int]
) -> Judgement:
    """Read and judge one file; runs in worker processes."""
    entry, size = task
    try:
        content = container.read(entry)
    except (*BROKEN_ZIP, OSError) as error:
        return Judgement((Finding(rules.DAMAGED, entry.name, str(error)),))
    return judge_image(entry.name, content, size, train_ids)


def _find_equal(names: Sequence[str], judgements: Sequence[Judgement]) -> list[Finding]:
    """Name every file that contains the same pixels as an earlier one."""
    first: dict[bytes, str] = {}
    findings = []
    for name, judgement in zip(names, judgements, strict=True):
        if judgement.digest in first:
            findings.append(Finding(rules.SAME, name, f"as {first[judgement.digest]}"))
        elif judgement.digest:
            first[judgement.digest] = name
    return findings
