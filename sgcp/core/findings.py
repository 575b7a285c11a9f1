"""Findings of a check, grouped by kind: as text for people, as JSON for scripts."""

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count, groupby
from typing import Any

from rich.table import Table
from rich.text import Text

from sgcp.core.errors import first_lines, printable
from sgcp.core.terminal import WIDTH

EXAMPLES = 3  # of a kind in the text; the JSON has every finding
NAME_LENGTH = 100  # characters of a name in a message; a zip allows 65,535


@dataclass(frozen=True)
class Kind:
    """A kind of finding."""

    key: str
    """Its name for scripts."""
    title: str
    """Its name for people."""
    advice: str
    """What it means for the score and what to do."""
    refused: bool = True
    """An error; otherwise a warning."""
    cityscapes: str = ""
    """Advice to add where Cityscapes' own evaluator and server judge."""
    order: int = field(default_factory=count().__next__, compare=False)
    """Kinds are listed in the order of their definition."""

    def advise(self, cityscapes: bool) -> str:
        """Return the advice for Cityscapes' own images or for another dataset's."""
        return f"{self.advice} {self.cityscapes}".strip() if cityscapes else self.advice


@dataclass(frozen=True)
class Finding:
    """One problem of one file, image, city or class."""

    kind: Kind
    name: str
    detail: str = ""

    def __str__(self) -> str:
        long = len(self.line) > NAME_LENGTH
        name = f"{self.line[: NAME_LENGTH - 3]}..." if long else self.line
        return f"{name}: {self.detail}" if self.detail else name

    @property
    def line(self) -> str:
        """The name as one line that cannot control a terminal: zips hold names of any bytes."""
        return printable(self.name).replace("\n", "\\n")


Groups = list[tuple[Kind, list[Finding]]]


@dataclass(frozen=True)
class Report:
    """The result of a check."""

    findings: tuple[Finding, ...]
    files: int
    """Files in the submission."""
    images: int
    """Images whose pixels were read."""
    pixels: Mapping[str, int]
    """Pixels of each scored class over all images, by name."""
    cityscapes: bool = True
    """Whether the images are Cityscapes' own, judged by its evaluator and server."""

    @property
    def passed(self) -> bool:
        """Whether there are only warnings."""
        return self.count(refused=True) == 0

    def groups(self) -> Groups:
        """Return the findings by kind."""
        return group_by_kind(self.findings)

    def count(self, refused: bool) -> int:
        """Return the number of errors, or of warnings."""
        return sum(finding.kind.refused == refused for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return every finding by kind, and each class's share of the pixels."""
        total = max(1, sum(self.pixels.values()))
        errors = [(kind, group) for kind, group in self.groups() if kind.refused]
        warnings = [(kind, group) for kind, group in self.groups() if not kind.refused]
        return {
            "passed": self.passed,
            "files": self.files,
            "images": self.images,
            "problems": groups_to_json(errors, self.cityscapes),
            "warnings": groups_to_json(warnings, self.cityscapes),
            "pixel_share": {name: count / total for name, count in self.pixels.items()},
        }


def group_by_kind(findings: Iterable[Finding]) -> Groups:
    """Return findings by kind, in the order of the kinds' definition."""
    ordered = sorted(findings, key=lambda finding: finding.kind.order)
    return [(kind, list(group)) for kind, group in groupby(ordered, lambda item: item.kind)]


def groups_to_json(groups: Groups, cityscapes: bool = False) -> list[dict[str, Any]]:
    """Return every finding by kind, for scripts."""
    return [
        {
            "kind": kind.key,
            "title": kind.title,
            "advice": kind.advise(cityscapes),
            "count": len(group),
            "found": [{"name": f.line, "detail": f.detail} for f in group],
        }
        for kind, group in groups
    ]


def wrapped(text: str, indent: str = "") -> str:
    """Return text in lines of ``WIDTH`` columns, the further ones indented by two more."""
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def describe(groups: Groups, cityscapes: bool) -> str:
    """Return groups as text: the kind with its count and advice, then examples."""
    return "\n".join(
        wrapped(f"{kind.title} ({len(group)}): {kind.advise(cityscapes)}", "  ")
        + textwrap.indent(f"\n{first_lines(group, EXAMPLES)}", "    ")
        for kind, group in groups
    )


def finding_table(groups: Groups) -> Table:
    """Return a row for each kind: its title, the count, examples."""
    table = Table()
    table.add_column("found", min_width=19)
    table.add_column("count", justify="right", min_width=5)
    table.add_column("such as", overflow="fold")
    for kind, group in groups:
        title = kind.title if kind.refused else f"{kind.title} (warning)"
        style = "red" if kind.refused else "yellow"
        table.add_row(Text(title, style), str(len(group)), Text(first_lines(group, EXAMPLES)))
    return table
