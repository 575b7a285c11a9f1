"""Draw the pictures of README.md and the pages, from the embedded sample alone.

    sgcp download sample && sgcp prepare sample && sgcp train sample
    python docs/pictures.py

No dataset's picture is in the repository. ``data/models/sample`` must be there; ``dvc repro`` makes
it too. The same model gives the same bytes.
"""

import argparse
import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

from sgcp.datasets.images import UInt8, read_image
from sgcp.datasets.index import read_dataset
from sgcp.files import write_bytes
from sgcp.inference.segmenter import Segmenter, load
from sgcp.reporting.panels import colorize
from sgcp.stages.layout import Layout

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Patch

PICTURES = Path(__file__).parent / "pictures"
SHARE = 0.6  # of the colours in an overlay
COLORS = 256  # of a PNG with a palette, a third of the bytes
WIDTH = 9.6  # inches, at 100 pixels each


def draw_segmentation(image: UInt8, model: Segmenter) -> Image.Image:
    """Return a picture (H, W, 3) beside what the model says of it, over a legend."""
    labels = model.segment(image)
    colors = colorize(labels, model.classes)
    overlay = np.rint(image * (1 - SHARE) + colors * SHARE).astype(np.uint8)
    seen = [model.classes[train_id] for train_id in np.unique(labels)]

    height, width = labels.shape
    figure, axes = plt.subplots(
        1, 2, figsize=(WIDTH, WIDTH * height / (2 * width) + 0.8), layout="constrained"
    )
    for axis, picture in zip(axes, (image, overlay), strict=True):
        axis.imshow(picture)
        axis.axis("off")
    handles = [Patch(facecolor=np.divide(c.color, 255), edgecolor="black") for c in seen]
    figure.legend(
        handles, [c.name for c in seen], loc="outside lower center", ncols=7, frameon=False
    )
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    plt.close(figure)
    return Image.open(file).convert("RGB")


def save(picture: Image.Image, path: Path, exact: list[int]) -> None:
    """Write a PNG of few bytes, with a palette that holds some colours (R, G, B, R, ...) as are."""
    few = picture.quantize(COLORS - len(exact) // 3, dither=Image.Dither.NONE)
    palette = Image.new("P", (1, 1))
    palette.putpalette([*exact, *(few.getpalette() or [])])
    file = io.BytesIO()
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    write_bytes(path, file.getvalue())
    print(f"{path}: {path.stat().st_size:,} bytes")


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scene", type=int, default=3, help="which one of the validation split")
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder to write to")
    options = parser.parse_args()
    layout = Layout(Path(), "sample")
    item = read_dataset(layout.prepared).split("val")[options.scene]
    model = load(layout.model, precision="fp32")
    picture = draw_segmentation(read_image(layout.raw / item.image), model)
    legend = [channel for one in model.classes for channel in one.color]
    save(picture, options.out / "sample.png", legend)


if __name__ == "__main__":
    main()
