"""The README.md of an exported folder: what a model hub shows, and a program that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.core.errors import SgcpError
from sgcp.core.terminal import percent
from sgcp.inference.graph import LARGEST, SMALLEST
from sgcp.models import SGCPNET
from sgcp.models.card import ARCHITECTURE

if TYPE_CHECKING:
    from sgcp.models.card import ModelCard

OURS = "library_name: sgcpnet"
LIBRARIES = {".onnx": "onnxruntime", ".xml": "openvino", ".pt2": "torch"}

README = """\
---
{ours}
pipeline_tag: image-segmentation
tags: [semantic-segmentation, {library}]
license: other
license_name: that-of-the-training-data
metrics: [mean_iou]
{results}---

# {network} for {dataset}

Semantic segmentation: one of {count} classes for every pixel.

| | |
|---|---|
| training data | {dataset}, edition `{edition}`, protocol `{protocol}`, {images:,} images |
| recipe | {recipe} |
| mIoU | {score} |
| arithmetic | {arithmetic} |
| input | `image`: uint8 ({batch}, {height}, {width}, 3), RGB{resize} |
| output | {output} |

Images are normalized in the graph. `{description}` has the settings of the training and the
versions of the libraries. The code is under the MIT license; whether you may use the weights
depends on the training data.

## Run it

```console
$ pip install {library} numpy pillow
```

```python
{program}```
{loading}
## Classes

| index | name | color (RGB) |
|---|---|---|
{classes}
"""

LOADING = """
After `pip install sgcpnet`, `sgcp.load("FOLDER").segment("street.png")` does all of this.
"""

RESULTS = """\
model-index:
- name: {network}
  results:
  - task: {{type: image-segmentation}}
    dataset: {{name: {dataset}, type: {dataset}, split: {split}}}
    metrics:
    - {{type: mean_iou, value: {miou:.4f}}}
"""

RUN = {
    ".onnx": """\
session = onnxruntime.InferenceSession("{name}")
{output} = session.run(None, {{"image": np.array(seen)[None]}})[0]""",
    ".xml": """\
settings = {{"INFERENCE_PRECISION_HINT": "f32"}}  # leave it out for speed
model = openvino.Core().compile_model("{name}", "CPU", settings)
{output} = model(np.array(seen)[None])[0]""",
    ".pt2": """\
