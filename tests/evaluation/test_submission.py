import numpy as np
import pytest
from PIL import Image

from sgcp.evaluation.submission import Expected, check_predictions

NAMES = {7: "road", 8: "sidewalk"}
EXPECTED = [Expected("aachen_000000_000019", (4, 6)), Expected("aachen_000001_000019", (4, 6))]


@pytest.fixture
def folder(tmp_path):
    for item in EXPECTED:
        Image.fromarray(np.full(item.size, 7, np.uint8)).save(tmp_path / f"{item.stem}.png")
    return tmp_path


def problems(folder, published=2):
    return check_predictions(folder, EXPECTED, NAMES, published)[1]


def first(folder):
    return folder / f"{EXPECTED[0].stem}.png"


def test_right_predictions_have_no_problem(folder):
    assert problems(folder) == []


def test_longer_names_of_the_same_image_match(folder):
    first(folder).rename(folder / "aachen_000000_000019_pred_labelIds.png")
    assert problems(folder) == []


def test_missing_and_stray_are_named(folder):
    first(folder).rename(folder / "berlin_000000_000019.png")
    (folder / "notes.txt").write_text("x")
    text = "\n".join(problems(folder))
    assert "aachen_000000_000019: no prediction" in text
    assert "berlin_000000_000019.png: stray" in text
    assert "notes.txt: stray" in text


def test_two_files_of_one_image_are_named(folder):
    (folder / "aachen_000000_000019_b.png").write_bytes(first(folder).read_bytes())
    assert "2 predictions, expected one" in problems(folder)[0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 6), np.uint8), r"ids \[0\] are not evaluated; train ids\?"),
        (np.full((4, 6), 255, np.uint8), r"ids \[255\] are not evaluated"),
        (np.full((6, 4), 7, np.uint8), r"size \(6, 4\), expected \(4, 6\)"),
        (np.full((4, 6, 3), 7, np.uint8), "mode RGB"),
        (np.full((4, 6), 7, np.uint16), "mode I;16"),
    ],
)
def test_wrong_pixels_are_named(folder, array, message):
    Image.fromarray(array).save(first(folder))
    with pytest.raises(AssertionError, match=message):
        assert not problems(folder)


def test_palette_is_refused(folder):
    image = Image.fromarray(np.full((4, 6), 7, np.uint8))
    image.putpalette([1] * 768)
    image.save(first(folder))
    assert "mode P, expected L" in problems(folder)[0]


def test_jpeg_and_truncated_files_are_refused(folder):
    Image.fromarray(np.full((4, 6), 7, np.uint8)).save(first(folder), "JPEG")
    assert any("JPEG under the name" in problem for problem in problems(folder))
    first(folder).write_bytes(b"\x89PNG")
    assert "cannot identify" in problems(folder)[0]


def test_number_of_images_is_the_published_one(folder):
    assert problems(folder, 1525) == ["2 test images are known, the benchmark has 1525"]
