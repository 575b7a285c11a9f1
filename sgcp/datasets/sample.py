"""The embedded sample: street scenes in exactly Cityscapes' own files."""

import io
import json
from pathlib import Path

from sgcp.core.files import write_bytes
from sgcp.core.parallel import map_parallel
from sgcp.datasets.scenes import make_scene
from sgcp.media.images import write_png

CITIES = {"train": ("arcburg", "bridgeton"), "val": ("crossfield",), "test": ("dunham",)}
LABEL_IMAGES = ("labelIds", "instanceIds", "color")


def _write_scene(task: tuple[Path, int, str, int, tuple[int, int]]) -> None:
    folder, seed, split, index, size = task
    image, annotation = make_scene(seed, list(CITIES).index(split), index, size)
    cities = CITIES[split]
    city, sequence = cities[index % len(cities)], index // len(cities)
    stem = f"{city}_{sequence:06d}_000019"
    write_png(folder / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", image)
    if split == "test":  # as published: the border alone, nothing to learn from
        annotation["objects"] = annotation["objects"][-1:]
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
    images = (
        createLabelImage(annotation, "ids"),
        createInstanceImage(annotation, "ids"),
        createLabelImage(annotation, "color"),
    )
    for kind, image in zip(LABEL_IMAGES, images, strict=True):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        name = polygons.name.replace("polygons.json", f"{kind}.png")
        write_bytes(polygons.with_name(name), buffer.getvalue(), flush=False)


def generate_sample(
    folder: Path, seed: int, size: tuple[int, int], counts: dict[str, int], workers: int | str
) -> None:
    """Write the whole sample below ``folder``, the same bytes for the same arguments.

    Args:
        size: (height, width), pixels.
        counts: images a split.
    """
    tasks = [
        (folder, seed, split, index, size) for split in counts for index in range(counts[split])
    ]
    map_parallel(_write_scene, tasks, workers, "street scenes")
