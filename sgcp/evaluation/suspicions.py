"""What looks wrong in a prepared dataset: each kind, its threshold in words, and how it is found.

The thresholds are set where a street scene by day or night stays clear of them: on CamVid's 701
frames and on the sample they flag nothing but what is there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from sgcp.datasets.classes import SemanticClass
from sgcp.datasets.survey import Picture, Survey
from sgcp.evaluation.findings import Finding
from sgcp.evaluation.kinds import Kind

LEAST_LABELLED = 0.25
DARK, BRIGHT = 16, 239  # of 0 .. 255
LEAST_CONTRAST = 24
MOST_PICTURES = 0.9  # share from which the rest is odd
FEW_LABELS = 20  # below, a class that one picture alone has is no surprise

UNREADABLE = Kind(
    "unreadable", "cannot be read",
    "a picture or label that the index names is missing or damaged; training and scoring will stop "
    "there. Get it again, or prepare again.",
)  # fmt: skip
CHANGED = Kind(
    "changed", "changed since",
    "pixels that are not those the index describes: the file was changed after `sgcp prepare`. "
    "Prepare again.",
)  # fmt: skip
UNKNOWN_IDS = Kind(
    "unknown-ids", "unknown ids",
    "labels with ids that are neither a class nor 255; they would be trained on as classes that do "
    "not exist. Correct the mapping of ids, then prepare again.",
)  # fmt: skip
MISFIT = Kind(
    "misfit", "label of another size",
    "a label whose height and width are not its picture's. They do not belong together.",
)  # fmt: skip
LEAK = Kind(
    "across-splits", "same across splits",
    "pictures of exactly the same pixels in two splits: what is scored was trained on. Take one "
    "out.",
)  # fmt: skip
NAME_TWICE = Kind(
    "name-twice", "name twice",
    "pictures of one file name; predictions are named after them and would be mixed up. Rename.",
)  # fmt: skip
TWICE = Kind(
    "twice", "same twice",
    "pictures of exactly the same pixels within a split; they count twice in training and scores.",
    False,
)  # fmt: skip
LABEL_TWICE = Kind(
    "label-twice", "same label twice",
    "labels that are equal in every pixel though their pictures differ: copied, or one frame's "
    "label saved for another? Labels of one class or of none are left to their own kinds.", False,
)  # fmt: skip
NO_LABEL = Kind(
    "no-label", "label missing",
    "pictures without a label in a split whose other pictures have one; the split cannot be "
    "trained on or scored.",
)  # fmt: skip
UNLABELLED = Kind(
    "unlabelled", "nearly unlabelled",
    f"less than {LEAST_LABELLED:.0%} of the pixels are labelled, the rest is 255. Is the label "
    "unfinished, or do its ids stand in no table?", False,
)  # fmt: skip
ONE_CLASS = Kind(
    "one-class", "one class alone",
    "every labelled pixel is of the same class, which a street scene hardly is.", False,
)  # fmt: skip
LONE_CLASS = Kind(
    "lone-class", "class seen nowhere else",
    f"a class that occurs in one label only, of {FEW_LABELS} or more: a slip of the annotation, or "
    "too rare to be learned.", False,
)  # fmt: skip
UNTRAINED = Kind(
    "untrained", "class not in train",
    "classes that are labelled in another split and never in train: they cannot be learned, and "
    "are scored 0.", False,
)  # fmt: skip
CONSTANT = Kind(
    "constant", "one colour", "every pixel of the picture is the same; the file is empty or lost.",
    False,
)  # fmt: skip
BLACK = Kind(
    "black", "nearly black",
    f"99 % of the pixels are darker than {DARK} of 255: lens covered, or exposure failed.", False,
)  # fmt: skip
WHITE = Kind(
    "white", "nearly white",
    f"99 % of the pixels are brighter than {BRIGHT} of 255: blinded, or exposure failed.", False,
)  # fmt: skip
FLAT = Kind(
    "flat", "hardly any contrast",
    f"all grey levels but the outer 1 % on each side lie within {LEAST_CONTRAST} of 255: fog, a "
    "blank picture, or a label saved as a picture.", False,
)  # fmt: skip
GREY = Kind(
    "grey", "grey among coloured",
    f"pictures without any colour where {MOST_PICTURES:.0%} or more have some.", False,
)  # fmt: skip
ODD_SIZE = Kind(
    "odd-size", "another size",
    f"pictures of another size than {MOST_PICTURES:.0%} or more of all.", False,
)  # fmt: skip
SUSPICIONS = (
    UNREADABLE, CHANGED, UNKNOWN_IDS, MISFIT, LEAK, NO_LABEL, NAME_TWICE, TWICE, LABEL_TWICE,
    UNLABELLED, ONE_CLASS, LONE_CLASS, UNTRAINED, CONSTANT, BLACK, WHITE, FLAT, GREY, ODD_SIZE,
)  # fmt: skip


def find_suspicions(surveys: Sequence[Survey], classes: Sequence[SemanticClass]) -> list[Finding]:
    """Return what looks wrong, by kind in the order of ``SUSPICIONS``; names are images' paths."""
    known = {item.train_id: item.name for item in classes}
    found = [
        *(finding for survey in surveys for finding in _alone(survey, known)),
        *_twice(surveys),
        *_without_label(surveys),
        *_rare_classes(surveys, known),
        *_unlike_most(surveys),
    ]
    return sorted(found, key=lambda finding: SUSPICIONS.index(finding.kind))


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
        yield Finding(UNKNOWN_IDS, name, f"{_few(map(str, unknown))}")
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
    """Find equal pictures, names and labels."""
    read = [survey for survey in surveys if survey.picture is not None]
    for group in _equal(read, lambda s: s.picture.digest if s.picture else ""):
        splits = {survey.item.split for survey in group}
        labels = {survey.label.digest for survey in group if survey.label}
        note = "; labels differ" if len(labels) > 1 else ""
        kind = LEAK if len(splits) > 1 else TWICE
        yield Finding(kind, _name(group[0]), f"and {_few(map(_name, group[1:]))}{note}")
    for group in _equal(surveys, lambda s: s.item.stem):
        yield Finding(NAME_TWICE, _name(group[0]), f"and {_few(map(_name, group[1:]))}")
    labelled = [s for s in surveys if s.label and s.picture and len(s.label.classes) > 1]
    for group in _equal(labelled, lambda s: s.label.digest if s.label else ""):
        if len({s.picture.digest for s in group if s.picture}) > 1:
            yield Finding(LABEL_TWICE, _name(group[0]), f"and {_few(map(_name, group[1:]))}")


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
        if len(places) == 1 and len(labelled) >= FEW_LABELS:
            yield Finding(LONE_CLASS, _name(places[0]), name)
        elif places and trained and all(survey.item.split != "train" for survey in places):
            yield Finding(UNTRAINED, name, f"in {len(places)} labels, such as {_name(places[0])}")


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


def _few(names: Iterable[str], most: int = 3) -> str:
    """Return a few names in words, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
