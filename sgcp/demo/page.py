"""The page: what lies where, and what happens when something is dropped, picked or pressed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from pydantic import ValidationError

from sgcp.demo.actions import Actions
from sgcp.demo.images import VIEWS
from sgcp.demo.style import WIDE
from sgcp.media.images import SUFFIXES as IMAGES
from sgcp.media.video import SUFFIXES as VIDEOS

TITLE = "SGCPNet: a class for every pixel"
TAKEN = (*IMAGES, *VIDEOS)
SENT = {"data", "event_data", "fn_index", "session_hash", "trigger_id"}  # with a call
KEPT = (600, 3600)  # seconds: how often files are looked through, and how old they get


def build_page(actions: Actions, bounds: str) -> gr.Blocks:
    """Return the page.

    Args:
        bounds: what may be dropped on it, in words.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=KEPT) as page:
        kept = gr.State(time_to_live=KEPT[1], delete_callback=actions.forget)
        gr.HTML(f"<h1>{TITLE}</h1><p>Drop a street scene here, an image or a video. "
                "It stays on this machine.</p>", elem_classes="intro")  # fmt: skip
        with gr.Row(elem_classes=WIDE):
            with gr.Column(scale=1, min_width=300):
                source = gr.File(label="Image or video", file_types=list(TAKEN), height=140)
                gr.HTML(f"<p>{bounds}</p>", elem_classes="hint")
                model = gr.Dropdown(actions.shelf.models, label="Weights",
                                    value=actions.shelf.models[0])  # fmt: skip
                engine = gr.Radio(actions.shelf.engines, label="Engine", value="auto")
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
                facts = gr.HTML("<p>The result will be here.</p>", elem_id="facts")
                with gr.Row():
                    labels = gr.DownloadButton("Download the label map", visible=False)
                    shown = gr.DownloadButton("Download what is shown", visible=False)
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
    """Tell whether this asks for a function of the page, with values that it can have."""
    number, data = call.get("fn_index"), call.get("data")
    if not isinstance(number, int) or number not in page.fns or not isinstance(data, list):
        return False
    if call.keys() - SENT or not isinstance(call.get("trigger_id"), int | None):
        return False
    inputs = page.fns[number].inputs
    return len(data) == len(inputs) and all(map(accepts, inputs, data))


def accepts(component: Any, value: Any) -> bool:
    """Tell whether a browser that shows this page can send this value of a component."""
    if isinstance(component, gr.Slider):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and bool(component.minimum <= value <= component.maximum)
    if isinstance(component, gr.Radio | gr.Dropdown):
        return value in [choice for _, choice in component.choices]
    if isinstance(component, gr.File):
        return value is None or (isinstance(value, dict) and is_file(value))
    return True  # a state: the server has its own


def is_file(value: dict[str, Any]) -> bool:
    """Tell whether this describes an uploaded file of a kind that the page takes."""
    try:
        file = FileData.model_validate(value, strict=True)
        return file.meta == value.get("meta") and Path(file.path).suffix.lower() in TAKEN
    except ValidationError:
        return False
