"""Images that a submission must answer: given by name, or by public facts about Cityscapes."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from unicodedata import normalize

from sgcp.core.findings import Finding
from sgcp.submission import rules

# The images of each city of the test split, as published in its list of files.
TEST_CITIES = {
    "berlin": 544, "bielefeld": 181, "bonn": 46, "leverkusen": 58, "mainz": 298, "munich": 398,
}  # fmt: skip
OTHER_CITIES = dict.fromkeys(("frankfurt", "lindau", "munster"), "validation split")
OTHER_CITIES |= dict.fromkeys((
    "aachen", "bochum", "bremen", "cologne", "darmstadt", "dusseldorf", "erfurt", "hamburg",
    "hanover", "jena", "krefeld", "monchengladbach", "strasbourg", "stuttgart", "tubingen", "ulm",
    "weimar", "zurich",
), "training split")  # fmt: skip
TEST_SIZE = (1024, 2048)
FORM = re.compile(r"([a-z]+)_\d{6}_\d{6}", re.ASCII)


@dataclass(frozen=True)
class KnownImages:
    """Images known by name and size."""

    sizes: Mapping[str, tuple[int, int]]
    """(height, width) of each original image by its prediction's path without ending, such as
    ``<city>_<seq>_<frame>``: exactly one file of that folder must begin with it."""
    published: int | None = None
    """How many the benchmark has; None where it sets no number."""
    cityscapes: bool = True
    """Whether they are Cityscapes' own, which its evaluator and server judge."""

    @cached_property
    def _named(self) -> dict[str, list[str]]:
        """Images by the last part of their name."""
        named: dict[str, list[str]] = {}
        for name in self.sizes:
            named.setdefault(PurePosixPath(name).name, []).append(name)
        return named

    @cached_property
    def _lengths(self) -> list[int]:
        return sorted({len(name) for name in self._named}, reverse=True)

    def _beginnings(self, path: str) -> list[str]:
        """Return the last parts of names that a file's begins with, the longest first.

        Where images are not named as Cityscapes' are, a number does not go on: ``10`` is not ``1``.
        """
        stem = PurePosixPath(path).stem
        found = dict.fromkeys(stem[:length] for length in self._lengths)
        return [name for name in found if name in self._named and not _goes_on(name, stem)]

    def image_of(self, path: str) -> str | None:
        """Return the image that a file answers: of the most folders, then of the longest name.

        A file ``a/b/0001_x.png`` answers ``a/b/0001``, else ``b/0001``, else ``0001``: the
        evaluator's ``STEM*`` at any depth.
        """
        path = normalize("NFC", path)
        folders, beginnings = PurePosixPath(path).parts[:-1], self._beginnings(path)
        names = (
            "/".join((*folders[start:], beginning))
            for start in range(len(folders) + 1)
            for beginning in beginnings
        )
        return next((name for name in names if name in self.sizes), None)

    def images_named(self, path: str) -> list[str]:
        """Return the images of the longest name that a file's name begins with."""
        return next((self._named[name] for name in self._beginnings(normalize("NFC", path))), [])

    def size_of(self, image: str) -> tuple[int, int]:
        """Return an image's (height, width)."""
        return self.sizes[image]

    def lacking(self, answered: Collection[str]) -> list[Finding]:
        """Name every image without a prediction, and too few images to compare with."""
        missing = sorted(self.sizes.keys() - set(answered))
        findings = [Finding(rules.MISSING, name) for name in missing]
        if self.published is not None and len(self.sizes) != self.published:
            text = f"{len(self.sizes)} test images are known, the benchmark has {self.published}"
            findings.append(Finding(rules.COUNT, text))
        return findings


def _goes_on(beginning: str, name: str) -> bool:
    if FORM.fullmatch(beginning):
        return False
    return beginning[-1:].isdigit() and name[len(beginning) : len(beginning) + 1].isdigit()


class PublicCityscapes:
    """Public facts about the test images of Cityscapes: cities, numbers, names and size."""

    cityscapes = True

    def image_of(self, path: str) -> str | None:
        """Return ``<city>_<seq>_<frame>``, six digits each, of a city of the test split."""
        match = FORM.match(PurePosixPath(path).name)
        return match[0] if match and match[1] in TEST_CITIES else None

    def images_named(self, path: str) -> list[str]:
        """Return none: a folder never tells these images apart."""
        return []

    def size_of(self, image: str) -> tuple[int, int]:
        """Return (height, width), the same for all."""
        return TEST_SIZE

    def lacking(self, answered: Collection[str]) -> list[Finding]:
        """Name every city with more or fewer images than published."""
        counts = Counter(image.split("_")[0] for image in answered)
        return [
            Finding(rules.CITY_COUNT, city, f"{counts[city]} of {count} images")
            for city, count in TEST_CITIES.items()
            if counts[city] != count
        ]


Images = KnownImages | PublicCityscapes
