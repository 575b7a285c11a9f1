"""What stands beside a result: legend, times and progress, as HTML without scripts."""

from __future__ import annotations

from html import escape

from sgcp.core.errors import printable
from sgcp.demo.images import Shares, Timing


def text(content: object) -> str:
    """Return text that means itself in HTML."""
    return escape(printable(content))


def legend(shares: Shares) -> str:
    """Return a table of classes: colour, name, share of the pixels."""
    rows = "".join(
        f'<tr><td><span class="swatch" style="background:rgb{item.color}"></span></td>'
        f'<th scope="row">{text(item.name)}</th><td class="number">{100 * share:.1f} %</td></tr>'
        for item, share in shares
    )
    head = '<tr><th scope="col">Colour</th><th scope="col">Class</th>' \
           '<th scope="col" class="number">Share</th></tr>'  # fmt: skip
    return f'<table class="legend"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def image_facts(timing: Timing) -> str:
    """Return how long an image took, its sizes, and what ran it."""
    return facts(
        {
            "Network": f"{timing.network:.1f} ms",
            "Whole": f"{timing.whole:.1f} ms",
            "Image": size_text(timing.size),
            "Seen at": size_text(timing.seen),
            "Engine": f"{timing.engine}, {timing.precision}",
        }
    )


def video_facts(frames: int, seconds: float, size: tuple[int, int], engine: str) -> str:
    """Return how quick a video was, its size, and what ran it."""
    return facts(
        {
            "Frames": str(frames),
            "Speed": f"{frames / seconds:.1f} frames/s" if seconds else "-",
            "Whole": f"{seconds:.1f} s",
            "Frame": size_text(size),
            "Engine": engine,
        }
    )


def facts(pairs: dict[str, str]) -> str:
    """Return pairs of name and value."""
    inside = "".join(
        f"<div><dt>{name}</dt><dd>{text(value)}</dd></div>" for name, value in pairs.items()
    )
    return f'<dl class="facts">{inside}</dl>'


def size_text(size: tuple[int, int]) -> str:
    """Return (height, width) as people write it, the width first."""
    return f"{size[1]} x {size[0]} pixels"


def video_progress(done: int, total: int | None, rate: float) -> str:
    """Return a bar and a line: how far a video is."""
    known = f'value="{done}" max="{total}"' if total else ""
    of = f" of {total}" if total else ""
    return (
        f'<progress {known} aria-label="Frames done"></progress>'
        f"<p>{done}{of} frames, {rate:.1f} frames/s</p>"
    )
