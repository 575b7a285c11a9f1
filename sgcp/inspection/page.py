"""The page of ``sgcp browse``: images with their truth, numbers, and what looks wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import altair as alt
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sgcp.core.errors import printable, shorten
from sgcp.core.findings import Finding, group_by_kind
from sgcp.datasets.classes import IGNORE, SemanticClass
from sgcp.datasets.index import SPLITS, Dataset
from sgcp.inspection.splits import SplitSummary, of_split
from sgcp.inspection.statistics import ImageStatistics, Thumb
from sgcp.media.images import UInt8
from sgcp.reporting.page import Cell, Chart, label_uri, photo_uri, render
from sgcp.reporting.palettes import SERIES, lookup, official, safe
from sgcp.reporting.panels import blend

BINS = 20  # of the label coverage, 5 % each
BAR = 9  # pixels high, one a split
MOST_BARS = 40  # sequences in a chart; the table has all


def browse_page(
    dataset: Dataset,
    summaries: Mapping[str, SplitSummary],
    findings: Sequence[Finding],
    images: Sequence[ImageStatistics],
    raw: str,
    blend: float,
    split: str | None = None,
) -> str:
    """Return the page as HTML.

    Args:
        summaries: of all splits.
        images: of all splits; those with a small copy are shown.
        raw: the raw folder, relative to the page.
        blend: share of the class colours over the images to begin with, 0 .. 1.
        split: the one whose numbers are shown; None: all.
    """
    listed = of_split(summaries, split)
    colors, apart = official(dataset.classes), safe(len(dataset.classes))
    pairs = zip(dataset.classes, colors.tolist(), apart.tolist(), strict=True)
    addresses = {one.name: quote(f"{raw}/{one.name}") for one in images}
    shown: dict[str, list[dict[str, Any]]] = {}
    for one in images:
        if one.thumb is not None:
            figure = _figure(dataset, one.thumb, addresses[one.name], colors, apart)
            shown.setdefault(one.item.split, []).append(figure)
    return render(
        "browse.html",
        dataset=dataset,
        charts=_make_charts(dataset, listed),
        splits=_split_table(listed),
        only=split,
        worst={name: _worst_rows(part) for name, part in listed.items() if part.labels},
        problems=[
            (kind, [(printable(f.name), addresses.get(f.name, ""), f.detail) for f in group])
            for kind, group in group_by_kind(findings)
        ],
        shown=shown,
        legend=[(item.name, _hex(color), _hex(safer)) for item, color, safer in pairs],
        blend=round(100 * blend),
        shared=_shared_sequences(summaries),
    )


def _hex(color: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _figure(
    dataset: Dataset, thumb: Thumb, address: str, colors: Any, apart: Any
) -> dict[str, Any]:
    label = thumb.label
    figure: dict[str, Any] = {"name": printable(thumb.name), "address": address}
    figure |= {"photo": photo_uri(thumb.photo), "truths": [], "shares": []}
    if label is not None:
        figure["truths"] = [
            ("official", label_uri(label, colors)),
            ("safe", label_uri(label, apart)),
        ]
        names = {item.train_id: item.name for item in dataset.classes} | {IGNORE: "ignored"}
        ids = [(float((label == i).mean()), name) for i, name in names.items()]
        figure["shares"] = [(name, share) for share, name in sorted(ids, reverse=True) if share]
    return figure


def _split_table(summaries: Mapping[str, SplitSummary]) -> tuple[list[str], list[list[Cell]]]:
    """Return columns and rows: a row a split."""
    columns = ["split", "images", "labels", "labelled pixels", "least labelled", "sequences",
               "height x width"]  # fmt: skip
    rows: list[list[Cell]] = []
    for name, split in summaries.items():
        sizes = [f"{h} x {w}" for (h, w), _ in split.sizes.most_common()]
        least = min((share for share, _ in split.coverage), default=None)
        rows.append(
            [name, split.images, split.labels, percent(split.labelled_share), percent(least),
             len(split.sequences), shorten(sizes)]
        )  # fmt: skip
    return columns, rows


def percent(share: float | None) -> str | None:
    """Return a share as people read it."""
    return None if share is None else f"{100 * share:.4g} %"


def _worst_rows(split: SplitSummary) -> list[list[Cell]]:
    """Return the images of least label coverage, the worst first."""
    return [[printable(name), percent(share)] for share, name in split.worst()]


def _shared_sequences(summaries: Mapping[str, SplitSummary]) -> list[tuple[str, str]]:
    """Return the sequences with images in several splits, and these splits."""
    names = sorted({name for split in summaries.values() for name in split.sequences})
    where = {n: [s for s, split in summaries.items() if n in split.sequences] for n in names}
    return [(printable(n), ", ".join(splits)) for n, splits in where.items() if len(splits) > 1]


def _make_charts(dataset: Dataset, summaries: Mapping[str, SplitSummary]) -> list[Chart]:
    """Return the charts for which there are numbers: classes, coverage, sequences."""
    labelled = {name: split for name, split in summaries.items() if split.labels}
    charts = [_sequences(summaries)]
    if labelled:
        names = [item.name for item in dataset.classes]
        pixels = {n: [s.pixel_share(c.train_id) or 0.0 for c in dataset.classes]
                  for n, s in labelled.items()}  # fmt: skip
        images = {n: [s.image_share(c.train_id) or 0.0 for c in dataset.classes]
                  for n, s in labelled.items()}  # fmt: skip
        charts = [
            _shares("Class shares of the labelled pixels",
                    "How large a share of all labelled pixels each class has, by split.",
                    names, pixels),
            _shares("Images with each class",
                    "In how large a share of the labelled images each class occurs, by split.",
                    names, images),
            _coverage(labelled),
            *charts,
        ]  # fmt: skip
    return charts


def _bars(rows: list[dict[str, Any]], splits: Sequence[str], column: str, value: alt.X) -> Any:
    """Return a bar for each split beside the others, in the order of the rows."""
    order = list(dict.fromkeys(row[column] for row in rows))
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            x=value,
            y=alt.Y(f"{column}:N").sort(order).title(None),
            yOffset=alt.YOffset("split:N").sort(SPLITS),
            color=_color(splits),
            tooltip=[f"{column}:N", "split:N", alt.Tooltip("value:Q", format=".4~g")],
        )
        .properties(width="container", height=max(60, len(order) * (len(splits) * BAR + 6)))
    )


def _color(splits: Sequence[str]) -> alt.Color:
    colors = [SERIES[SPLITS.index(name)] for name in splits]
    return alt.Color("split:N").scale(domain=list(splits), range=colors).title(None)


def _shares(
    title: str, summary: str, names: Sequence[str], shares: Mapping[str, Sequence[float]]
) -> Chart:
    rows = [
        {"class": name, "split": split, "value": shares[split][place]}
        for place, name in enumerate(names)
        for split in shares
    ]
    value = alt.X("value:Q").axis(format=".0%", tickCount=5).title(None)
    table = [[name, *(percent(shares[split][place]) for split in shares)]
             for place, name in enumerate(names)]  # fmt: skip
    drawing = _bars(rows, list(shares), "class", value)
    return Chart(title, summary, drawing, ["class", *shares], table)


def _sequences(summaries: Mapping[str, SplitSummary]) -> Chart:
    names = sorted({name for split in summaries.values() for name in split.sequences})
    shown = names[:MOST_BARS]
    rows = [
        {"sequence": printable(name), "split": split, "value": counts.sequences[name]}
        for name in shown
        for split, counts in summaries.items()
        if counts.sequences[name]
    ]
    part = "" if len(names) == len(shown) else f" The first {MOST_BARS} of {len(names)} are drawn."
    value = alt.X("value:Q").axis(tickMinStep=1, tickCount=5).title(None)
    drawing = _bars(rows, list(summaries), "sequence", value)
    table: list[list[Cell]] = [
        [printable(n), *(summaries[s].sequences[n] for s in summaries)] for n in names
    ]
    summary = f"How many images of each city or recording are in each split.{part}"
    return Chart("Images of each sequence", summary, drawing, ["sequence", *summaries], table)


def _coverage(labelled: Mapping[str, SplitSummary]) -> Chart:
    counts = {name: [0] * BINS for name in labelled}
    for name, split in labelled.items():
        for share, _ in split.coverage:
            counts[name][min(BINS - 1, int(share * BINS))] += 1
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
            y=alt.Y("images:Q").axis(tickMinStep=1, tickCount=5),
            color=_color(list(labelled)),
            tooltip=["split:N", alt.Tooltip("labelled:Q", format=".1%"), "images:Q"],
        )
        .properties(width="container", height=220)
    )
    table: list[list[Cell]] = [[f"{100 * place // BINS} .. {100 * (place + 1) // BINS} %",
              *(counts[name][place] for name in labelled)] for place in range(BINS)]  # fmt: skip
    summary = f"How many images have how much of them labelled, in steps of {100 // BINS} %."
    return Chart("Label coverage", summary, drawing, ["labelled pixels", *labelled], table)


WIDTH = 1600  # of the sheet, pixels
COLUMNS = 3  # images with their truth in a row
GAP = 16
LINE = 22
LEGEND_WIDTH = 160
TITLE, TEXT = ImageFont.load_default(18), ImageFont.load_default(13)


def contact_sheet(
    splits: Mapping[str, Sequence[Thumb]], classes: Sequence[SemanticClass], share: float
) -> UInt8:
    """Draw the images of each split in rows: (h, w, 3) uint8.

    Args:
        share: of the class colours in the truth, the rest is the image.
    """
    column = (WIDTH - GAP) // COLUMNS - GAP
    width = column // 2
    heights = [
        _row_height(cells[start : start + COLUMNS], width)
        for cells in splits.values()
        for start in range(0, len(cells), COLUMNS)
    ]
    per_row = (WIDTH - GAP) // LEGEND_WIDTH
    legend = LINE * -(-(len(classes) + 1) // per_row)
    total = sum(heights) + len(splits) * (LINE + 2 * GAP) + legend + 2 * GAP
    sheet = Image.new("RGB", (WIDTH, total), "white")
    draw = ImageDraw.Draw(sheet)
    colors, y = official(classes), GAP
    rows = iter(heights)
    for split, cells in splits.items():
        draw.text((GAP, y), f"{split}: {len(cells)} shown", fill="black", font=TITLE)
        y += LINE + GAP
        for start in range(0, len(cells), COLUMNS):
            for place, cell in enumerate(cells[start : start + COLUMNS]):
                _draw_cell(sheet, cell, (GAP + place * (column + GAP), y), width, colors, share)
            y += next(rows)
        y += GAP
    _draw_legend(draw, classes, y)
    return np.asarray(sheet)


def _row_height(cells: Sequence[Thumb], width: int) -> int:
    return max(_fitted(cell.photo, width)[1] for cell in cells) + LINE + GAP


def _fitted(photo: UInt8, width: int) -> tuple[int, int]:
    """Return width and height of an image that fills a width, or twice that height at most."""
    height = max(1, round(photo.shape[0] * width / photo.shape[1]))
    if height <= 2 * width:
        return width, height
    return max(1, round(width * 2 * width / height)), 2 * width


def _draw_cell(
    sheet: Image.Image,
    cell: Thumb,
    corner: tuple[int, int],
    width: int,
    colors: UInt8,
    share: float,
) -> None:
    wh = _fitted(cell.photo, width)
    photo = Image.fromarray(cell.photo).resize(wh, Image.Resampling.LANCZOS)
    sheet.paste(photo, corner)
    if cell.label is not None:
        label = Image.fromarray(cell.label).resize(wh, Image.Resampling.NEAREST)
        truth = blend(np.asarray(photo), lookup(colors)[np.asarray(label)], share)
        sheet.paste(Image.fromarray(truth), (corner[0] + width, corner[1]))
    name = _shortened(cell.name if cell.label is not None else f"{cell.name} (no label)", 2 * width)
    ImageDraw.Draw(sheet).text((corner[0], corner[1] + wh[1] + 3), name, fill="black", font=TEXT)


def _shortened(name: str, width: int) -> str:
    """Return a name that fits a width, its middle left out if need be."""
    name = printable(name).replace("\n", "\\n")
    kept = len(name)
    text = name
    while TEXT.getlength(text) > width and kept > 8:
        kept -= 4
        text = f"{name[: kept // 2]}...{name[-(kept // 2) :]}"
    return text


def _draw_legend(draw: ImageDraw.ImageDraw, classes: Sequence[SemanticClass], y: int) -> None:
    entries = [(item.name, item.color) for item in classes] + [(f"{IGNORE}: ignored", (0, 0, 0))]
    per_row = (WIDTH - GAP) // LEGEND_WIDTH
    for place, (name, color) in enumerate(entries):
        x, top = GAP + place % per_row * LEGEND_WIDTH, y + place // per_row * LINE
        draw.rectangle((x, top, x + 14, top + 14), fill=color, outline="black")
        draw.text((x + 20, top), _shortened(name, LEGEND_WIDTH - 26), fill="black", font=TEXT)
