"""Links, commands, options, paths, messages and the graph of the docs match the code."""

import re
import sys

import pytest
from conftest import ROOT
from pages import (
    PAGES,
    anchors,
    code_spans,
    fences,
    first_cells,
    is_printed,
    links,
    page_name,
    shell_lines,
    templates,
    tokens,
)
from typer.main import get_command

from sgcp.cli import app

sys.path.insert(0, str(ROOT / "docs"))
import graph

README = ROOT / "README.md"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
COMMANDS = {
    name: {option for parameter in command.params for option in (*parameter.opts,
                                                                 *parameter.secondary_opts)}
    for name, command in get_command(app).commands.items()
}  # fmt: skip
GENERAL = {option for parameter in get_command(app).params for option in parameter.opts} | {
    "--help"
}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([\w-]+):(?!=)", MAKEFILE, re.MULTILINE))
FOREIGN_OPTIONS = {
    "--queue",  # dvc exp run
    "--compile",  # benchmarks/training_throughput.py, training_profile.py
}
LARGEST_IMAGE = 200_000  # bytes

each_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


def test_pages_are_found():
    assert {"README.md", "docs/api.md", "pipeline/README.md"} <= set(map(page_name, PAGES))


@each_page
def test_links_lead_somewhere(page):
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue  # the web is not asked
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def sgcp_calls(page):
    """Yield what follows `sgcp` in the page's commands, which torchrun may begin."""
    for words in shell_lines(page):
        for index, word in enumerate(words):
            if word == "sgcp" and len(words) > index + 1:
                before = words[:index]
                if all("=" in part for part in before) or before[-1] == "-m":
                    yield words[index + 1 :]


@each_page
def test_commands_and_options_exist(page):
    for command, *words in sgcp_calls(page):
        if command.isupper():
            continue  # any of them
        if command.startswith("-"):
            assert command in GENERAL, command
            continue
        assert command in COMMANDS, f"sgcp {command}"
        for word in words:
            if word.startswith("--"):
                known = COMMANDS[command] | {"--help"}
                assert word.partition("=")[0] in known, f"sgcp {command} {word}"


def test_commands_are_seen():
    named = {call[0] for page in PAGES for call in sgcp_calls(page)}
    assert {"train", "segment", "check-submission", "export"} <= named


@each_page
def test_options_named_alone_belong_to_some_command(page):
    known = set().union(*COMMANDS.values()) | FOREIGN_OPTIONS
    for span in code_spans(page):
        if option := re.match(r"(--[\w-]+)(?=[ =]|$)", span):
            assert option[1] in known, span


@each_page
def test_make_targets_exist(page):
    for words in shell_lines(page):
        if words[:1] == ["make"]:
            targets = [word for word in words[1:] if "=" not in word]
            assert set(targets) <= TARGETS, words


PLACES = ("sgcp/", "tests/", "docs/", "pipeline/", "benchmarks/")


@each_page
def test_paths_of_the_repository_exist(page):
    """``X`` and ``DATASET`` in a path stand for any dataset."""
    for span in code_spans(page):
        for word in span.split():
            if word.startswith(PLACES) and re.fullmatch(r"[\w./*:-]+", word):
                path = re.sub(r"\b(X|DATASET)\b", "*", word.partition("::")[0])
                assert any(ROOT.glob(path.rstrip("/"))), word


def test_readme_names_every_page():
    named = {(README.parent / link).resolve() for link in links(README)}
    assert [page_name(page) for page in PAGES if page != README and page not in named] == []


@each_page
def test_images_are_small_and_described(page):
    for token in tokens(page):
        if token.type == "image":
            path = page.parent / token.attrGet("src")
            assert len(token.content) > 10, f"{path}: what is seen on it?"
            assert path.stat().st_size < LARGEST_IMAGE, path


def test_messages_in_troubleshooting_are_those_of_the_code():
    quoted = [token.content for token in first_cells(TROUBLESHOOTING)]
    assert len(quoted) > 40
    assert [message for message in quoted if not is_printed(message)] == []


def test_message_that_no_code_prints_is_told():
    assert is_printed("FILE: another sgcp is writing there. ...")
    assert not is_printed("FILE: another sgcp is reading there. ...")
    assert not is_printed("N of M ...")  # says nothing
    assert not any("Heavy imports inside commands" in template for template in templates())


def test_graph_in_the_readme_is_that_of_dvc_yaml():
    assert fences(README, "mermaid") == [graph.draw().split("\n", 1)[1].removesuffix("```\n")]


def test_graph_shows_what_reads_what():
    stages = {
        "a": {"deps": [], "outs": ["data/${item.dataset}/a"]},
        "b": {"deps": ["data/${item.dataset}/a"], "outs": [{"data/b": {"cache": False}}]},
        "c": {"deps": ["data/b", "data/${item.dataset}/a"], "metrics": ["c.json"]},
    }
    assert set(graph.read_graph(stages).edges) == {("a", "b"), ("b", "c")}


def test_commands_with_json_are_those_that_the_page_names():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"These commands have `--json`: (.*?)\. Shares", text, re.DOTALL)
    named = {name.split()[0] for name in re.findall(r"`([^`]+)`", sentence)}
    assert named == {name for name, options in COMMANDS.items() if "--json" in options}
