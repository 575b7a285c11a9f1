"""What a submission must answer: images known by name, or what is public about Cityscapes."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from sgcp.evaluation.findings import Finding
from sgcp.evaluation.kinds import CITY_COUNT, COUNT, MISSING, OTHER_SPLIT, UNKNOWN

# The images of each city of the test split, as published in its list of files.
TEST_CITIES = {
    "berlin": 544, "bielefeld": 181, "bonn": 46, "leverkusen": 58, "mainz": 298, "munich": 398,
}  # fmt: skip
VAL_CITIES = ("frankfurt", "lindau", "munster")
TRAIN_CITIES = (
    "aachen", "bochum", "bremen", "cologne", "darmstadt", "dusseldorf", "erfurt", "hamburg",
    "hanover", "jena", "krefeld", "monchengladbach", "strasbourg", "stuttgart", "tubingen", "ulm",
    "weimar", "zurich",
)  # fmt: skip
TEST_SIZE = (1024, 2048)
FORM = re.compile(r"([a-z]+)_\d{6}_\d{6}", re.ASCII)


class Images(Protocol):
    """Which images want a prediction."""

    @property
    def cityscapes(self) -> bool:
        """Return whether they are Cityscapes' own."""

    def stem_of(self, name: str) -> str | None:
        """Return the image that a file answers, by the file's name without folders."""

    def size_of(self, stem: str) -> tuple[int, int]:
        """Return an image's (height, width)."""

    def lacking(self, answered: Collection[str]) -> list[Finding]:
        """Return what is wrong with the images answered, as a whole."""


@dataclass(frozen=True)
class Expected:
    """One test image that a submission must answer."""

    stem: str
    """``<city>_<seq>_<frame>``; exactly one file must begin with it."""
    size: tuple[int, int]
    """(height, width) of the original image."""


@dataclass(frozen=True)
class KnownImages:
    """Images known by name and size."""

    images: Sequence[Expected]
    published: int | None = None
    """How many the benchmark has; None where it sets no number."""
    cityscapes: bool = True
    """Whether they are Cityscapes' own, which its evaluator and server judge."""

    @cached_property
    def _sizes(self) -> dict[str, tuple[int, int]]:
        return {item.stem: item.size for item in self.images}

    @cached_property
    def _lengths(self) -> list[int]:
        return sorted({len(stem) for stem in self._sizes}, reverse=True)

    def stem_of(self, name: str) -> str | None:
        """Return the image that a name begins with, the longest: the evaluator's ``STEM*``.

        Where images are not named as Cityscapes' are, a number does not go on: ``10`` is not ``1``.
        """
        starts = (name[:length] for length in self._lengths)
        return next((s for s in starts if s in self._sizes and not _goes_on(s, name)), None)

    def size_of(self, stem: str) -> tuple[int, int]:
        """Return an image's (height, width)."""
        return self._sizes[stem]

    def lacking(self, answered: Collection[str]) -> list[Finding]:
        """Name every image without a prediction, and too few images to compare with."""
        findings = [Finding(MISSING, stem) for stem in sorted(self._sizes.keys() - set(answered))]
        if self.published is not None and len(self.images) != self.published:
            text = f"{len(self.images)} test images are known, the benchmark has {self.published}"
            findings.append(Finding(COUNT, text))
        return findings


def _goes_on(stem: str, name: str) -> bool:
    if FORM.fullmatch(stem):
        return False
    return stem[-1:].isdigit() and name[len(stem) : len(stem) + 1].isdigit()


class PublicCityscapes:
    """What anybody knows about the test images of Cityscapes: cities, numbers, form and size."""

    cityscapes = True

    def stem_of(self, name: str) -> str | None:
        """Return ``<city>_<seq>_<frame>``, six digits each, of a city of the test split."""
        match = FORM.match(name)
        return match[0] if match and match[1] in TEST_CITIES else None

    def size_of(self, stem: str) -> tuple[int, int]:
        """Return (height, width), the same for all."""
        return TEST_SIZE

    def lacking(self, answered: Collection[str]) -> list[Finding]:
        """Name every city with more or fewer images than published."""
        counts = Counter(stem.split("_")[0] for stem in answered)
        return [
            Finding(CITY_COUNT, city, f"{counts[city]} of {count} images")
            for city, count in TEST_CITIES.items()
            if counts[city] != count
        ]


def judge_unknown(name: str, base: str, cityscapes: bool) -> Finding:
    """Explain a PNG that answers no test image by its name without folders, ``base``."""
    match = FORM.match(base) if cityscapes else None
    if match and match[1] in VAL_CITIES:
        return Finding(OTHER_SPLIT, name, "validation split")
    if match and match[1] in TRAIN_CITIES:
        return Finding(OTHER_SPLIT, name, "training split")
    return Finding(UNKNOWN, name)
