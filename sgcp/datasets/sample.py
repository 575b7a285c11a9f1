"""The embedded sample: procedural street scenes in exactly Cityscapes' own files.

Colours are drawn anew for every object from ranges that overlap between classes, under a random
light, with noise: what tells the classes apart is texture, shape and place, so a network has to
learn them and a colour threshold fails (``tests/datasets/test_sample.py`` measures it).
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_json, write_bytes
from sgcp.core.parallel import map_parallel
from sgcp.datasets import textures
from sgcp.datasets.cityscapes import prepare_cityscapes
from sgcp.datasets.index import SPLITS, Dataset
from sgcp.datasets.raw import MANIFEST
from sgcp.datasets.source import DatasetSource, Inputs
from sgcp.datasets.textures import TEXTURES, Brush
from sgcp.media.images import UInt8, write_png

CITIES = {"train": ("arcburg", "bridgeton"), "val": ("crossfield",), "test": ("dunham",)}
Points = NDArray[np.float64]  # (N, 2) of x, y in pixels


class Street:
    """A scene in the making: what is painted last hides what was painted before."""

    def __init__(self, size: tuple[int, int], rng: np.random.Generator) -> None:
        self.height, self.width = size
        self.unit = size[0] / 256  # one pixel of the 256-row original
        self.rng = rng
        self.image = np.zeros((*size, 3), dtype=np.float32)
        self.objects: list[dict[str, Any]] = []
        self.horizon = self.height * rng.uniform(0.38, 0.48)

    def paint(self, label: str, points: Points) -> None:
        """Add one polygon: its pixels to the image, its corners to the annotation."""
        limits = (self.width - 1, self.height - 1)
        corners = np.rint(points).astype(int).clip(0, limits)
        mask_image = Image.new("1", (self.width, self.height))
        ImageDraw.Draw(mask_image).polygon(list(map(tuple, corners.tolist())), fill=1)
        x0, y0 = corners.min(axis=0)
        x1, y1 = corners.max(axis=0) + 1
        inside = np.array(mask_image)[y0:y1, x0:x1]
        patch = TEXTURES[label](Brush(self.rng, (int(y1 - y0), int(x1 - x0)), self.unit))
        self.image[y0:y1, x0:x1][inside] = patch[inside]
        self.objects.append({"label": label, "polygon": corners.tolist()})

    def finish(self) -> UInt8:
        """Light the scene, blur it as a lens does, add noise: (H, W, 3) uint8."""
        rng = self.rng
        cast = rng.uniform(0.8, 1.2, 3) * rng.uniform(0.75, 1.15)
        slope = np.linspace(rng.uniform(0.75, 1.25), rng.uniform(0.75, 1.25), self.width)
        image = self.image * cast * slope[None, :, None]
        lit = Image.fromarray(image.clip(0, 255).astype(np.uint8))
        blurred = np.asarray(lit.filter(ImageFilter.GaussianBlur(0.5 * self.unit)), np.float32)
        noise = rng.normal(0, rng.uniform(3, 9), self.image.shape)
        return (blurred + noise).clip(0, 255).astype(np.uint8)


def box(x: float, y: float, width: float, height: float) -> Points:
    """Return a rectangle by its lower left corner."""
    return np.array([[x, y - height], [x + width, y - height], [x + width, y], [x, y]])


def outline(x: float, y: float, width: float, height: float, shape: str) -> Points:
    """Return one of the named silhouettes, scaled into a box given by its lower left corner."""
    return SHAPES[shape] * [width, -height] + [x, y]


def ellipse(points: int = 16) -> Points:
    """Return an ellipse inscribed in the unit square."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return 0.5 + 0.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)


SHAPES: dict[str, Points] = {
    "car": np.array([[0, .1], [0, .5], [.15, .6], [.28, 1], [.7, 1], [.86, .6], [1, .5], [1, .1],
                     [.88, 0], [.12, 0]]),
    "truck": np.array([[0, .05], [0, 1], [.66, 1], [.66, .78], [.88, .78], [1, .45], [1, .05]]),
    "bus": np.array([[0, .04], [0, .96], [.03, 1], [.97, 1], [1, .9], [1, .04], [.9, 0], [.1, 0]]),
    "train": np.array([[0, 0], [0, .9], [.06, 1], [.9, 1], [1, .55], [1, 0]]),
    "person": np.array([[.2, 0], [.3, .4], [.1, .5], [.15, .78], [.38, .84], [.36, .97], [.5, 1],
                        [.64, .97], [.62, .84], [.85, .78], [.9, .5], [.7, .4], [.8, 0],
                        [.58, 0], [.5, .35], [.42, 0]]),
    "rider": np.array([[.1, .1], [.2, .6], [.45, .8], [.45, .98], [.65, 1], [.75, .85], [.7, .72],
                       [1, .5], [.95, .4], [.6, .5], [.65, .2], [.45, 0]]),
    "bicycle": np.array([[0, .25], [.05, .5], [.2, .6], [.35, .55], [.4, .9], [.55, .9], [.65, .6],
                         [.8, .62], [.95, .5], [1, .25], [.9, .04], [.75, 0], [.6, .1], [.5, .25],
                         [.4, .1], [.25, 0], [.1, .04]]),
    "motorcycle": np.array([[0, .2], [.05, .6], [.3, .8], [.55, .7], [.7, 1], [.8, .95], [.78, .6],
                            [1, .4], [.98, .1], [.85, 0], [.1, 0]]),
    "round": ellipse(),
    "triangle": np.array([[0, 0], [.5, 1], [1, 0]]),
    "diamond": np.array([[0, .5], [.5, 1], [1, .5], [.5, 0]]),
}  # fmt: skip


