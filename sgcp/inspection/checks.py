"""Find what looks wrong in a prepared dataset, from the statistics of each image."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sgcp.core.errors import shorten
from sgcp.core.findings import Finding, Kind
from sgcp.datasets.classes import SemanticClass
from sgcp.inspection import rules
from sgcp.inspection.statistics import ImageStatistics, Pixels


def find_problems(
    images: Sequence[ImageStatistics], classes: Sequence[SemanticClass]
) -> list[Finding]:
    """Return what looks wrong, in the order of the rules; names are images' paths."""
    known = {item.train_id: item.name for item in classes}
    findings = [
        *(finding for one in images for finding in _in_one(one, known)),
        *_equal_files(images),
        *_nearly_equal(images),
        *_without_label(images),
        *_rare_classes(images, known),
        *_unlike_most(images),
    ]
    return sorted(findings, key=lambda finding: finding.kind.order)


def _in_one(one: ImageStatistics, known: dict[int, str]) -> Iterator[Finding]:
    image, label = one.image, one.label
    for error in one.errors:
        yield Finding(rules.UNREADABLE, one.name, error)
    parts = (("image", image, one.item.image_digest), ("label", label, one.item.label_digest))
    if changed := [part for part, now, before in parts if now and now.digest != before]:
        yield Finding(rules.CHANGED, one.name, " and ".join(changed))
    if image is not None and (kind := _exposure(image)) is not None:
        yield Finding(kind, one.name, f"grey levels {image.dark} to {image.bright}")
    if label is None:
        return
    if unknown := sorted(label.classes - known.keys()):
        yield Finding(rules.UNKNOWN_IDS, one.name, shorten(unknown))
    if image is not None and label.size != image.size:
        yield Finding(rules.MISFIT, one.name, f"label {_by(label.size)}, image {_by(image.size)}")
    if label.coverage < rules.LEAST_LABELLED:
        yield Finding(rules.UNLABELLED, one.name, f"{label.coverage:.1%} labelled")
    if len(label.classes) == 1:
        only = next(iter(label.classes))
        yield Finding(rules.ONE_CLASS, one.name, known.get(only, str(only)))


def _by(size: tuple[int, int]) -> str:
    return " x ".join(map(str, size))


def _exposure(image: Pixels) -> Kind | None:
    if image.constant:  # a constant image may be black, a black one is flat: the first counts
        return rules.CONSTANT
    if image.bright < rules.DARK:
        return rules.BLACK
    if image.dark > rules.BRIGHT:
        return rules.WHITE
    return rules.FLAT if image.bright - image.dark < rules.LEAST_CONTRAST else None


def _equal_files(images: Sequence[ImageStatistics]) -> Iterator[Finding]:
    """Find equal images, and equal labels of different images."""
    for group in _groups((one.image.digest, one) for one in images if one.image):
        labels = {one.label.digest for one in group if one.label}
        note = "; labels differ" if len(labels) > 1 else ""
        kind = rules.LEAK if len({one.item.split for one in group}) > 1 else rules.TWICE
        others = shorten(one.name for one in group[1:])
        yield Finding(kind, group[0].name, f"and {others}{note}")
    labelled = [one for one in images if one.image and one.label and len(one.label.classes) > 1]
    for group in _groups((one.label.digest, one) for one in labelled if one.label):
        if len({one.image.digest for one in group if one.image}) > 1:
            others = shorten(one.name for one in group[1:])
            yield Finding(rules.LABEL_TWICE, group[0].name, f"and {others}")


def _groups(keyed: Iterable[tuple[str, ImageStatistics]]) -> list[list[ImageStatistics]]:
    """Return the images of equal keys, where there are several."""
    groups = defaultdict(list)
    for key, one in keyed:
        groups[key].append(one)
    return [group for group in groups.values() if len(group) > 1]


def _nearly_equal(images: Sequence[ImageStatistics]) -> Iterator[Finding]:
    """Find each image's nearest of an earlier split, unless it is the same image."""
    read = [(one, one.image) for one in images if one.image is not None]
    outlines = np.array([np.frombuffer(image.outline, dtype=np.uint64) for _, image in read])
    for place, (one, image) in enumerate(read):
        # The share of the outline's bits that differ.
        distances = np.bitwise_count(outlines[:place] ^ outlines[place]).mean(1) / 64
        others = [
            (float(distances[other]), read[other][0].name)
            for other in np.flatnonzero(distances <= rules.NEAR)
            if read[other][0].item.split != one.item.split and read[other][1].digest != image.digest
        ]
        if others:
            distance, nearest = min(others)
            yield Finding(rules.NEAR_LEAK, one.name, f"and {nearest}, {distance:.0%} differ")


def _without_label(images: Sequence[ImageStatistics]) -> Iterator[Finding]:
    labelled = {one.item.split for one in images if one.item.label is not None}
    for one in images:
        if one.item.label is None and one.item.split in labelled:
            yield Finding(rules.NO_LABEL, one.name)


def _rare_classes(images: Sequence[ImageStatistics], known: dict[int, str]) -> Iterator[Finding]:
    labelled = [(one, one.label.classes) for one in images if one.label is not None]
    trained = any(one.item.split == "train" for one, _ in labelled)
    for train_id, name in known.items():
        places = [one for one, classes in labelled if train_id in classes]
        if places and trained and all(one.item.split != "train" for one in places):
            such = f"{len(places)} labels, such as" if len(places) > 1 else "one label alone,"
            yield Finding(rules.UNTRAINED, name, f"in {such} {places[0].name}")
        elif len(places) == 1 and len(labelled) >= rules.FEW_LABELS:
            yield Finding(rules.LONE_CLASS, places[0].name, name)


def _unlike_most(images: Sequence[ImageStatistics]) -> Iterator[Finding]:
    read = [(one.name, one.image) for one in images if one.image is not None]
    enough = rules.MOST_IMAGES * len(read)
    for common, count in Counter(image.size for _, image in read).most_common(1):
        odd = [(name, image.size) for name, image in read if image.size != common]
        for name, size in odd if count >= enough else ():
            yield Finding(rules.ODD_SIZE, name, f"{_by(size)}, most {_by(common)}")
    if sum(image.colored for _, image in read) >= enough:
        for name, image in read:
            if not image.colored and not image.constant:
                yield Finding(rules.GREY, name)
