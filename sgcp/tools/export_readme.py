"""The README.md of an exported folder: what a model hub shows, and a program that runs it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from sgcp.core.errors import SgcpError
from sgcp.core.terminal import percent
from sgcp.inference.graph import LARGEST, SMALLEST
from sgcp.models import SGCPNET
from sgcp.models.card import ARCHITECTURE, STRIDE, ModelCard

OURS = "library_name: sgcpnet"
LIBRARIES = {".onnx": "onnxruntime", ".xml": "openvino", ".pt2": "torch"}

# `{%-` and `{{-` join a line to the one before.
README = """\
---
{{ ours }}
pipeline_tag: image-segmentation
tags: [semantic-segmentation, {{ library }}]
license: other
license_name: that-of-the-training-data
metrics: [mean_iou]
{% if scores %}
model-index:
- name: {{ network }}
  results:
  - task: {type: image-segmentation}
    dataset: {name: {{ card.dataset }}, type: {{ card.dataset }}, split: {{ scores.split }}}
    metrics:
    - {type: mean_iou, value: {{ '%.4f' % miou }}}
{% endif %}
---

# {{ network }} for {{ card.dataset }}

Semantic segmentation: one of {{ card.classes | length }} classes for every pixel.

| | |
|---|---|
| training data | {{ card.dataset }}, edition `{{ card.edition }}`, protocol `{{ card.protocol }}`,
{{- ' {:,} images |'.format(export.trained_on.images) }}
| recipe | `{{ made.get('recipe') or 'unknown' }}`, epoch {{ made.get('epoch', 'unknown') }}
{%- if made.get('commit') %}, commit {{ made.commit[:12] }}{% endif %}
{%- if card.lineage %}, {{ card.lineage }}{% endif %} |
| mIoU | {% if scores %}{{ percent(miou) }} % on `{{ scores.split }}`
{%- elif chosen %}not known of these weights, which were trained on `{{ chosen.split }}` too; the
{{- ' ' }}recipe without it: {{ percent(chosen.miou) }} % on `{{ chosen.split }}`
{%- else %}not measured; `sgcp validate` does{% endif %} |
| arithmetic | {% if not int8 %}32 bits in the file
{%- else %}convolutions in 8-bit integers, calibrated with {{ int8.images }} images;
{%- if int8.scores %} {{ '%+.2f' % (100 * int8.scores.miou_difference) }} points of mIoU and
{%- endif %} {{ percent((int8.scores or int8).equal_labels) }} % of the labels equal to
{{- ' ' }}those in 32 bits{% endif %} |
| input | `image`: uint8 ({{ batch }}, {{ height }}, {{ width }}, 3), RGB
{%- if resize and 'multiple_of' in resize %}; resize it
{%- if 'short_side' in resize %} to a short side of {{ resize.short_side }} pixels,{% endif %}
{{- ' ' }}to multiples of {{ resize.multiple_of }} pixels first
{%- elif resize %}; resize it to {{ resize.height }}x{{ resize.width }} pixels first{% endif %}
{%- if library == 'torch' and not size %}; sides of {{ bounds }} pixels{% endif %} |
| output | {% if labels %}`labels`: uint8 ({{ batch }}, {{ height }}, {{ width }}), indices
{{- ' ' }}of classes
{%- else %}`scores`: float32 ({{ batch }}, {{ card.classes | length }}, {{ scored }}):
{{- ' ' }}the class with the highest score, after bilinear resizing to the image{% endif %} |

Images are normalized in the graph. `{{ file.stem }}.json` has the settings of the training and the
versions of the libraries. The code is under the MIT license; whether you may use the weights
depends on the training data.

## Run it

```console
$ pip install {{ library }} numpy pillow
```

