"""Images and label maps."""

import io
from pathlib import Path

import atheris
import forge
import numpy as np
from harness import fuzz
from PIL import Image

with atheris.instrument_imports(include=["PIL.PngImagePlugin", "PIL.ImageFile", "sgcp.media"]):
    from sgcp.media.images import read_image, read_label, read_size

from sgcp.core.errors import SgcpError


def read(path: Path) -> None:
    for reader, dimensions in ((read_image, 3), (read_label, 2)):
        try:
            array = reader(path)
        except SgcpError:
            continue
        assert array.dtype == np.uint8
        assert array.ndim == dimensions
        assert array.shape[:2] == read_size(path)
    read_size(path)


def save(kind: str, array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)
fuzz(
    read,
    "a.png",
    [save("PNG", GREY), save("PNG", np.stack([GREY] * 3, -1)), save("JPEG", GREY),
     forge.png((4, 3), 2, 3, before=forge.chunk(b"PLTE", bytes(12))), forge.png((4, 3), 16, 6),
     forge.png((4, 3), after=forge.chunk(b"eXIf", forge.exif(6))),
     save("PNG", GREY, save_all=True, append_images=[Image.fromarray(GREY + 1)])],
)  # fmt: skip
