"""The page of ``sgcp browse``: images with their truth, numbers, and what looks wrong."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import altair as alt
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from sgcp.core.errors import printable, shorten
from sgcp.core.findings import Finding, group_by_kind
from sgcp.datasets.classes import IGNORE, SemanticClass
from sgcp.datasets.index import SPLITS, Dataset
from sgcp.inspection.splits import WORST, SplitSummary
from sgcp.inspection.statistics import Thumb
from sgcp.media.images import UInt8
from sgcp.reporting.page import Cell, Chart, label_uri, legend, photo_uri, render
from sgcp.reporting.palettes import SERIES, lookup, official, safe
from sgcp.reporting.panels import FONT, blend, draw_legend

BINS = 20  # of the label coverage, 5 % each
BAR = 9  # pixels high, one a split
MOST_BARS = 40  # names in a chart; the table has all
SHARES, COUNTS = alt.Axis(format=".0%", tickCount=5), alt.Axis(tickMinStep=1, tickCount=5)
Summaries = Mapping[str, SplitSummary]


def browse_page(
    dataset: Dataset,
    summaries: Summaries,
    findings: Sequence[Finding],
    shown: Mapping[str, Sequence[Thumb]],
    raw: str,
    blend: float,
    split: str | None = None,
) -> str:
    """Return the page as HTML.

    Args:
        summaries: of all splits.
        shown: images by split.
        raw: the raw folder, relative to the page.
        blend: share of the class colours over the images to begin with, 0 .. 1.
        split: the one whose numbers are shown; None: all.
    """
    listed = {name: part for name, part in summaries.items() if split in (None, name)}
    addresses = {(path := item.image.as_posix()): quote(f"{raw}/{path}") for item in dataset.items}
    return render(
        "browse.html",
        dataset=dataset,
        charts=_make_charts(dataset.classes, listed),
        splits=_split_table(listed),
        only=split,
        worst={
            name: [(printable(path), _percent(share)) for share, path in part.coverage[:WORST]]
            for name, part in listed.items()
            if part.labels
        },
        problems=[
            (kind, [(printable(f.name), addresses.get(f.name, ""), f.detail) for f in group])
            for kind, group in group_by_kind(findings)
        ],
        shown={
            name: [_figure(dataset.classes, thumb, addresses[thumb.path]) for thumb in thumbs]
            for name, thumbs in shown.items()
        },
        legend=legend(dataset.classes),
        blend=round(100 * blend),
        shared=shared_sequences(summaries),
    )


def _figure(classes: Sequence[SemanticClass], thumb: Thumb, address: str) -> dict[str, Any]:
    figure = {"name": printable(thumb.name), "address": address, "photo": photo_uri(thumb.photo)}
    if thumb.label is None:
        return figure | {"truths": [], "shares": []}
    names = {item.train_id: item.name for item in classes} | {IGNORE: "ignored"}
    shares = [(float((thumb.label == i).mean()), name) for i, name in names.items()]
    palettes = {"official": official(classes), "safe": safe(classes)}
    return figure | {
        "truths": [(name, label_uri(thumb.label, colors)) for name, colors in palettes.items()],
        "shares": [(name, share) for share, name in sorted(shares, reverse=True) if share],
    }


def _split_table(summaries: Summaries) -> tuple[list[str], list[list[Cell]]]:
    columns = ["split", "images", "labels", "labelled pixels", "least labelled", "sequences",
               "height x width"]  # fmt: skip
    rows: list[list[Cell]] = [
        [name, split.images, split.labels, _percent(split.labelled_share),
         _percent(split.least_labelled), len(split.sequences),
         shorten(f"{h} x {w}" for (h, w), _ in split.sizes.most_common())]
        for name, split in summaries.items()
    ]  # fmt: skip
    return columns, rows


def _percent(share: float | None) -> str | None:
    """Return a share with four digits: a rare class has 0.0012 %."""
    return None if share is None else f"{100 * share:.4g} %"


def _sequences(summaries: Summaries) -> list[str]:
    return sorted({name for split in summaries.values() for name in split.sequences})


def shared_sequences(summaries: Summaries) -> list[tuple[str, str]]:
    """Return the sequences with images in several splits, and these splits."""
    where = {
        n: [s for s in summaries if n in summaries[s].sequences] for n in _sequences(summaries)
    }
    return [(printable(n), ", ".join(splits)) for n, splits in where.items() if len(splits) > 1]


def _make_charts(classes: Sequence[SemanticClass], summaries: Summaries) -> list[Chart]:
    """Return the charts for which there are numbers: classes, coverage, sequences."""
    names = _sequences(summaries)
    longest = max(len(classes), min(len(names), MOST_BARS))
    height = max(180, longest * (len(summaries) * BAR + 6))
    counts = {s: [part.sequences[name] for name in names] for s, part in summaries.items()}
    charts = [
        _bars("Images of each sequence",
              "How many images of each city or recording are in each split.",
              "sequence", list(map(printable, names)), counts, COUNTS, lambda count: count, height)
    ]  # fmt: skip
    labelled = {name: split for name, split in summaries.items() if split.labels}
    if not labelled:
        return charts
    names, ids = [item.name for item in classes], [item.train_id for item in classes]
    pixels = {n: [s.pixel_share(i) or 0.0 for i in ids] for n, s in labelled.items()}
    images = {n: [s.image_share(i) or 0.0 for i in ids] for n, s in labelled.items()}
    return [
        _bars("Class shares of the labelled pixels",
              "How large a share of all labelled pixels each class has, by split.",
              "class", names, pixels, SHARES, _percent, height),
        _bars("Images with each class",
              "In how large a share of the labelled images each class occurs, by split.",
              "class", names, images, SHARES, _percent, height),
        _coverage(labelled, height),
        *charts,
    ]  # fmt: skip


def _bars(
    title: str, summary: str, column: str, names: Sequence[str],
    values: Mapping[str, Sequence[float]], axis: alt.Axis, write: Callable[[Any], Cell],
    height: int,
) -> Chart:  # fmt: skip
    """Return a bar for each name and split; ``write`` turns a value into a cell of the table."""
    shown = names[:MOST_BARS]
    rows = [
        {column: name, "split": split, "value": values[split][place]}
        for place, name in enumerate(shown)
        for split in values
    ]
    drawing = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            x=alt.X("value:Q").axis(axis).title(None),
            y=alt.Y(f"{column}:N").sort(shown).title(None),
            yOffset=alt.YOffset("split:N").sort(SPLITS),
            color=_color(values),
            tooltip=[f"{column}:N", "split:N", alt.Tooltip("value:Q", format=".4~g")],
        )
        .properties(width="container", height=height)
    )
    if len(names) > MOST_BARS:
        summary += f" The first {MOST_BARS} of {len(names)} are drawn."
    table = [[name, *(write(values[split][place]) for split in values)]
             for place, name in enumerate(names)]  # fmt: skip
    return Chart(title, summary, drawing, [column, *values], table)


def _color(splits: Mapping[str, Any]) -> alt.Color:
    colors = [SERIES[SPLITS.index(name)] for name in splits]
    return alt.Color("split:N").scale(domain=list(splits), range=colors).title(None)


def _coverage(labelled: Summaries, height: int) -> Chart:
    counts = {
        name: np.histogram([share for share, _ in split.coverage], BINS, (0, 1))[0].tolist()
        for name, split in labelled.items()
    }
    rows = [
        {"split": name, "labelled": (place + 0.5) / BINS, "images": count}
        for name, column in counts.items()
        for place, count in enumerate(column)
    ]
    drawing = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=True, interpolate="monotone")
        .encode(
            x=alt.X("labelled:Q").axis(format=".0%").scale(domain=[0, 1]).title("labelled pixels"),
            y=alt.Y("images:Q").axis(COUNTS),
            color=_color(labelled),
            tooltip=["split:N", alt.Tooltip("labelled:Q", format=".1%"), "images:Q"],
        )
        .properties(width="container", height=height)
    )
    step = 100 // BINS
    table = [[f"{step * place} .. {step * (place + 1)} %", *row]
             for place, row in enumerate(zip(*counts.values(), strict=True))]  # fmt: skip
    summary = f"How many images have how much of them labelled, in steps of {step} %."
    return Chart("Label coverage", summary, drawing, ["labelled pixels", *labelled], table)


WIDTH, GAP, LINE = 1600, 16, 22  # of the sheet, pixels
COLUMNS = 3  # images with their truth in a row
LEGEND_WIDTH = 160
TITLE = ImageFont.load_default(18)
COLUMN = (WIDTH - GAP) // COLUMNS


def contact_sheet(
    splits: Mapping[str, Sequence[Thumb]], classes: Sequence[SemanticClass], share: float
) -> UInt8:
    """Draw the images of each split in rows: (h, w, 3) uint8.

    Args:
        share: of the class colours in the truth, the rest is the image.
    """
    colors = lookup(official(classes))
    strips = []
    for split, thumbs in splits.items():
        title = _blank(WIDTH, LINE + 2 * GAP)
        text = f"{split}: {len(thumbs)} shown"
        ImageDraw.Draw(title).text((GAP, GAP), text, "black", TITLE)
        strips.append(title)
        for start in range(0, len(thumbs), COLUMNS):
            cells = [_draw_cell(thumb, colors, share) for thumb in thumbs[start : start + COLUMNS]]
            row = _blank(WIDTH, max(cell.height for cell in cells))
            for place, cell in enumerate(cells):
                row.paste(cell, (GAP + place * COLUMN, 0))
            strips.append(row)
    names = [(_fitted(item.name, LEGEND_WIDTH - 26), item.color) for item in classes]
    strips.append(draw_legend([*names, (f"{IGNORE}: ignored", (0, 0, 0))], WIDTH, LEGEND_WIDTH))
    return np.concatenate([np.asarray(strip) for strip in strips])


def _blank(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), "white")


def _draw_cell(thumb: Thumb, colors: UInt8, share: float) -> Image.Image:
    width = (COLUMN - GAP) // 2
    photo = ImageOps.contain(
        Image.fromarray(thumb.photo), (width, 2 * width), Image.Resampling.LANCZOS
    )
    cell = _blank(COLUMN, photo.height + LINE + GAP)
    cell.paste(photo)
    name = printable(thumb.name).replace("\n", "\\n")
    if thumb.label is None:
        name += " (no label)"
    else:
        label = Image.fromarray(thumb.label).resize(photo.size, Image.Resampling.NEAREST)
        truth = blend(np.asarray(photo), colors[np.asarray(label)], share)
        cell.paste(Image.fromarray(truth), (width, 0))
    text = _fitted(name, 2 * width)
    ImageDraw.Draw(cell).text((0, photo.height + 3), text, "black", FONT)
    return cell


def _fitted(name: str, width: int) -> str:
    """Return a name that fits a width, its middle left out if need be."""
    kept, text = len(name), name
    while FONT.getlength(text) > width and kept > 8:
        kept -= 4
        text = f"{name[: kept // 2]}...{name[-(kept // 2) :]}"
    return text