```python
import numpy as np
import {{ library }}
from PIL import Image

BILINEAR = Image.Resampling.BILINEAR  # antialiased, which OpenCV's is not
photo = Image.open("street.png").convert("RGB")
{% if not resize %}
seen = photo
{% elif 'multiple_of' in resize %}
{% if 'short_side' in resize %}
factor = {{ resize.short_side }} / min(photo.size)
largest = ({{ resize.max_enlarged_pixels }} / photo.width / photo.height) ** 0.5
factor = min(factor, max(1, largest)) / {{ resize.multiple_of }}
{% else %}
factor = 1 / {{ resize.multiple_of }}
{% endif %}
cells = [max(1, round(side * factor)) for side in photo.size]
seen = photo.resize([{{ resize.multiple_of }} * count for count in cells], BILINEAR)
{% else %}
seen = photo.resize(({{ resize.width }}, {{ resize.height }}), BILINEAR)
{% endif %}

{% if library == 'onnxruntime' %}
session = onnxruntime.InferenceSession("{{ file.name }}")
{{ output }} = session.run(None, {"image": np.array(seen)[None]})[0]
{% elif library == 'openvino' %}
settings = {"INFERENCE_PRECISION_HINT": "f32"}  # leave it out for speed
model = openvino.Core().compile_model("{{ file.name }}", "CPU", settings)
{{ output }} = model(np.array(seen)[None])[0]
{% else %}
program = torch.export.load("{{ file.name }}").module()
{{ output }} = program(torch.from_numpy(np.array(seen)[None])).detach().numpy()
{% endif %}
{% if labels %}
labels = labels[0]  # (H, W) uint8, indices of the classes below, at the size that it was given
{% else %}
# (1, K, {{ scored }}) float32, to the size of the photograph
planes = [Image.fromarray(plane).resize(photo.size, BILINEAR) for plane in scores[0]]
labels = np.argmax(planes, axis=0).astype(np.uint8)  # (H, W), indices of the classes below
{% endif %}
```
{% if library != 'torch' and not (labels and size) %}

After `pip install sgcpnet`, `sgcp.load("FOLDER").segment("street.png")` does all of this.
{% endif %}

## Classes

| index | name | color (RGB) |
|---|---|---|
{% for row in card.classes %}
| {{ row.train_id }} | {{ row.name }} | {{ row.color | join(', ') }} |
{% endfor %}
"""


def refuse_foreign(readme: Path) -> None:
    """Refuse to replace a README.md of another origin."""
    if readme.exists() and not (readme.is_file() and OURS.encode() in readme.read_bytes()):
        raise SgcpError(f"{readme}: exists, and is not of an export. Choose another folder")


def score_grid(
    network: str, size: Sequence[int] | None, sides: tuple[str, str]
) -> tuple[int | str, int | str]:
    """Return rows and columns of the scores, as text where the size of images is open."""
    if network != SGCPNET:  # of a stride of its own
        return "rows", "columns"
    if size is None:
        return f"{sides[0]}/{STRIDE}", f"{sides[1]}/{STRIDE}"
    return size[0] // STRIDE, size[1] // STRIDE


def write_readme(
    file: Path, card: ModelCard, resize: Mapping[str, Any] | None, scores: Mapping[str, Any] | None
) -> str:
    """Return the README.md beside an export.

    Args:
        file: of the graph.
        resize: of ``preprocessing``: how images are resized first; None: not at all.
        scores: content of the model's metrics file; None: unknown.
    """
    export = card.provenance["export"]
    int8, size = export["int8"], export["size"]
    if int8:
        scores = int8["scores"] if "miou_int8" in (int8["scores"] or {}) else None
    height, width = size or ("H", "W")
    rows, columns = score_grid(card.network, size, ("H", "W"))
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(README).render(
        file=file, card=card, made=card.provenance, chosen=card.provenance.get("chosen_by"),
        export=export, int8=int8, size=size, labels=export["labels"], resize=resize,
        scores=scores, miou=scores and scores["miou_int8" if int8 else "miou"], percent=percent,
        network=ARCHITECTURE if card.network == SGCPNET else card.network,
        ours=OURS, library=LIBRARIES[file.suffix],
        batch="B" if size is None and file.suffix != ".pt2" else 1, height=height, width=width,
        scored=f"{rows}, {columns}", bounds=f"{SMALLEST} to {LARGEST:,}",
        output="labels" if export["labels"] else "scores",
    )  # fmt: skip