# Kinds to choose from, and their widths and heights at the original size; a person has no width.
CAR = (("car",), (58, 76), (28, 34))
LARGE = (("truck", "bus", "train"), (95, 150), (46, 62))
TWO_WHEELER = (("bicycle", "motorcycle"), (46, 58), (26, 32))
PERSON: tuple[tuple[str, ...], tuple[int, ...], tuple[int, int]] = (("person",), (), (56, 74))
TRAFFIC = [*[CAR] * 2, *[LARGE] * 2, *[TWO_WHEELER] * 3, *[PERSON] * 3]


def _paint_background(street: Street) -> None:
    """Sky, a row of buildings and trees on either side, the ground."""
    rng, width, height = street.rng, street.width, street.height
    street.paint("sky", box(0, height - 1, width, height))
    ground = street.horizon + 6 * street.unit
    x = -20.0 * street.unit
    while x < width:
        span = rng.uniform(50, 120) * street.unit
        top = rng.uniform(0.35, 1.0) * street.horizon
        if rng.random() < 0.7:
            street.paint("building", box(x, ground, span, top))
        else:
            street.paint("vegetation", _blob(street, x, ground, span, top))
        x += span * rng.uniform(0.8, 1.2)
    street.paint("terrain", box(0, height - 1, width, height - street.horizon))


def _blob(street: Street, x: float, y: float, width: float, height: float) -> Points:
    """Return a ragged crown of leaves."""
    ragged = (ellipse(24) - 0.5) * street.rng.uniform(0.8, 1.1, (24, 1)) + 0.5
    return ragged * [width, -height] + [x, y]


def _paint_ground(street: Street) -> None:
    """Road and sidewalks, running to a vanishing point; walls and fences beside them."""
    rng, height, width = street.rng, street.height, street.width
    vanishing = width * rng.uniform(0.4, 0.6)
    top, bottom = street.horizon + 2 * street.unit, height - 1.0
    left, right = width * rng.uniform(-0.1, 0.15), width * rng.uniform(0.85, 1.1)
    gap = 8 * street.unit
    for side, foot in ((-1, left), (1, right)):
        breadth = rng.uniform(0.18, 0.3) * width
        points = [[vanishing + side * gap, top], [vanishing + side * gap * 3, top],
                  [foot + side * breadth, bottom], [foot, bottom]]  # fmt: skip
        street.paint("sidewalk", np.array(points))
    road = [[vanishing - gap, top], [vanishing + gap, top], [right, bottom], [left, bottom]]
    street.paint("road", np.array(road))
    for x in (0.0, vanishing + 50 * street.unit):
        label = str(rng.choice(["wall", "fence"]))
        span = rng.uniform(0.6, 0.9) * (vanishing - 50 * street.unit)
        tall = rng.uniform(20, 34) * street.unit
        street.paint(label, box(x, street.horizon + 14 * street.unit, span, tall))


def _paint_furniture(street: Street) -> None:
    """Poles with lights and signs, and bushes."""
    rng, unit = street.rng, street.unit
    for _ in range(rng.integers(4, 7)):
        x = rng.uniform(0.02, 0.95) * street.width
        foot = street.horizon + rng.uniform(15, 45) * unit
        tall, thick = rng.uniform(80, 120) * unit, rng.uniform(5, 8) * unit
        kind = rng.integers(0, 4)
        street.paint("pole", box(x, foot, thick, tall))
        if kind in (0, 1):
            size = rng.uniform(22, 32) * unit
            sign = outline(x + (thick - size) / 2, foot - tall + size / 2, size, size,
                           str(rng.choice(["round", "triangle", "diamond"])))  # fmt: skip
            street.paint("traffic sign", sign)
        elif kind == 2:
            lamp = box(x + thick / 2 - 8 * unit, foot - tall + 20 * unit, 16 * unit, 40 * unit)
            street.paint("traffic light", lamp)
    if rng.random() < 0.6:
        x, span = rng.uniform(0, 0.8) * street.width, rng.uniform(40, 70) * unit
        bush = _blob(street, x, street.horizon + 30 * unit, span, rng.uniform(30, 50) * unit)
        street.paint("vegetation", bush)


