"""Self-contained pages: one HTML file has its style, images and charts, and asks no network.

Templates are in ``sgcp/reporting/pages``: ``base.html`` is the frame, ``parts.html`` has the parts
that several pages share. All values are escaped: names of files may contain markup.
"""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair
import jinja2
import vl_convert
from PIL import Image

from sgcp.datasets.classes import SemanticClass
from sgcp.media.images import UInt8
from sgcp.reporting.palettes import official, safe
from sgcp.reporting.panels import encode_palette

STYLE = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "aria": False,  # the page describes the chart once, and not every bar
    "mark": {"aria": False},
    "view": {"stroke": None},
    "axis": {"labelFontSize": 14, "titleFontSize": 14, "titleFontWeight": "normal"},
    "legend": {"labelFontSize": 14, "titleFontSize": 14, "orient": "top", "labelLimit": 400},
}
Cell = str | int | float | None


@dataclass(frozen=True)
class Chart:
    """A chart, and the same in words and numbers for readers who cannot see it.

    ``parts.html`` draws it: ``{{ parts.chart(chart, id) }}``.
    """

    title: str
    summary: str
    """One sentence: the image's alternative text."""
    drawing: altair.TopLevelMixin
    """Of ``width="container"``; the page, light or dark, colours text and lines."""
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @property
    def specification(self) -> dict[str, Any]:
        """Vega-Lite's description, in the page's style."""
        content: dict[str, Any] = self.drawing.to_dict()
        fit = {"type": "fit-x", "contains": "padding"}
        return content | {"autosize": fit, "config": content.get("config", {}) | STYLE}


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sgcp.reporting", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,  # a misspelt name is an error, not a gap
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    return environment


def render(template: str, **content: Any) -> str:
    """Render a template of ``sgcp/reporting/pages`` that extends ``base.html``."""
    return _environment().get_template(template).render(vega=_vega, **content)


def _figure(value: Cell) -> str:
    """Return a cell of a table as text: 12,345 or 0.123, and a dash for None."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value


@cache
def _vega() -> str:
    """Return Vega and Vega-Lite of altair's version, which draw the charts: 0.9 MB."""
    version = ".".join(altair.SCHEMA_VERSION.split(".")[:2])
    programs = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version)
    return programs.replace("</script", r"<\/script")


def photo_uri(rgb: UInt8) -> str:
    """Return an image (H, W, 3) as a data URI, in JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=80, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def label_uri(label: UInt8, colors: UInt8) -> str:
    """Return train ids (H, W) painted in colours (K, 3) as a data URI, in PNG."""
    return f"data:image/png;base64,{base64.b64encode(encode_palette(label, colors)).decode()}"


def legend(classes: Sequence[SemanticClass]) -> list[tuple[str, str, str]]:
    """Return each class's name with its official and its safe colour as ``#rrggbb``."""
    colors = zip(classes, official(classes), safe(classes), strict=True)
    return [(c.name, f"#{bytes(one).hex()}", f"#{bytes(two).hex()}") for c, one, two in colors]


def to_number(value: Any) -> float | None:
    """Return a finite number, or None for anything else that a table has in its place."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def per_cent(share: Any) -> float | None:
    """Return a share in per cent for a table, to two decimals."""
    return None if (number := to_number(share)) is None else round(100 * number, 2)


def points(share: float | None, other: float | None) -> str:
    """Write how far a share is above another, in percentage points: ``+1.20``."""
    one, two = to_number(share), to_number(other)
    return "-" if one is None or two is None else f"{100 * (one - two):+.2f}"


def file_size(size: int) -> str:
    """Write a number of bytes in KiB or MiB."""
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"
