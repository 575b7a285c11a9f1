"""Commands for the user's own images and videos; they need no project."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from sgcp.cli import options
from sgcp.cli.project import project_here
from sgcp.core.errors import SgcpError

app, command = options.commands("Your own images")
live_option = partial(typer.Option, rich_help_panel="Live")
server_option = partial(typer.Option, rich_help_panel="Server")


@command(
    "sgcp segment street.jpg holiday/ drive.mp4 --flip --out averaged",
    "sgcp segment 'holiday/**/*.jpg' --threshold 0.6 --format cvat --out labelled",
    "sgcp segment camera:0 --max-seconds 60",
)
def segment(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Images, videos, folders, 'patterns/**/*.jpg', or - for standard input; or one "
            "camera:0, rtsp://, udp:// or http(s):// stream.",
        ),
    ],
    model: options.Model = "camvid",
    out: Annotated[Path, options.output_option(metavar="DIR", help="Output folder.")] = Path(
        "segmented"
    ),
    labels: Annotated[
        bool | None,
        options.output_option(
            help="Write class indices: NAME_labels.png, of videos NAME_labels.mkv.",
            show_default="of images",
        ),
    ] = None,
    colors: Annotated[bool, options.output_option(help="Write NAME_colors, .png or .mp4.")] = False,
    overlay: Annotated[
        bool, options.output_option(help="Write NAME_overlay: colours over the image.")
    ] = True,
    alpha: Annotated[
        float, options.output_option(metavar="X", help="Opacity of the overlay's colours, 0 to 1.")
    ] = 0.5,
    legend: Annotated[
        bool,
        options.output_option(
            "--legend", help="Put a legend of the classes that occur below an image's overlay."
        ),
    ] = False,
    confidence: Annotated[
        bool,
        options.output_option(
            "--confidence",
            help="Write the highest class probability of each pixel, 255 for 1: "
            "NAME_confidence, .png or .mkv.",
        ),
    ] = False,
    threshold: Annotated[
        float | None,
        options.output_option(
            metavar="X",
            help="Give pixels of a lower confidence, 0 to 1, the label 255 and no colour.",
            show_default="none",
        ),
    ] = None,
    form: Annotated[
        Literal["labelme", "coco", "cvat"] | None,
        options.output_option(
            "--format",
            help="Write the images' labels as polygons that this tool imports: NAME.json, "
            "annotations.json or annotations.xml.",
            show_default="none",
        ),
    ] = None,
    input_size: Annotated[
        options.Size | None,
        options.inference_option(
            metavar="H W",
            help="Height and width of the network's input, pixels, rounded to multiples of 8; by "
            "default as trained.",
        ),
    ] = None,
    flip: options.Flip = False,
    scale: options.Scale = None,
    window: options.Window = None,
    smooth: Annotated[
        float,
        options.inference_option(
            metavar="X",
            help="Average the scores of a video's frames: share of the earlier ones, 0 to below "
            "1. For cameras that stand still.",
        ),
    ] = 0,
    max_seconds: Annotated[
        float | None,
        live_option(
            metavar="S", help="End a stream, or --live, after this time.", show_default="at its end"
        ),
    ] = None,
    live: Annotated[
        bool,
        live_option("--live", help="Play one stream or video, and show its overlay on localhost."),
    ] = False,
    port: Annotated[int, live_option(metavar="N", help="Port of --live; 0 takes a free one.")] = 0,
    force: Annotated[
        bool,
        options.output_option(
            "--force", help="Overwrite existing files; by default finished ones are skipped."
        ),
    ] = False,
    device: options.Device = "auto",
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Segment images and videos with bundled or your own weights; works offline, in any folder."""
    from sgcp.inference.tta import InferenceOptions
    from sgcp.media.addresses import find_stream
    from sgcp.tools.segment import segment as tool
    from sgcp.tools.segment_outputs import SegmentOptions

    options.refuse_input(json, paths)
    asked = SegmentOptions(
        labels=labels, colors=colors, overlay=overlay, alpha=alpha, legend=legend,
        confidence=confidence, threshold=threshold, form=form, input_size=input_size,
        inference=InferenceOptions(flip, tuple(scale or [1.0]), window), smooth=smooth,
    )  # fmt: skip
    stream = find_stream(paths)
    if port and not live:
        raise SgcpError("--port: is that of the page of --live. Leave it out, or add --live")
    if stream or live:
        from sgcp.tools.live import find_source, segment_live

        source = stream or find_source(paths)
        page = port if live else None
        result = segment_live(source, model, out, asked, force, device, max_seconds, page)
        options.write_result(json, result)
        return
    if max_seconds is not None:
        raise SgcpError("--max-seconds: of cameras, streams and --live alone. Leave it out")
    summary = tool(list(map(Path, paths)), model, out, asked, force, device, json is not None)
    options.write_result(json, summary)
    if summary["left_out"]:
        raise typer.Exit(1)


@command("sgcp demo --open", "sgcp demo --model street.onnx --port 8000 --max-seconds 30")
def demo(
    model: Annotated[
        list[str] | None,
        options.model_option(
            help="Folder, .safetensors or exported model to offer too; repeat for several."
        ),
    ] = None,
    host: Annotated[
        str,
        server_option(
            metavar="ADDRESS", help="Address to listen on; any but localhost admits other machines."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, server_option(metavar="N", help="Port; 0 takes a free one.")] = 7860,
    max_megabytes: Annotated[int, server_option(metavar="N", help="Largest file accepted.")] = 200,
    max_seconds: Annotated[float, server_option(metavar="S", help="Longest video accepted.")] = 120,
    device: options.Device = "auto",
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Serve a local page that segments images, videos and the browser's camera; works offline.

    Offers the bundled weights and those in data/models of the project in the current folder.
    """
    from sgcp.tools.demo import demo as tool

    tool(model or [], project_here(), device, host, port, max_megabytes, max_seconds, open_browser)
