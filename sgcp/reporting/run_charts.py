"""Charts of a run: curves, classes, confusion; each with its numbers as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from sgcp.core.terminal import percent
from sgcp.reporting.page import Cell, Chart, per_cent, points, to_number

if TYPE_CHECKING:
    import pandas as pd

    from sgcp.reporting.run_page import Earlier

DOTS = 60  # a curve of at most this many rows marks each
SHOWN = 0.01  # share of a true class from which a cell shows its number
CELL, ROW, NAMES = 32, 24, 170  # pixels: of a cell, of a class's row, for names beside a matrix
THIS, EARLIER = "this run", "earlier run"
BLUE, GREY = "#4c78a8", "#8c959f"  # visible on white and on black
# Title, axis and number format of each curve that training writes.
CURVES = {
    "loss": ("Training loss", "loss", "~g"),
    "miou": ("mIoU while training", "mIoU", ".0%"),
    "pixel_accuracy": ("Pixel accuracy while training", "pixel accuracy", ".0%"),
    "lr": ("Learning rate", "learning rate", "~g"),
}
CLASS_COLUMNS = {
    "iou": "IoU %", "recall": "recall %", "precision": "precision %", "iiou": "iIoU %",
    "pixel_share": "share of pixels %",
}  # fmt: skip


def curve_chart(name: str, table: pd.DataFrame) -> Chart:
    """Return the chart of one curve, by epochs: columns ``step`` and ``name``."""
    title, axis, pattern = CURVES[name]
    rows = table[["step", name]].dropna().to_numpy(dtype=float).tolist()
    values = [{"epoch": int(step), "value": value} for step, value in rows]
    drawing = (
        alt.Chart(alt.Data(values=values))
        .mark_line(point=len(values) <= DOTS, color=BLUE)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(format="d", tickMinStep=1)),
            y=alt.Y("value:Q", title=axis, axis=alt.Axis(format=pattern)),
            tooltip=["epoch:Q", alt.Tooltip("value:Q", title=axis, format=".4g")],
        )
        .properties(width="container", height=180)
    )
    change = f"from {rows[0][1]:.4g} to {rows[-1][1]:.4g}" if rows else "without a value"
    return Chart(
        title=title,
        summary=f"{len(rows)} values over the epochs, {change}.",
        drawing=drawing,
        columns=("epoch", axis),
        rows=[(value["epoch"], value["value"]) for value in values],
    )


def class_chart(classes: pd.DataFrame, earlier: Earlier | None) -> Chart:
    """Return bars of IoU a class, best first, beside those of an earlier run.

    Args:
        classes: ``per_class.csv``.
    """
    ranked = classes.sort_values("iou", ascending=False, kind="stable", na_position="last")
    names = [str(name) for name in ranked["class"]]
    iou = dict(zip(names, map(to_number, ranked["iou"]), strict=True))
    runs = {THIS: iou}
    shown = {key: title for key, title in CLASS_COLUMNS.items() if key in ranked}
    columns = ["class", *shown.values()]
    rows: list[list[Cell]] = [
        [str(row["class"]), *(per_cent(row[key]) for key in shown)]
        for row in ranked.to_dict("records")
    ]
    change = dict.fromkeys(names, "")
    if earlier is not None:
        other = runs[EARLIER] = {name: earlier.scores["iou"].get(name) for name in names}
        columns.append(f"IoU of the {EARLIER} %")
        for name, row in zip(names, rows, strict=True):
            row.append(per_cent(other[name]))
            if earlier.comparable:
                row.append(points(iou[name], other[name]))
                change[name] = f" ({row[-1]})"
        columns += ["difference, points"] * earlier.comparable
    values = [
        {"class": name, "run": run, "iou": share, "text": percent(share)}
        for run, shares in runs.items()
        for name, share in shares.items()
    ]
    for value in values[: len(names)]:
        value["text"] = f"{value['text']}{change[str(value['class'])]}"
    return Chart(
        title="IoU per class",
        summary=f"{len(names)} classes, best first: from {names[0]}, {percent(iou[names[0]])} %, "
        f"to {names[-1]}, {percent(iou[names[-1]])} %.",
        drawing=_draw_bars(values, names, list(runs)),
        columns=columns,
        rows=rows,
    )


def _draw_bars(values: list[dict[str, Any]], names: list[str], runs: list[str]) -> alt.LayerChart:
    """Return a row a class, a bar a run in it, with its number at the bar's end."""
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("iou:Q", title="IoU", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")),
        y=alt.Y("class:N", sort=names, title=None),
        yOffset=alt.YOffset("run:N", sort=runs),
        tooltip=["class:N", "run:N", alt.Tooltip("iou:Q", title="IoU", format=".2%")],
    )
    colors = alt.Scale(domain=runs, range=[BLUE, GREY][: len(runs)])
    legend = alt.Legend(title=None) if len(runs) > 1 else None
    bars = base.mark_bar().encode(color=alt.Color("run:N", scale=colors, legend=legend))
    numbers = base.mark_text(align="left", dx=4, fontSize=10).encode(text="text:N")
    height = alt.Step(ROW * (len(runs) + 1) // 2, **{"for": "position"})
    return (bars + numbers).properties(width="container", height=height)


def confusion_chart(confusion: pd.DataFrame) -> Chart:
    """Return the confusion matrix; the cells of a row, a true class, add up to 100.

    The page colours it by the names of its layers: the larger its share, the more opaque a cell,
    which reads on a light and on a dark page.

    Args:
        confusion: ``confusion.csv``.
    """
    names = [str(name) for name in confusion["actual"].drop_duplicates()]
    table = confusion.pivot(index="actual", columns="predicted", values="share")
    shares = table.loc[names, names].to_numpy(dtype=float).tolist()
    return Chart(
        title="Confusion matrix",
        summary=f"Rows are the {len(names)} true classes, columns the predicted ones, in per cent "
        f"of the true class. {_worst_pair(confusion)}",
        drawing=_draw_matrix(confusion, names),
        columns=["true \\ predicted, %", *names],
        rows=[[name, *map(per_cent, row)] for name, row in zip(names, shares, strict=True)],
    )


def _draw_matrix(confusion: pd.DataFrame, names: list[str]) -> alt.TopLevelMixin:
    """Return cells, with numbers in those of at least ``SHOWN``."""
    values = confusion[["actual", "predicted", "share", "pixels"]].to_dict("records")
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("predicted:N", sort=names, title="predicted class",
                axis=alt.Axis(labelAngle=-45, orient="top", labelLimit=120)),
        y=alt.Y("actual:N", sort=names, title="true class", axis=alt.Axis(labelLimit=120)),
        tooltip=[
            alt.Tooltip("actual:N", title="true"),
            "predicted:N",
            alt.Tooltip("share:Q", title="share of the true class", format=".2%"),
            alt.Tooltip("pixels:Q", format=","),
        ],
    )  # fmt: skip
    opacity = alt.FillOpacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None)
    cells = base.mark_rect().encode(fillOpacity=opacity).properties(name="cells")
    written = base.transform_filter(alt.datum.share >= SHOWN).transform_calculate(
        number="format(100 * datum.share, '.0f')"
    )
    texts = [
        written.transform_filter(test)
        .mark_text(fontSize=12)
        .encode(text="number:N")
        .properties(name=name)
        for name, test in {"faint": alt.datum.share < 0.5, "strong": alt.datum.share >= 0.5}.items()
    ]
    size = len(names) * CELL
    return alt.layer(cells, *texts).properties(width=size + NAMES, height=size)


def _worst_pair(confusion: pd.DataFrame) -> str:
    """Name the class that is most often predicted as another, and that other."""
    wrong = confusion[confusion["actual"] != confusion["predicted"]]
    if wrong.empty:
        return ""
    row = wrong.sort_values("share", ascending=False, kind="stable").to_dict("records")[0]
    share = percent(row["share"], 0)
    return f"Most often mistaken: {share} % of {row['actual']} is predicted as {row['predicted']}."
