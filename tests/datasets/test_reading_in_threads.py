"""Images are read by several threads at a time."""

import warnings

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sgcp.core.errors import SgcpError
from sgcp.core.parallel import map_threads
from sgcp.media.images import read_image


def test_reading_in_threads_leaves_the_warning_filters_alone(tmp_path):
    files = [tmp_path / f"{index}.png" for index in range(40)]
    for file in files:
        Image.fromarray(np.full((200, 200, 3), 7, np.uint8)).save(file)
    before = list(warnings.filters)
    list(map_threads(read_image, files * 5, 4))
    assert list(warnings.filters) == before


def test_a_turn_told_behind_the_pixels_in_xmp_is_refused(tmp_path):
    told = PngInfo()
    told.add_itxt(
        "XML:com.adobe.xmp",
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
        '22-rdf-syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>',
    )
    path = tmp_path / "turned.png"
    Image.fromarray(np.zeros((9, 5, 3), np.uint8)).save(path, pnginfo=told)
    content = path.read_bytes()
    start = content.index(b"iTXt") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    chunk, rest = content[start:end], content[:start] + content[end:]
    path.write_bytes(rest[:-12] + chunk + rest[-12:])  # before IEND, behind IDAT
    with pytest.raises(SgcpError, match="turned or mirrored"):
        read_image(path)
