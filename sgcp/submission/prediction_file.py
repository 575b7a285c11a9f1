"""One prediction judged by its bytes: format, mode, size and ids."""

import hashlib
import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, UnidentifiedImageError

from sgcp.core.findings import Finding, Kind
from sgcp.datasets.label_files import TRAIN_IDS, Meaning, ids_coincide, read_meaning
from sgcp.media.images import DAMAGED as IMAGE_DAMAGED
from sgcp.media.images import PNG_HEADER, PNG_SIGNATURE, png_text
from sgcp.submission import rules

MAX_PIXELS = 2**25  # sixteen test images of Cityscapes: larger ones are not unpacked
VOID_ID = 255
SHOWN_IDS = 8
FORMATS = {
    b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF",
    b"RIFF": "WebP", b"\x93NUMPY": "NumPy array", b"PK\3\4": "zip", b"<": "HTML or XML",
}  # fmt: skip
MODES: dict[str, Kind] = {"P": rules.PALETTE} | dict.fromkeys(("1", "I", "I;16"), rules.DEPTH)


@dataclass(frozen=True)
class Judgement:
    """Problems and values of an image."""

    findings: tuple[Finding, ...]
    digest: bytes = b""
    """Of the pixels, or of the file where they cannot be read."""
    pixels: Mapping[int, int] = field(default_factory=dict)
    """Pixels by value; empty where there are no ids to read."""


def judge_image(
    name: str, content: bytes, size: tuple[int, int], train_ids: Mapping[int, int]
) -> Judgement:
    """Judge one file of a submission.

    Args:
        size: (height, width) of the original image.
        train_ids: train id by label id; the keys are the ids allowed.
    """
    digest = hashlib.blake2b(content, digest_size=16).digest()
    if len(content) < PNG_HEADER:
        return Judgement((Finding(rules.DAMAGED, name, f"{len(content)} bytes"),), digest)
    if not content.startswith(PNG_SIGNATURE):
        start = next((text for magic, text in FORMATS.items() if content.startswith(magic)), "")
        detail = f"{start} under the name of a PNG" if start else "no image known here"
        return Judgement((Finding(rules.FORMAT, name, detail),), digest)
    findings = []
    width, height = struct.unpack(">II", content[16:24])  # as declared; nothing is unpacked
    if (height, width) != size:
        detail = f"{height} x {width}, expected {size[0]} x {size[1]}"
        findings.append(Finding(rules.SIZE, name, detail))
    if height * width > MAX_PIXELS:
        return Judgement(tuple(findings), digest)
    try:
        mode, pixels, meaning, digest = _count_values(content)
    except UnidentifiedImageError:  # its own words name an object in memory
        return Judgement((*findings, Finding(rules.DAMAGED, name, "header")), digest)
    except IMAGE_DAMAGED as error:
        return Judgement((*findings, Finding(rules.DAMAGED, name, str(error))), digest)
    if mode != "L":
        findings.append(Finding(MODES.get(mode, rules.COLOUR), name, f"mode {mode}, expected L"))
    findings += _judge_ids(name, pixels, train_ids, meaning)
    return Judgement(tuple(findings), digest, pixels)


def _count_values(content: bytes) -> tuple[str, dict[int, int], Meaning | None, bytes]:
    """Return a PNG's mode, its pixels by value (none for colours), their meaning and digest."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        image.load()
        meaning = read_meaning(png_text(image))
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        counts: dict[int, int] = {}
        if image.mode in ("L", "P"):  # Pillow counts these several times faster than NumPy
            counts = dict(enumerate(image.histogram()))
        elif image.mode in MODES:
            values, numbers = np.unique(np.asarray(image), return_counts=True)
            counts = dict(zip(values.tolist(), numbers.tolist(), strict=True))
        return image.mode, {int(v): count for v, count in counts.items() if count}, meaning, digest


def _judge_ids(
    name: str, pixels: Mapping[int, int], train_ids: Mapping[int, int], meaning: Meaning | None
) -> list[Finding]:
    """Return what is wrong with the values of an image, as far as nothing but values tells."""
    if meaning is not None and meaning.encoding == TRAIN_IDS and not ids_coincide(train_ids):
        return [Finding(rules.TRAIN_IDS, name, "the file says so")]
    foreign = [value for value in pixels if value not in train_ids]
    if not foreign:
        classes = ", ".join(map(str, pixels))
        return [Finding(rules.CONSTANT, name, f"id {classes}")] if len(pixels) == 1 else []
    values = pixels.keys() - {VOID_ID}  # which is void among train ids too
    if values <= set(range(len(train_ids))) and not values <= train_ids.keys():
        return [Finding(rules.TRAIN_IDS, name, f"ids {_brief(foreign)}")]
    findings = []
    if VOID_ID in foreign:
        findings.append(Finding(rules.VOID, name, f"{pixels[VOID_ID]:,} pixels"))
        foreign.remove(VOID_ID)
    if foreign:
        findings.append(Finding(rules.IDS, name, f"ids {_brief(foreign)}"))
    return findings


def _brief(values: list[int]) -> str:
    more = f", ... {len(values)} in all" if len(values) > SHOWN_IDS else ""
    return f"[{', '.join(map(str, values[:SHOWN_IDS]))}{more}]"
