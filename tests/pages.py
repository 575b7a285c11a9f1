"""The project's Markdown pages, taken apart: links, headings, code and what it names."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import Any

from conftest import ROOT
from markdown_it import MarkdownIt
from markdown_it.token import Token
from ruamel.yaml import YAML

# Not below the environment, data, what mutmut copies: many files, none of them a page.
FOLDERS = [p for p in ROOT.iterdir() if p.name not in ("data", "mutants") and p.name[0] != "."]
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in folder.rglob("*.md"))])


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def help_examples(command: Any) -> list[str]:
    """Return the `sgcp` commands at the end of a command's help."""
    lines = (command.epilog or "").replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("sgcp ")]


@cache
def tokens(page: Path | str) -> tuple[Token, ...]:
    """Return the tokens of a page or of its text, those inside of lines after the line's own."""
    text = page.read_text(encoding="utf-8") if isinstance(page, Path) else page
    found: list[Token] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        found += [token, *(token.children or ())]
    return tuple(found)


def section(path: Path, title: str) -> str:
    """Return the text below a heading of the second level."""
    return path.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]


def add_settings(params: Path, block: str) -> None:
    """Merge a YAML block of a page into a params.yaml, whose anchors it may use."""
    text, yaml = params.read_text(encoding="utf-8"), YAML(typ="safe", pure=True)
    if text.startswith("{"):  # written by set_params: JSON, without anchors
        content, added = yaml.load(text), yaml.load(block)
    else:
        content = yaml.load(f"{text}\nadded:\n{indent(block, '  ')}")
        added = content.pop("added")
    params.write_text(json.dumps(_merged(content, added)))


def _merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in more.items():
        below = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if below else value
    return merged


def fences(path: Path | str, language: str) -> list[str]:
    """Return the code blocks of a language, in order."""
    return [t.content for t in tokens(path) if t.type == "fence" and t.info == language]


def code_spans(path: Path) -> list[str]:
    """Return what stands in backticks within lines."""
    return [t.content for t in tokens(path) if t.type == "code_inline"]


def links(path: Path) -> list[str]:
    """Return where links and images lead."""
    where = [t.attrGet("href") or t.attrGet("src") for t in tokens(path)]
    return [str(target) for target in where if target]


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    page = tokens(path)
    titles = [page[i + 1].content for i, t in enumerate(page) if t.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def first_cells(path: Path) -> list[Token]:
    """Return the code in the first column of a page's tables, without the header."""
    found, column = [], 0
    for token in tokens(path):
        if token.type in ("tr_open", "table_close"):
            column = 0
        column += token.type == "td_open"
        if token.type == "code_inline" and column == 1:
            found.append(token)
    return found


def split_commands(words: list[str]) -> Iterator[list[str]]:
    """Yield the commands of a line that ``&&``, ``;`` or ``|`` join."""
    while words:
        end = next((i for i, word in enumerate(words) if word in ("&&", ";", "|")), len(words))
        yield words[:end]
        words = words[end + 1 :]


def shell_lines(path: Path) -> Iterator[list[str]]:
    """Yield the words of each command of the console blocks and of spans such as `sgcp train`."""
    commands = [
        line.removeprefix("$ ")
        for block in fences(path, "console")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("$ ")
    ]
    for command in [*commands, *code_spans(path)]:
        try:
            words = shlex.split(command, comments=True)
        except ValueError:  # a quotation mark is open: a piece of a message
            continue
        yield from split_commands(words)


# What code prints: its literal texts, with \0 for what is filled in.


def sources() -> list[ast.Module]:
    paths = sorted((ROOT / "sgcp").rglob("*.py"))
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


def constants(trees: list[ast.Module]) -> dict[str, str]:
    """Return the modules' named texts, such as ``PARAMS_FILE``, by name."""
    return {
        target.id: node.value.value
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def fill(text: ast.JoinedStr, named: dict[str, str]) -> str:
    """Return an f-string's literal text, with named constants in their places."""
    parts = []
    for part in text.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
        else:
            parts.append(named.get(getattr(getattr(part, "value", None), "id", ""), "\0"))
    return "".join(parts)


@cache
def templates() -> tuple[str, ...]:
    """Return every text of the package but docstrings, and the Makefile with its own messages."""
    found = [(ROOT / "Makefile").read_text(encoding="utf-8")]
    trees = sources()
    named = constants(trees)
    for tree in trees:
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                found.append(fill(node, named))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found += [] if id(node) in prose else [node.value]
    return tuple(found)


PLACEHOLDER = re.compile(r"\.\.\.|\bHxW\b|\b[A-Z][A-Z0-9_]*\b")


def is_printed(message: str) -> bool:
    """Tell whether the code holds a message; capitals and ``...`` in it stand for anything."""
    literals = [piece for piece in PLACEHOLDER.split(message) if piece]
    if sum(map(len, literals)) < 6:
        return False
    pattern = re.compile(".*".join(map(re.escape, literals)), re.DOTALL)
    return any(pattern.search(template) for template in templates())
