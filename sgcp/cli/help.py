"""Help that teaches: sections instead of boxes, alike on a terminal and in a pipe, with examples.

A command's docstring is its help. Paragraphs that begin with ``Example:`` are commands to copy and
go to its end. Typer wraps and aligns; here is only what stands where.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from inspect import cleandoc
from typing import Any

import typer
from typer.core import TyperCommand

from sgcp.cli.failures import FriendlyGroup
from sgcp.cli.output import SHARED_PARAMETERS
from sgcp.cli.project import PANELS

EXAMPLE = "Example:"
OTHERS = "More commands"
ARGUMENTS, OPTIONS, GENERAL = "Arguments", "Options", "General"
EVERYWHERE = ("help", "quiet", "version", "install_completion", "show_completion")
START = """
sgcp segment street.jpg          label an image: weights come along
sgcp download sample             the whole pipeline, on a small dataset
sgcp prepare sample
sgcp train sample
sgcp validate sample
sgcp predict sample
sgcp package-submission sample
sgcp train --help                each command has examples
"""
REMARK = 33  # column


class CommandTable(typer.Typer):
    """Commands whose help is laid out here; all take what ``SHARED_PARAMETERS`` holds.

    Args:
        panel: the section that they stand in, where they name none.
    """

    def __init__(self, panel: str | None = None) -> None:
        super().__init__()
        self.panel = panel

    def command(self, name: str | None = None, **details: Any) -> Callable[[Any], Any]:
        """Register a command, as Typer does."""
        details = {"cls": TeachingCommand, "rich_help_panel": self.panel} | details
        return super().command(name, **details)


class TeachingCommand(TyperCommand):
    """A command with its options by section and its examples last."""

    def __init__(self, name: str | None, *, help: str | None = None, **details: Any) -> None:
        paragraphs = [" ".join(part.split()) for part in cleandoc(help or "").split("\n\n")]
        self.examples = [
            part.removeprefix(EXAMPLE).strip() for part in paragraphs if part.startswith(EXAMPLE)
        ]
        text = "\n\n".join(part for part in paragraphs if not part.startswith(EXAMPLE))
        details["short_help"] = details.get("short_help") or summary(text)
        super().__init__(name, help=text, **details)
        self.params += SHARED_PARAMETERS

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the usage line's words, arguments as other programs write them."""
        return plain_usage(super().collect_usage_pieces(ctx))

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the text, not indented."""
        write_paragraphs(self.help or "", formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, a section each."""
        write_parameters(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, ready to be copied."""
        if self.examples:
            with formatter.section(heading("Examples" if self.examples[1:] else "Example")):
                for example in self.examples:
                    formatter.write(textwrap.indent(fold(example, formatter.width - 4), "  "))


class TeachingGroup(FriendlyGroup):
    """The whole program: its commands by section, then how to start."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the text, not indented."""
        write_paragraphs(self.help or "", formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        write_parameters(self.get_params(ctx), ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands by section, in the order of ``PANELS``."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if not command.hidden:
                section = sections.setdefault(command.rich_help_panel or OTHERS, [])
                section.append((name, command.short_help or summary(command.help or "")))
        longest = max(len(name) for rows in sections.values() for name, _ in rows)
        order = {title: place for place, title in enumerate(PANELS)}
        for title in sorted(sections, key=lambda title: order.get(title, len(order))):
            padded = [(name.ljust(longest), text) for name, text in sections[title]]
            write_section(title, padded, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write how to start."""
        with formatter.section(heading("Start here")):
            for line in START.strip().splitlines():
                command, remark = line[:REMARK].rstrip(), line[REMARK:]
                fits = remark and 2 + len(line) <= formatter.width
                gap = " " * (REMARK - len(command))
                shown = f"{name_style(command)}{gap}{remark}" if fits else name_style(command)
                formatter.write(f"  {shown}\n")


def write_parameters(parameters: Iterable[Any], ctx: Any, formatter: Any) -> None:
    """Write arguments, then options by their sections; what every command takes comes last."""
    sections: dict[str, list[tuple[str, str]]] = {ARGUMENTS: [], OPTIONS: []}
    general: list[tuple[str, str]] = []
    for parameter in parameters:
        record = parameter.get_help_record(ctx)
        if record is None:  # hidden
            continue
        name, text = record[0], " ".join(record[1].split())
        panel = parameter.rich_help_panel or OPTIONS
        if parameter.param_type_name == "argument":
            name = parameter.metavar or parameter.name.upper()
            name, panel = f"{name}..." if parameter.nargs != 1 else name, ARGUMENTS
        rows = general if parameter.name in EVERYWHERE else sections.setdefault(panel, [])
        rows.append((name, text))
    for title, rows in [*sections.items(), (GENERAL, general)]:
        if rows:
            write_section(title, rows, formatter)


def write_section(title: str, rows: Sequence[tuple[str, str]], formatter: Any) -> None:
    """Write names with what they mean; on a narrow terminal the meaning keeps most of the line."""
    with formatter.section(heading(title)):
        styled = [(name_style(name), text) for name, text in rows]
        formatter.write_dl(styled, col_max=min(26, formatter.width // 3))


def write_paragraphs(text: str, formatter: Any) -> None:
    """Write prose as wide as the terminal is."""
    formatter.write_paragraph()
    formatter.write_text(text)


def summary(text: str) -> str:
    """Return what a list of commands says of one: its first sentence, up to a colon or so."""
    return re.split(r"[:;]|\.\s|\.$", text.strip(), maxsplit=1)[0].strip()


def plain_usage(pieces: Sequence[str]) -> list[str]:
    """Return ``FILE...`` for Typer's ``{FILE}...``."""
    return [re.sub(r"\{([^}]*)\}", r"\1", piece) for piece in pieces]


def fold(command: str, width: int) -> str:
    """Return a command in lines of at most ``width``, which a shell reads as one."""
    lines = textwrap.wrap(
        command, width - 2, subsequent_indent="    ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return " \\\n".join(lines) + "\n"


def heading(text: str) -> str:
    """Return a section's title; styles are left out where there is no terminal."""
    return typer.style(text, bold=True)


def name_style(text: str) -> str:
    """Return the name of a command or an option."""
    return typer.style(text, fg="cyan")
