"""Find what looks wrong in a prepared dataset, from what was seen of each image."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgcp.core.errors import shorten
from sgcp.core.findings import Finding, Kind, groups_to_json
from sgcp.datasets.classes import SemanticClass
from sgcp.inspection.rules import (
    BLACK,
    BRIGHT,
    CHANGED,
    CONSTANT,
    DARK,
    FEW_LABELS,
    FLAT,
    GREY,
    LABEL_TWICE,
    LEAK,
    LEAST_CONTRAST,
    LEAST_LABELLED,
    LONE_CLASS,
    MISFIT,
    MOST_IMAGES,
    NEAR,
    NEAR_LEAK,
    NO_LABEL,
    ODD_SIZE,
    ONE_CLASS,
    SUSPICIONS,
    TWICE,
    UNKNOWN_IDS,
    UNLABELLED,
    UNREADABLE,
    UNTRAINED,
    WHITE,
)
from sgcp.inspection.statistics import DatasetStatistics, Picture


def find_suspicions(
    surveys: Sequence[DatasetStatistics], classes: Sequence[SemanticClass]
) -> list[Finding]:
    """Return what looks wrong, by kind in the order of ``SUSPICIONS``; names are images' paths."""
    known = {item.train_id: item.name for item in classes}
    found = [
        *(
            finding
            for dataset_statistics in surveys
            for finding in _alone(dataset_statistics, known)
        ),
        *_twice(surveys),
        *_nearly_twice(surveys),
        *_without_label(surveys),
        *_rare_classes(surveys, known),
        *_unlike_most(surveys),
    ]
    return sorted(found, key=lambda finding: SUSPICIONS.index(finding.kind))


