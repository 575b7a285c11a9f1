"""``sgcp compare``: metrics files side by side, if their numbers mean the same."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from sgcp.errors import SgcpError
from sgcp.files import read_json
from sgcp.progress import say
from sgcp.stages.scores import MEANS

# What must be alike for two numbers to compare, and what that is called.
MEANING = {
    "dataset": "dataset",
    "edition": "edition",
    "protocol": "protocol",
    "class_order": "class order",
    "split": "split",
    "split_fingerprint": "pictures and labels of the split",
    "scored_size": "scored size",
}


def compare(sources: Sequence[str], anyway: bool) -> None:
    """Show the scores of several metrics files, and each one's difference from the first.

    Args:
        sources: files that ``sgcp validate`` wrote; ``REV:PATH`` reads one from git.
        anyway: show numbers that do not compare, marked as such, instead of refusing.

    Raises:
        SgcpError: fewer than two, one cannot be read, or they do not compare.
    """
    if len(sources) < 2:
        raise SgcpError("compare: name two metrics files or more")
    contents = [read_metrics(source) for source in sources]
    differences = find_differences(sources, contents)
    if differences:
        text = "these numbers do not compare:\n" + "\n".join(f"  {line}" for line in differences)
        if not anyway:
            raise SgcpError(f"{text}\n--anyway shows them all the same, marked")
        say(text)
    for source, content in zip(sources, contents, strict=True):
        scored = content["protocol"]
        learnt = (content.get("model") or {}).get("protocol", scored)
        if learnt != scored:
            say(f"note: {source}: the model learnt protocol {learnt}, scored on {scored}")
    say(render_comparison(sources, contents, marked=bool(differences)))


def read_metrics(source: str, folder: Path = Path()) -> dict[str, Any]:
    """Read a metrics file from disk, or from git by ``REV:PATH``.

    Args:
        folder: where relative paths begin.

    Raises:
        SgcpError: there is none, or it lacks what says what its numbers mean.
    """
    revision, colon, path = source.partition(":")
    if colon and not (folder / source).exists():
        shown = subprocess.run(
            ["git", "show", f"{revision}:./{path}"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if shown.returncode:
            raise SgcpError(f"{source}: {shown.stderr.strip() or 'not in git'}")
        try:
            content: Any = json.loads(shown.stdout)
        except (ValueError, RecursionError):
            raise SgcpError(f"{source}: not valid JSON") from None
    else:
        content = read_json(folder / source, made_by="sgcp validate")
    missing = [key for key in (*MEANING, "miou", "iou") if key not in content]
    if missing:
        raise SgcpError(
            f"{source}: no metrics file of `sgcp validate`, or an old one (lacks "
            f"{', '.join(missing)}); run `sgcp validate` again"
        )
    if not isinstance(content["miou"], float) or not isinstance(content["iou"], dict):
        raise SgcpError(f"{source}: has no mIoU of one run; it is over several seeds")
    return dict(content)


def find_differences(sources: Sequence[str], contents: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each thing that keeps the numbers from comparing."""
    lines = []
    for key, name in MEANING.items():
        values = [content[key] for content in contents]
        if any(value != values[0] for value in values):
            each = (f"{v} ({source})" for v, source in zip(values, sources, strict=True))
            lines.append(f"{name}: {'; '.join(each)}")
    return lines


def render_comparison(
    sources: Sequence[str], contents: Sequence[dict[str, Any]], marked: bool
) -> Table:
    """Return the table: a row a mean and a class, in per cent, differences in points."""
    title = "NOT COMPARABLE, see above" if marked else "in per cent; difference from the first"
    view = Table("", title=title, title_justify="left", caption_justify="left")
    view.caption = "\n".join(f"[{n}] {source}" for n, source in enumerate(sources, start=1))
    for number in range(1, len(sources) + 1):
        view.add_column(f"[{number}]", justify="right")
    rows = {name: [c.get(key) for c in contents] for key, name in MEANS.items()}
    for name, values in rows.items():
        if any(value is not None for value in values):
            view.add_row(name, *cells(values, marked))
    view.add_section()
    names = dict.fromkeys(name for content in contents for name in content["iou"])
    for name in names:
        view.add_row(name, *cells([content["iou"].get(name) for content in contents], marked))
    return view


def cells(values: Sequence[float | None], marked: bool) -> list[str]:
    """Format a row of shares; all but the first with their difference, unless ``marked``."""
    first, texts = values[0], []
    for index, value in enumerate(values):
        text = "-" if value is None else f"{100 * value:.2f}"
        if index and not marked and value is not None and first is not None:
            text += f" ({100 * (value - first):+.2f})"
        texts.append(text)
    return texts
