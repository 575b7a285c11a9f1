"""Draw the images of README.md and the pages, from the embedded sample alone.

    sgcp download sample && sgcp prepare sample && sgcp train sample
    python docs/images.py

The images show the sample only, and the same model gives the same bytes. If Chromium is installed,
existing pages of ``sgcp report`` and ``sgcp browse`` are photographed as well.
"""

import argparse
import io
import shutil
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

from sgcp.core.files import write_bytes
from sgcp.core.layout import Layout
from sgcp.datasets.index import read_dataset
from sgcp.inference.segmenter import Segmenter, load
from sgcp.media.images import UInt8, read_image
from sgcp.reporting.panels import colorize

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Patch

IMAGES = Path(__file__).parent / "images"
SHARE = 0.6  # of the colours in an overlay
COLORS = 256  # of a PNG with a palette, a third of the bytes
WIDTH = 9.6  # inches, at 100 pixels each
VIEW = {"width": 1200, "height": 800}
# Images of pages: name, place in the layout, file, and the element; None: the top of the page.
PAGES = (
    ("report", "report", "report.html", None),
    ("report-image", "report", "report.html", "figure.viewer"),
    ("browse", "browse", "index.html", None),
)


def draw_segmentation(image: UInt8, model: Segmenter) -> Image.Image:
    """Return an image (H, W, 3) beside its prediction, above a legend."""
    labels = model.segment(image)
    colors = colorize(labels, model.classes)
    overlay = np.rint(image * (1 - SHARE) + colors * SHARE).astype(np.uint8)
    seen = [model.classes[train_id] for train_id in np.unique(labels)]

    height, width = labels.shape
    figure, axes = plt.subplots(
        1, 2, figsize=(WIDTH, WIDTH * height / (2 * width) + 0.8), layout="constrained"
    )
    for axis, shown in zip(axes, (image, overlay), strict=True):
        axis.imshow(shown)
        axis.axis("off")
    handles = [Patch(facecolor=np.divide(c.color, 255), edgecolor="black") for c in seen]
    figure.legend(
        handles, [c.name for c in seen], loc="outside lower center", ncols=7, frameon=False
    )
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    plt.close(figure)
    return Image.open(file).convert("RGB")


def photograph(layout: Layout, out: Path) -> None:
    """Photograph parts of the existing pages in Chromium."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        print("Chromium is not installed: pages are not photographed")
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, place, file, part in PAGES:
            address = (getattr(layout, place) / file).resolve()
            if not address.is_file():
                print(f"{address}: not found, not photographed")
                continue
            page = browser.new_page(viewport=VIEW, reduced_motion="reduce")
            page.goto(address.as_uri())
            page.wait_for_timeout(1000)  # charts are drawn
            shot = page.locator(part).first.screenshot() if part else page.screenshot()
            save(Image.open(io.BytesIO(shot)).convert("RGB"), out / f"{name}.png", [])
        browser.close()


def save(image: Image.Image, path: Path, exact: list[int]) -> None:
    """Write a small PNG with a palette that contains the colours ``exact`` (R, G, B, R, ...)."""
    few = image.quantize(COLORS - len(exact) // 3, dither=Image.Dither.NONE)
    palette = Image.new("P", (1, 1))
    palette.putpalette([*exact, *(few.getpalette() or [])])
    file = io.BytesIO()
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    write_bytes(path, file.getvalue())
    print(f"{path}: {path.stat().st_size:,} bytes")


def main() -> None:
    """Draw all images."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scene", type=int, default=3, help="number of the validation image")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder to write to")
    options = parser.parse_args()
    layout = Layout(Path(), "sample")
    item = read_dataset(layout.prepared).split("val")[options.scene]
    model = load(layout.model, precision="fp32")
    image = draw_segmentation(read_image(layout.raw / item.image), model)
    legend = [channel for one in model.classes for channel in one.color]
    save(image, options.out / "sample.png", legend)
    photograph(layout, options.out)


if __name__ == "__main__":
    main()