def group_suspicions(findings: Iterable[Finding]) -> list[tuple[Kind, list[Finding]]]:
    """Return findings by kind, in the order of ``SUSPICIONS``."""
    groups: dict[Kind, list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[finding.kind].append(finding)
    return sorted(groups.items(), key=lambda group: SUSPICIONS.index(group[0]))


def suspicions_to_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return every finding by kind, for scripts."""
    return groups_to_json(group_suspicions(findings))


def _name(dataset_statistics: DatasetStatistics) -> str:
    return dataset_statistics.item.image.as_posix()


def _alone(dataset_statistics: DatasetStatistics, known: dict[int, str]) -> Iterator[Finding]:
    """Find what one image and its label show by themselves."""
    name, item, picture, label = (
        _name(dataset_statistics),
        dataset_statistics.item,
        dataset_statistics.picture,
        dataset_statistics.label,
    )
    for error in dataset_statistics.errors:
        yield Finding(UNREADABLE, name, error)
    changed = [
        what
        for what, now, before in (
            ("image", picture, item.image_digest),
            ("label", label, item.label_digest),
        )
        if now is not None and now.digest != before
    ]
    if changed:
        yield Finding(CHANGED, name, " and ".join(changed))
    if picture is not None and (kind := _exposure(picture)) is not None:
        yield Finding(kind, name, f"grey levels {picture.dark} to {picture.bright}")
    if label is None:
        return
    if unknown := sorted(label.classes - known.keys()):
        yield Finding(UNKNOWN_IDS, name, shorten(unknown))
    if picture is not None and label.size != picture.size:
        sizes = [" x ".join(map(str, size)) for size in (label.size, picture.size)]
        yield Finding(MISFIT, name, f"label {sizes[0]}, image {sizes[1]}")
    if label.coverage < LEAST_LABELLED:
        yield Finding(UNLABELLED, name, f"{label.coverage:.1%} labelled")
    if len(label.classes) == 1:
        only = next(iter(label.classes))
        yield Finding(ONE_CLASS, name, known.get(only, str(only)))


def _exposure(picture: Picture) -> Kind | None:
    """Return the first that is true: what is constant may be black, what is black is flat."""
    if picture.constant:
        return CONSTANT
    if picture.bright < DARK:
        return BLACK
    if picture.dark > BRIGHT:
        return WHITE
    return FLAT if picture.bright - picture.dark < LEAST_CONTRAST else None


def _twice(surveys: Sequence[DatasetStatistics]) -> Iterator[Finding]:
    """Find equal images and labels."""
    read = [
        dataset_statistics
        for dataset_statistics in surveys
        if dataset_statistics.picture is not None
    ]
    for group in _equal(read, lambda s: s.picture.digest if s.picture else ""):
        splits = {dataset_statistics.item.split for dataset_statistics in group}
        labels = {
            dataset_statistics.label.digest
            for dataset_statistics in group
            if dataset_statistics.label
        }
        note = "; labels differ" if len(labels) > 1 else ""
        kind = LEAK if len(splits) > 1 else TWICE
        yield Finding(kind, _name(group[0]), f"and {shorten(map(_name, group[1:]))}{note}")
    labelled = [s for s in surveys if s.label and s.picture and len(s.label.classes) > 1]
    for group in _equal(labelled, lambda s: s.label.digest if s.label else ""):
        if len({s.picture.digest for s in group if s.picture}) > 1:
            yield Finding(LABEL_TWICE, _name(group[0]), f"and {shorten(map(_name, group[1:]))}")


def _nearly_twice(surveys: Sequence[DatasetStatistics]) -> Iterator[Finding]:
    """Find each image's nearest of an earlier split, unless it is the same image."""
    read = [
        (dataset_statistics, dataset_statistics.picture)
        for dataset_statistics in surveys
        if dataset_statistics.picture is not None
    ]
    distances = _outline_distances([picture.outline for _, picture in read])
    for place, (row, (dataset_statistics, picture)) in enumerate(zip(distances, read, strict=True)):
        others = [
            (float(row[other]), _name(read[other][0]))
            for other in np.flatnonzero(row[:place] <= NEAR)
            if read[other][0].item.split != dataset_statistics.item.split
            and read[other][1].digest != picture.digest
        ]
        if others:
            distance, nearest = min(others)
            yield Finding(
                NEAR_LEAK, _name(dataset_statistics), f"and {nearest}, {distance:.0%} differ"
            )


def _outline_distances(outlines: Sequence[bytes]) -> Iterator[NDArray[np.float64]]:
    """Yield, for each outline, the share of the bits in which each of them differs from it."""
    words = np.array([np.frombuffer(outline, dtype=np.uint64) for outline in outlines])
    for one in words:
        yield np.bitwise_count(words ^ one).sum(1) / (64 * words.shape[1])


def _equal(
    surveys: Iterable[DatasetStatistics], key: Callable[[DatasetStatistics], str]
) -> list[list[DatasetStatistics]]:
    """Return those of equal keys, where there are several."""
    groups = defaultdict(list)
    for dataset_statistics in surveys:
        groups[key(dataset_statistics)].append(dataset_statistics)
    return [group for group in groups.values() if len(group) > 1]


def _without_label(surveys: Sequence[DatasetStatistics]) -> Iterator[Finding]:
    labelled = {
        dataset_statistics.item.split
        for dataset_statistics in surveys
        if dataset_statistics.item.label is not None
    }
    for dataset_statistics in surveys:
        if dataset_statistics.item.label is None and dataset_statistics.item.split in labelled:
            yield Finding(NO_LABEL, _name(dataset_statistics))


def _rare_classes(surveys: Sequence[DatasetStatistics], known: dict[int, str]) -> Iterator[Finding]:
    labelled = [
        dataset_statistics for dataset_statistics in surveys if dataset_statistics.label is not None
    ]
    where: dict[int, list[DatasetStatistics]] = defaultdict(list)
    for dataset_statistics in labelled:
        for train_id in dataset_statistics.label.classes if dataset_statistics.label else ():
            where[train_id].append(dataset_statistics)
    trained = any(dataset_statistics.item.split == "train" for dataset_statistics in labelled)
    for train_id, name in known.items():
        places = where[train_id]
        if (
            places
            and trained
            and all(dataset_statistics.item.split != "train" for dataset_statistics in places)
        ):
            such = f"{len(places)} labels, such as" if len(places) > 1 else "one label alone,"
            yield Finding(UNTRAINED, name, f"in {such} {_name(places[0])}")
        elif len(places) == 1 and len(labelled) >= FEW_LABELS:
            yield Finding(LONE_CLASS, _name(places[0]), name)


def _unlike_most(surveys: Sequence[DatasetStatistics]) -> Iterator[Finding]:
    images = [
        (dataset_statistics, dataset_statistics.picture)
        for dataset_statistics in surveys
        if dataset_statistics.picture is not None
    ]
    enough = MOST_IMAGES * len(images)
    sizes = Counter(picture.size for _, picture in images)
    common, count = max(sizes.items(), key=lambda pair: pair[1], default=((0, 0), 0))
    if count >= enough:
        for dataset_statistics, picture in images:
            if picture.size != common:
                sizes_said = [" x ".join(map(str, size)) for size in (picture.size, common)]
                yield Finding(
                    ODD_SIZE, _name(dataset_statistics), f"{sizes_said[0]}, most {sizes_said[1]}"
                )
    if sum(picture.colored for _, picture in images) >= enough:
        yield from (
            Finding(GREY, _name(dataset_statistics))
            for dataset_statistics, picture in images
            if not picture.colored and not picture.constant
        )
