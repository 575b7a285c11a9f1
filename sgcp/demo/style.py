"""How the page looks: colours that can be read, in light and dark, and no fonts from elsewhere."""

from __future__ import annotations

import gradio as gr

WIDE = "wide"
BLUE, DEEP = "#1d4ed8", "#1e40af"  # white on them: 6.7 and 8.7 to 1

CSS = """
.intro h1 { font-size: 1.6rem; font-weight: 700; margin: 0 }
.intro p, .hint p { margin: .2rem 0 }
.or, .min_value, .max_value { color: inherit !important }
.legend { border-collapse: collapse; width: 100%; max-width: 26rem }
.prose .legend, .prose .legend tr { border: 0 !important }
.prose .legend th, .prose .legend td { padding: .25rem .6rem .25rem 0; text-align: left;
  font-weight: 400; border: 0; border-bottom: 1px solid var(--border-color-primary) }
.prose .legend thead th { font-weight: 600 }
.prose .legend .number { text-align: right; font-variant-numeric: tabular-nums }
.swatch { display: inline-block; width: 1.2rem; height: 1.2rem; border: 1px solid currentColor;
          vertical-align: middle }
.facts { display: flex; flex-wrap: wrap; gap: .4rem 1.6rem; margin: 0 }
.facts dt { font-size: .85rem }
.facts dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums }
progress { width: 100% }
"""


def theme() -> gr.themes.Base:
    """Return Gradio's plainest theme in blue, with the system's own fonts."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        button_primary_background_fill=BLUE,
        button_primary_background_fill_hover=DEEP,
        button_primary_background_fill_dark=BLUE,
        button_primary_background_fill_hover_dark=DEEP,
        body_text_color_subdued="#475569",
        body_text_color_subdued_dark="#cbd5e1",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
    )
