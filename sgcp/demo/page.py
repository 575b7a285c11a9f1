"""The page: its parts, its look, and the calls that it can make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from pydantic import ValidationError

from sgcp.demo.actions import Actions
from sgcp.demo.media import VIEWS
from sgcp.media.formats import VIDEOS
from sgcp.media.images import SUFFIXES as IMAGES

TITLE = "SGCPNet: a class for every pixel"
ACCEPTED = (*IMAGES, *VIDEOS)
CALL_KEYS = {"data", "event_data", "fn_index", "session_hash", "trigger_id"}
KEPT = (600, 3600)  # seconds between two removals of old files, and their age
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


def build_page(actions: Actions, bounds: str) -> gr.Blocks:
    """Return the page.

    Args:
        bounds: a sentence about the files that it accepts.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=KEPT) as page:
        kept = gr.State(time_to_live=KEPT[1], delete_callback=actions.forget)
        gr.HTML(f"<h1>{TITLE}</h1><p>Drop a street scene here, an image or a video. "
                "It stays on this machine.</p>", elem_classes="intro")  # fmt: skip
        with gr.Row(elem_classes="wide"):
            with gr.Column(scale=1, min_width=300):
                source = gr.File(label="Image or video", file_types=list(ACCEPTED), height=140)
                gr.HTML(f"<p>{bounds}</p>", elem_classes="hint")
                model = gr.Dropdown(actions.models.models, label="Weights",
                                    value=actions.models.models[0])  # fmt: skip
                engine = gr.Radio(actions.models.engines, label="Engine", value="auto")
                view = gr.Radio(list(VIEWS), label="Show", value="Overlay")
                strength = gr.Slider(0, 100, 50, step=5, label="Strength of the colours, percent")
                with gr.Row():
                    again = gr.Button("Label again", variant="primary")
                    cancel = gr.Button("Cancel the video", visible=False)
            with gr.Column(scale=2, min_width=300):
                image = gr.Image(label="Labelled image", interactive=False, format="png",
                                   buttons=["fullscreen"], alt_text="The labelled image",
                                   visible=False)  # fmt: skip
                video = gr.Video(label="Labelled video", interactive=False, visible=False)
                facts = gr.HTML("<p>The result appears here.</p>", elem_id="facts")
                with gr.Row():
                    labels = gr.DownloadButton("Download the label map", visible=False)
                    shown = gr.DownloadButton("Download this view", visible=False)
                legend = gr.HTML(elem_id="legend", visible=False)
        results: list[Any] = [kept, image, video, facts, legend, labels, shown, cancel]
        asked: list[Any] = [source, model, engine, view, strength, kept]
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress_on": facts}
        gr.on([source.upload, again.click], actions.label, asked, results,
              trigger_mode="multiple", concurrency_limit=None, **quiet)  # fmt: skip
        gr.on([model.input, engine.input], actions.label_again, asked, results,
              trigger_mode="always_last", concurrency_limit=None, **quiet)  # fmt: skip
        gr.on([view.change, strength.change], actions.restyle, [view, strength, kept],
              [image, shown], trigger_mode="always_last", **quiet)  # fmt: skip
        cancel.click(actions.cancel, queue=False, api_visibility="private")
        page.unload(actions.leave)
    return page


def is_call(page: gr.Blocks, call: dict[str, Any]) -> bool:
    """Return whether a call names a function of the page, with values of its inputs."""
    number, data = call.get("fn_index"), call.get("data")
    if not isinstance(number, int) or number not in page.fns or not isinstance(data, list):
        return False
    if call.keys() - CALL_KEYS or not isinstance(call.get("trigger_id"), int | None):
        return False
    inputs = page.fns[number].inputs
    return len(data) == len(inputs) and all(map(accepts, inputs, data))


def accepts(component: Any, value: Any) -> bool:
    """Return whether the page in a browser can send this value of a component."""
    if isinstance(component, gr.Slider):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and bool(component.minimum <= value <= component.maximum)
    if isinstance(component, gr.Radio | gr.Dropdown):
        return value in [choice for _, choice in component.choices]
    if isinstance(component, gr.File):
        return value is None or (isinstance(value, dict) and is_file(value))
    return True  # a state, which the server keeps itself


def is_file(value: dict[str, Any]) -> bool:
    """Return whether this describes an uploaded file of an accepted type."""
    try:
        file = FileData.model_validate(value, strict=True)
        return file.meta == value.get("meta") and Path(file.path).suffix.lower() in ACCEPTED
    except ValidationError:
        return False
