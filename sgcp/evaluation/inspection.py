"""Find what looks wrong in a prepared dataset, from what was seen of each picture."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgcp.datasets.classes import SemanticClass
from sgcp.datasets.survey import Picture, Survey
from sgcp.errors import shorten
from sgcp.evaluation.findings import Finding, groups_to_json
from sgcp.evaluation.kinds import Kind
from sgcp.evaluation.suspicions import (
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
    MOST_PICTURES,
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


def find_suspicions(surveys: Sequence[Survey], classes: Sequence[SemanticClass]) -> list[Finding]:
    """Return what looks wrong, by kind in the order of ``SUSPICIONS``; names are images' paths."""
    known = {item.train_id: item.name for item in classes}
    found = [
        *(finding for survey in surveys for finding in _alone(survey, known)),
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


def _name(survey: Survey) -> str:
    return survey.item.image.as_posix()


def _alone(survey: Survey, known: dict[int, str]) -> Iterator[Finding]:
    """Find what one picture and its label show by themselves."""
    name, item, picture, label = _name(survey), survey.item, survey.picture, survey.label
    for error in survey.errors:
        yield Finding(UNREADABLE, name, error)
    changed = [
        what
        for what, now, before in (
            ("picture", picture, item.image_digest),
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
        yield Finding(MISFIT, name, f"label {sizes[0]}, picture {sizes[1]}")
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


def _twice(surveys: Sequence[Survey]) -> Iterator[Finding]:
    """Find equal images and labels."""
    read = [survey for survey in surveys if survey.picture is not None]
    for group in _equal(read, lambda s: s.picture.digest if s.picture else ""):
        splits = {survey.item.split for survey in group}
        labels = {survey.label.digest for survey in group if survey.label}
        note = "; labels differ" if len(labels) > 1 else ""
        kind = LEAK if len(splits) > 1 else TWICE
        yield Finding(kind, _name(group[0]), f"and {shorten(map(_name, group[1:]))}{note}")
    labelled = [s for s in surveys if s.label and s.picture and len(s.label.classes) > 1]
    for group in _equal(labelled, lambda s: s.label.digest if s.label else ""):
        if len({s.picture.digest for s in group if s.picture}) > 1:
            yield Finding(LABEL_TWICE, _name(group[0]), f"and {shorten(map(_name, group[1:]))}")


def _nearly_twice(surveys: Sequence[Survey]) -> Iterator[Finding]:
    """Find each picture's nearest of an earlier split, unless it is the same picture."""
    read = [(survey, survey.picture) for survey in surveys if survey.picture is not None]
    distances = outline_distances([picture.outline for _, picture in read])
    for place, (row, (survey, picture)) in enumerate(zip(distances, read, strict=True)):
        others = [
            (float(row[other]), _name(read[other][0]))
            for other in np.flatnonzero(row[:place] <= NEAR)
            if read[other][0].item.split != survey.item.split
            and read[other][1].digest != picture.digest
        ]
        if others:
            distance, nearest = min(others)
            yield Finding(NEAR_LEAK, _name(survey), f"and {nearest}, {distance:.0%} differ")


def outline_distances(outlines: Sequence[bytes]) -> Iterator[NDArray[np.float64]]:
    """Yield, for each outline, the share of the bits in which each of them differs from it."""
    words = np.array([np.frombuffer(outline, dtype=np.uint64) for outline in outlines])
    for one in words:
        yield np.bitwise_count(words ^ one).sum(1) / (64 * words.shape[1])


def _equal(surveys: Iterable[Survey], key: Callable[[Survey], str]) -> list[list[Survey]]:
    """Return those of equal keys, where there are several."""
    groups = defaultdict(list)
    for survey in surveys:
        groups[key(survey)].append(survey)
    return [group for group in groups.values() if len(group) > 1]


def _without_label(surveys: Sequence[Survey]) -> Iterator[Finding]:
    labelled = {survey.item.split for survey in surveys if survey.item.label is not None}
    for survey in surveys:
        if survey.item.label is None and survey.item.split in labelled:
            yield Finding(NO_LABEL, _name(survey))


def _rare_classes(surveys: Sequence[Survey], known: dict[int, str]) -> Iterator[Finding]:
    labelled = [survey for survey in surveys if survey.label is not None]
    where: dict[int, list[Survey]] = defaultdict(list)
    for survey in labelled:
        for train_id in survey.label.classes if survey.label else ():
            where[train_id].append(survey)
    trained = any(survey.item.split == "train" for survey in labelled)
    for train_id, name in known.items():
        places = where[train_id]
        if places and trained and all(survey.item.split != "train" for survey in places):
            such = f"{len(places)} labels, such as" if len(places) > 1 else "one label alone,"
            yield Finding(UNTRAINED, name, f"in {such} {_name(places[0])}")
        elif len(places) == 1 and len(labelled) >= FEW_LABELS:
            yield Finding(LONE_CLASS, _name(places[0]), name)


def _unlike_most(surveys: Sequence[Survey]) -> Iterator[Finding]:
    pictures = [(survey, survey.picture) for survey in surveys if survey.picture is not None]
    enough = MOST_PICTURES * len(pictures)
    sizes = Counter(picture.size for _, picture in pictures)
    common, count = max(sizes.items(), key=lambda pair: pair[1], default=((0, 0), 0))
    if count >= enough:
        for survey, picture in pictures:
            if picture.size != common:
                sizes_said = [" x ".join(map(str, size)) for size in (picture.size, common)]
                yield Finding(ODD_SIZE, _name(survey), f"{sizes_said[0]}, most {sizes_said[1]}")
    if sum(picture.colored for _, picture in pictures) >= enough:
        yield from (
            Finding(GREY, _name(survey))
            for survey, picture in pictures
            if not picture.colored and not picture.constant
        )
