"""Findings of a check, grouped by kind: as text, and as JSON for scripts."""

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count, groupby
from typing import Any

from sgcp.core.errors import printable

SHOWN = 3  # examples of a kind for people; the JSON report has every one
NAME_LENGTH = 100  # characters of a name in a message; a zip allows 65,535
WIDTH = 80


@dataclass(frozen=True)
class Kind:
    """One kind of finding."""

    key: str
    """Its name for scripts."""
    title: str
    """Its name for people, in few words."""
    advice: str
    """What it means for the score and what to do."""
    refused: bool = True
    """An error; otherwise a warning."""
    cityscapes: str = ""
    """What to add where Cityscapes' own evaluator and server judge."""
    order: int = field(default_factory=count().__next__, compare=False)
    """Kinds are listed in the order in which they are defined."""

    def advise(self, cityscapes: bool) -> str:
        """Return the advice for Cityscapes' own images, or for those of another dataset."""
        return f"{self.advice} {self.cityscapes}".strip() if cityscapes else self.advice


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one file, image, city or class."""

    kind: Kind
    name: str
    detail: str = ""

    def __str__(self) -> str:
        name = one_line(self.name)
        short = name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 3]}..."
        return f"{short}: {self.detail}" if self.detail else short


@dataclass(frozen=True)
class Report:
    """What a check found."""

    findings: tuple[Finding, ...]
    files: int
    """Files in the submission, of whatever sort."""
    images: int
    """Images read and judged by their pixels."""
    pixels: Mapping[str, int]
    """Pixels of each scored class over all images read, by name."""
    cityscapes: bool = True
    """Whether Cityscapes' own images were compared with: its evaluator and server judge them."""

    @property
    def passed(self) -> bool:
        """Tell whether nothing but warnings was found."""
        return self.count(refused=True) == 0

    def groups(self) -> list[tuple[Kind, list[Finding]]]:
        """Return the findings by kind, in the order of their definition: errors before warnings."""
        return group_by_kind(self.findings)

    def count(self, refused: bool) -> int:
        """Return the number of errors, or of warnings."""
        return sum(finding.kind.refused == refused for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return every finding by kind, and each class's share of the pixels."""
        total = max(1, sum(self.pixels.values()))
        return {
            "passed": self.passed,
            "files": self.files,
            "images": self.images,
            "problems": groups_to_json(
                (group for group in self.groups() if group[0].refused), self.cityscapes
            ),
            "warnings": groups_to_json(
                (group for group in self.groups() if not group[0].refused), self.cityscapes
            ),
            "pixel_share": {name: count / total for name, count in self.pixels.items()},
        }


def group_by_kind(findings: Iterable[Finding]) -> list[tuple[Kind, list[Finding]]]:
    """Return findings by kind, in the order of their definition: errors before warnings."""
    ordered = sorted(findings, key=lambda finding: finding.kind.order)
    return [(kind, list(group)) for kind, group in groupby(ordered, lambda item: item.kind)]


def groups_to_json(
    groups: Iterable[tuple[Kind, list[Finding]]], cityscapes: bool = False
) -> list[dict[str, Any]]:
    """Return every finding by kind, for scripts."""
    return [
        {
            "kind": kind.key,
            "title": kind.title,
            "advice": kind.advise(cityscapes),
            "count": len(group),
            "found": [{"name": one_line(f.name), "detail": f.detail} for f in group],
        }
        for kind, group in groups
    ]


def one_line(name: str) -> str:
    """Return a name as one line that cannot steer a terminal: zips hold names of any bytes."""
    return printable(name).replace("\n", "\\n")


def examples(group: list[Finding]) -> list[str]:
    """Return a line for each of the first findings, and one for the rest."""
    lines = [str(finding) for finding in group[:SHOWN]]
    return [*lines, f"... and {len(group) - SHOWN} more"] if len(group) > SHOWN else lines


def wrapped(text: str, indent: str = "") -> str:
    """Return prose in lines of ``WIDTH``, the further ones two deeper."""
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def describe(groups: Iterable[tuple[Kind, list[Finding]]], cityscapes: bool) -> str:
    """Put groups into plain lines: the kind with its count, examples, what to do."""
    lines = []
    for kind, group in groups:
        advice = kind.advise(cityscapes)
        lines.append(wrapped(f"{kind.title} ({len(group)}): {advice}", "  "))
        lines += [f"    {line}" for line in examples(group)]
    return "\n".join(lines)