program = torch.export.load("{name}").module()
{output} = program(torch.from_numpy(np.array(seen)[None])).detach().numpy()""",
}

OF_SCORES = """\
# (1, K, ceil(H/8), ceil(W/8)) float32, to the size of the photograph
planes = [Image.fromarray(plane).resize(photo.size, BILINEAR) for plane in scores[0]]
labels = np.argmax(planes, axis=0).astype(np.uint8)  # (H, W), indices of the classes below
"""
OF_LABELS = """\
labels = labels[0]  # (H, W) uint8, indices of the classes below, at the size that it was given
"""


def refuse_foreign(readme: Path) -> None:
    """Refuse to replace a README.md of another origin."""
    if readme.exists() and not (readme.is_file() and OURS.encode() in readme.read_bytes()):
        raise SgcpError(f"{readme}: exists, and is not of an export. Choose another folder")


def write_readme(
    file: Path, card: ModelCard, resize: Mapping[str, Any] | None, scores: Mapping[str, Any] | None
) -> str:
    """Return the README.md beside an export.

    Args:
        file: of the graph.
        resize: of ``preprocessing``: how images are resized first; None: not at all.
        scores: content of the model's metrics file; None: unknown.
    """
    facts = card.provenance["export"]
    int8 = facts["int8"]
    if int8:
        scores = int8["scores"] if "miou_int8" in (int8["scores"] or {}) else None
    split, miou = "", None
    if scores:
        split, miou = scores["split"], scores["miou_int8" if int8 else "miou"]
    size, labels = facts["size"], facts["labels"]
    height, width = size or ("H", "W")
    how = ""
    if resize and "short_side" in resize:
        how = f"; resize it to a short side of {resize['short_side']} pixels first"
    elif resize:
        how = f"; resize it to {height}x{width} pixels first"
    if size is None and file.suffix == ".pt2":
        how += f"; sides of {SMALLEST} to {LARGEST:,} pixels"
    scored = [f"ceil({side}/8)" for side in "HW"] if size is None else [-(-s // 8) for s in size]
    batch = "B" if size is None and file.suffix != ".pt2" else 1
    output = (
        f"`labels`: uint8 ({batch}, {height}, {width}), indices of classes"
        if labels
        else f"`scores`: float32 ({batch}, {len(card.classes)}, {scored[0]}, {scored[1]}): "
        "the class with the highest score, after bilinear resizing to the image"
    )
    made = card.provenance
    recipe = f"`{made.get('recipe') or 'unknown'}`, epoch {made.get('epoch', 'unknown')}"
    if commit := made.get("commit"):
        recipe += f", commit {commit[:12]}"
    if card.lineage:
        recipe += f", {card.lineage}"
    network = ARCHITECTURE if card.network == SGCPNET else card.network
    known = {"dataset": card.dataset, "network": network}
    return README.format(
        **known,
        ours=OURS,
        library=LIBRARIES[file.suffix],
        results=RESULTS.format(**known, split=split, miou=miou) if scores else "",
        count=len(card.classes),
        edition=card.edition,
        protocol=card.protocol,
        images=facts["trained_on"]["images"],
        recipe=recipe,
        score=_describe_score(card, split, miou),
        arithmetic=_describe_int8(int8) if int8 else "32 bits in the file",
        batch=batch, height=height, width=width, resize=how, output=output,
        description=file.with_suffix(".json").name,
        program=write_program(file, resize, labels),
        loading=LOADING if file.suffix != ".pt2" else "",
        classes="\n".join(
            f"| {row['train_id']} | {row['name']} | {', '.join(map(str, row['color']))} |"
            for row in card.classes
        ),
    )  # fmt: skip


def _describe_score(card: ModelCard, split: str, miou: float | None) -> str:
    if miou is not None:
        return f"{percent(miou)} % on `{split}`"
    chosen = card.provenance.get("chosen_by")
    if chosen:
        return (
            f"not known of these weights, which were trained on `{chosen['split']}` too; the "
            f"recipe without it: {percent(chosen['miou'])} % on `{chosen['split']}`"
        )
    return "not measured; `sgcp validate` does"


def _describe_int8(int8: Mapping[str, Any]) -> str:
    scores = int8["scores"]
    compared = scores or int8
    loss = f"{100 * scores['miou_difference']:+.2f} points of mIoU and " if scores else ""
    return (
        f"convolutions in 8-bit integers, calibrated with {int8['images']} images; {loss}"
        f"{percent(compared['equal_labels'])} % of the labels equal to those in 32 bits"
    )


def write_program(file: Path, resize: Mapping[str, Any] | None, labels: bool) -> str:
    """Return a Python program that labels ``street.png`` by an exported graph."""
    lines = ["import numpy as np", f"import {LIBRARIES[file.suffix]}", "from PIL import Image", ""]
    lines += ["BILINEAR = Image.Resampling.BILINEAR  # antialiased, which OpenCV's is not"]
    lines += ['photo = Image.open("street.png").convert("RGB")']
    if resize and "short_side" in resize:
        lines += [
            f"factor = {resize['short_side']} / min(photo.size)",
            f"largest = ({resize['max_enlarged_pixels']} / photo.width / photo.height) ** 0.5",
            "factor = min(factor, max(1, largest))",
            "seen = photo.resize([round(side * factor) for side in photo.size], BILINEAR)",
        ]
    elif resize:
        lines += [f"seen = photo.resize(({resize['width']}, {resize['height']}), BILINEAR)"]
    else:
        lines += ["seen = photo"]
    output = "labels" if labels else "scores"
    lines += ["", RUN[file.suffix].format(name=file.name, output=output), ""]
    return "\n".join(lines) + (OF_LABELS if labels else OF_SCORES)