def _paint_traffic(street: Street) -> None:
    """Vehicles and people, far ones first so that near ones hide them."""
    rng = street.rng
    chosen = [TRAFFIC[i] for i in rng.permutation(len(TRAFFIC))[: rng.integers(7, 10)]]
    for depth in np.sort(rng.uniform(0.25, 0.85, len(chosen))):
        foot = street.horizon + depth * (street.height - street.horizon)
        scale = (0.75 + 0.75 * depth) * street.unit
        x = rng.uniform(-0.02, 0.88) * street.width
        kinds, widths, heights = chosen.pop()
        label = kind = str(rng.choice(kinds)) if len(kinds) > 1 else kinds[0]
        wide = rng.uniform(*widths) * scale if widths else 0.0
        tall = rng.uniform(*heights) * scale
        if kind == "car" and rng.random() < 0.1:
            label = "cargroup"  # Cityscapes' label where cars cannot be told apart
        street.paint(label, outline(x, foot, wide or tall * 0.4, tall, kind))
        if kind in ("bicycle", "motorcycle") and rng.random() < 0.75:
            seat = outline(x + wide * 0.25, foot - tall * 0.55, 26 * scale, 42 * scale, "rider")
            street.paint("rider", seat)


def _paint_void(street: Street) -> None:
    """What Cityscapes does not score: things on the ground, the car itself, the image border."""
    rng, width, height, unit = street.rng, street.width, street.height, street.unit
    if rng.random() < 0.4:
        x, y = rng.uniform(0, 0.9) * width, rng.uniform(0.75, 0.9) * height
        street.paint("static", box(x, y, 24 * unit, 18 * unit))
    hood = outline(0.15 * width, height + 14 * unit, 0.7 * width, 32 * unit, "round")
    street.paint("ego vehicle", hood)
    street.objects.append(
        {"label": "out of roi", "polygon": [[0, 0], [width - 1, 0], [width - 1, 1], [0, 1]]}
    )


def _write_scene(task: tuple[Path, int, str, int, tuple[int, int]]) -> None:
    """Write the image and the annotation of one scene, a function of the task alone."""
    folder, seed, split, index, size = task
    street = Street(size, np.random.default_rng([seed, list(CITIES).index(split), index]))
    for paint in (_paint_background, _paint_ground, _paint_furniture, _paint_traffic, _paint_void):
        paint(street)
    cities = CITIES[split]
    city, sequence = cities[index % len(cities)], index // len(cities)
    stem = f"{city}_{sequence:06d}_000019"
    write_png(folder / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", street.finish())
    # Of a test scene, as published: the border alone, nothing to learn from.
    objects = street.objects[-1:] if split == "test" else street.objects
    annotation = {"imgHeight": size[0], "imgWidth": size[1], "objects": objects}
    target = folder / "gtFine" / split / city / f"{stem}_gtFine_polygons.json"
    write_bytes(target, f"{json.dumps(annotation, indent=1)}\n".encode(), flush=False)
    _write_label_images(target)


def _write_label_images(polygons: Path) -> None:
    """Add the label images that Cityscapes' own archive carries beside the polygons."""
    from cityscapesscripts.helpers.annotation import Annotation
    from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
    from cityscapesscripts.preparation.json2labelImg import createLabelImage

    annotation = Annotation()
    annotation.fromJsonFile(str(polygons))
    images = {
        "labelIds": createLabelImage(annotation, "ids"),
        "instanceIds": createInstanceImage(annotation, "ids"),
        "color": createLabelImage(annotation, "color"),
    }
    for kind, image in images.items():
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        name = polygons.name.replace("polygons.json", f"{kind}.png")
        write_bytes(polygons.with_name(name), buffer.getvalue(), flush=False)


def generate_sample(
    folder: Path, seed: int, size: tuple[int, int], counts: dict[str, int], workers: int | str
) -> None:
    """Write the whole sample below ``folder``, the same bytes for the same arguments."""
    tasks = [
        (folder, seed, split, index, size) for split in counts for index in range(counts[split])
    ]
    map_parallel(_write_scene, tasks, workers, "street scenes")


def _generate(folder: Path, settings: Any, workers: int | str) -> None:
    counts = {split: getattr(settings, split) for split in SPLITS}
    generate_sample(folder, settings.seed, settings.size, counts, workers)


def _prepare(inputs: Inputs, out: Path, settings: Any, workers: int | str) -> Dataset:
    made = read_json(inputs.raw / MANIFEST, made_by="sgcp download sample")
    expected = {split: made.get(split, 0) for split in SPLITS}
    if not all(type(count) is int for count in expected.values()):
        raise SgcpError(f"{inputs.raw / MANIFEST}: damaged; run `sgcp download sample` again")
    return prepare_cityscapes(
        inputs.raw, out, "sample", "procedural", expected, settings.allow_missing, workers
    )


def _place(name: str) -> Path | None:
    """Return where a generated file belongs, which official tools put others beside."""
    made = r"_(?:leftImg8bit\.png|gtFine_(?:polygons\.json|(?:labelIds|instanceIds|color)\.png))\Z"
    return Path(name) if re.search(made, name) else None


SOURCE = DatasetSource(
    _prepare, _place, generate=_generate, generator=(Path(__file__), Path(textures.__file__))
)
