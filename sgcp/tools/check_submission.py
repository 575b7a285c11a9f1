"""``check-submission``: anybody's zip or folder of predictions, judged by the server's rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from sgcp.core.errors import SgcpError
from sgcp.core.findings import Report, finding_table, wrapped
from sgcp.core.layout import Layout
from sgcp.core.terminal import answer
from sgcp.datasets.classes import SemanticClass, cityscapes_classes
from sgcp.datasets.index import CITYSCAPES, Located, find_collisions
from sgcp.media.images import read_size
from sgcp.stages.package import known_images
from sgcp.submission.archive import open_container
from sgcp.submission.check import check_submission as check
from sgcp.submission.expected import (
    TEST_CITIES,
    TEST_SIZE,
    Images,
    KnownImages,
    PublicCityscapes,
)

IMAGE_ENDING = "_leftImg8bit.png"
HINT = (
    "exact names were not compared; `--images leftImg8bit/test` does that, or `--dataset NAME` in "
    "a project"
)
PUBLISHED = sum(TEST_CITIES.values())


@dataclass(frozen=True)
class Reference:
    """What a submission is compared with."""

    images: Images
    classes: Sequence[SemanticClass]
    description: str
    exact: bool
    """Whether every image is known by its name."""


def check_submission(
    path: Path, images: Path | None, project: Path | None, dataset: str | None
) -> dict[str, Any]:
    """Check a zip or a folder; show and return every finding, for JSON.

    ``passed`` in it: nothing but warnings was found.

    Args:
        images: folder of the test images to compare with.
        project: folder of the project we stand in, if any.
        dataset: prepared dataset of the project to compare with.

    Raises:
        SgcpError: neither a zip nor a folder; or there is nothing to compare with where asked to.
    """
    container = open_container(path)
    reference = _find_reference(images, project, dataset)
    report, _ = check(container, reference.images, reference.classes)
    show(path, reference, report)
    return {
        "submission": path.as_posix(),
        "compared_with": reference.description,
        "exact_names": reference.exact,
        **report.to_json(),
    }


def _find_reference(images: Path | None, project: Path | None, dataset: str | None) -> Reference:
    """Choose what to compare with: a folder, a prepared dataset, or public knowledge."""
    if images is not None:
        known = _read_images(images)
        description = f"the {len(known.sizes)} images of {images}"
        return Reference(known, cityscapes_classes(), description, exact=True)
    if project is not None and dataset is not None:
        return _prepared_reference(Layout(project, dataset))
    description = (
        f"what is public of Cityscapes' test split: {PUBLISHED} images of "
        f"{TEST_SIZE[0]} x {TEST_SIZE[1]}, their cities and how many there are of each"
    )
    if project is not None and Layout(project, "cityscapes").prepared.is_dir():
        reference = _prepared_reference(Layout(project, "cityscapes"))
        if isinstance(reference.images, KnownImages) and len(reference.images.sizes) == PUBLISHED:
            return reference
        description += f" (not with {reference.description}, which are not all)"
    return Reference(PublicCityscapes(), cityscapes_classes(), description, exact=False)


def _prepared_reference(layout: Layout) -> Reference:
    """Return the test split of a prepared dataset."""
    dataset, known = known_images(layout)
    description = f"the {len(known.sizes)} test images of {layout.prepared}"
    return Reference(known, dataset.classes, description, exact=True)


def _read_images(folder: Path) -> KnownImages:
    """Read names and sizes of the images in ``leftImg8bit/test``, or in a folder above it."""
    if not folder.is_dir():
        raise SgcpError(f"{folder}: no such folder; --images takes Cityscapes' leftImg8bit/test")
    places = (folder / "leftImg8bit" / "test", folder / "test", folder)
    place = next(place for place in places if place.is_dir())
    files = sorted(file for form in ("*", "*/*") for file in place.glob(form + IMAGE_ENDING))
    if not files:
        raise SgcpError(f"{place}: has no images CITY/*{IMAGE_ENDING} to compare with")
    located = {Located("test", Path(CITYSCAPES, "test", f.relative_to(place))): f for f in files}
    if pairs := find_collisions(located):
        one, other = pairs[0]
        raise SgcpError(
            f"{located[one]} and {located[other]}: two images share the prediction "
            f"{one.prediction}.png. Give --images a folder where every name differs in more "
            "than letter case."
        )
    sizes = {one.prediction: read_size(file) for one, file in located.items()}
    cities = {name.split("_")[0] for name in sizes}
    return KnownImages(sizes, PUBLISHED if cities <= TEST_CITIES.keys() else None)


def show(path: Path, reference: Reference, report: Report) -> None:
    """Print the report for a person: a table of what was found, then what to do."""
    answer(Text(f"{path}: {report.files} files, {report.images} images read"))
    answer(Text(wrapped(f"compared with {reference.description}")))
    if not reference.exact:
        answer(Text(wrapped(HINT)))
    if report.findings:
        answer(finding_table(report.groups()))
    for kind, _ in report.groups():
        answer(Text(wrapped(f"{kind.title}: {kind.advise(report.cityscapes)}")))
    answer(verdict(report, reference.exact))


def verdict(report: Report, exact: bool) -> str:
    """Return the last line."""
    errors, others = report.count(refused=True), report.count(refused=False)
    problems = f"{errors or 'no'} problem{'' if errors == 1 else 's'}"
    warnings = f", {others} warning{'' if others == 1 else 's'}" if others else ""
    if not report.passed:
        judge = "the server" if report.cityscapes else "an evaluator"
        meaning = f"{judge} would refuse this or score it wrongly"
    else:
        meaning = "every rule was checked" if exact else "all was checked but the exact names"
    return f"{problems}{warnings}: {meaning}"
