"""Corrupted images: what each corruption does, and the means over them."""

import json

import numpy as np
import pytest

from sgcp.metrics import corruptions
from sgcp.metrics.corruptions import (
    CORRUPTIONS,
    DAYLIGHT,
    XYZ_TO_RGB,
    add_fog,
    add_noise,
    apply_gamma,
    blur,
    light_by,
    light_color,
    lose_detail,
    mean_miou,
    multiply_levels,
    remove_color,
    scale_contrast,
)

IMAGE = np.random.default_rng(0).integers(60, 140, (24, 33, 3), dtype=np.uint8)
WAYS = [(name, strength) for name, (_, values) in CORRUPTIONS.items() for strength in values]


@pytest.mark.parametrize(("name", "strength"), WAYS)
def test_corruption_gives_the_same_other_image_of_the_same_size(name, strength):
    change, values = CORRUPTIONS[name]
    before = IMAGE.copy()
    one, again = (change(IMAGE, values[strength]) for _ in range(2))
    assert (one.dtype, one.shape) == (np.uint8, IMAGE.shape)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, IMAGE)
    assert np.array_equal(IMAGE, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_strengths_of_a_corruption_differ(name):
    change, values = CORRUPTIONS[name]
    assert len({change(IMAGE, value).tobytes() for value in values.values()}) == len(values) <= 3


def test_levels_are_those_of_the_formulas():
    def levels(image):
        return image[0, 0].tolist()

    one = np.full((2, 2, 3), (100, 200, 50), dtype=np.uint8)
    assert levels(multiply_levels(one, (0.8, 1.25, 1.5))) == [80, 250, 75]
    assert levels(apply_gamma(one, 2.0)) == [39, 157, 10]
    assert levels(multiply_levels(one, 2.0)) == [200, 255, 100]
    assert levels(add_fog(one, 0.5)) == [150, 200, 125]
    assert levels(remove_color(one, None)) == [153, 153, 153]  # 0.299 R + 0.587 G + 0.114 B
    assert levels(scale_contrast(one, 0.5)) == [126, 176, 101]  # towards 153


def test_light_has_the_published_chromaticity_of_black_bodies():
    for kelvin, x, y in ((3000, 0.4369, 0.4041), (4500, 0.3608, 0.3636), (9000, 0.2870, 0.2957)):
        whole = np.linalg.solve(XYZ_TO_RGB, light_color(kelvin))
        assert whole[:2] / whole.sum() == pytest.approx((x, y), abs=1e-3)
        assert whole[1] == pytest.approx(1)


def test_warm_light_is_red_cold_light_is_blue_and_daylight_changes_nothing():
    assert np.array_equal(light_by(IMAGE, DAYLIGHT), IMAGE)
    change = {kelvin: (light_by(IMAGE, kelvin) - IMAGE.astype(float)).mean((0, 1))
              for kelvin in (3000, 9000)}  # fmt: skip
    assert change[3000][0] > 10 > -10 > change[3000][2]
    assert change[9000][0] < -3 < 3 < change[9000][2]


def test_noise_has_its_deviation_and_mean_zero():
    gray = np.full((100, 100, 3), 128, dtype=np.uint8)
    noise = add_noise(gray, 10).astype(float) - 128
    assert noise.std() == pytest.approx(10, rel=0.03)
    assert abs(noise.mean()) < 0.3


@pytest.mark.parametrize("change", [blur, lose_detail])
def test_lost_detail_keeps_even_parts(change):
    even = np.full((20, 30, 3), 77, dtype=np.uint8)
    assert np.array_equal(change(even, 2), even)
    assert change(IMAGE, 2).std() < 0.7 * IMAGE.std()


def test_mean_weighs_corruptions_not_strengths():
    assert mean_miou({"a": {"1": 0.2, "2": 0.4}, "b": {"1": 0.9}}) == pytest.approx(0.6)


def test_scores_go_beside_the_tracked_ones_and_an_unchanged_image_scores_the_same(
    trained, monkeypatch
):
    table = {"same": (lambda image, _: image, {"a": 1}),
             "black": (lambda image, _: 0 * image, {"b": 1})}  # fmt: skip
    monkeypatch.setattr(corruptions, "CORRUPTIONS", table)
    trained.ok("validate", "sample")
    tracked = trained.root / "metrics/sample/validate.json"
    before = tracked.read_bytes()
    text = trained.ok("validate", "sample", "--corruptions")
    assert tracked.read_bytes() == before
    scores = json.loads((trained.root / "metrics/sample/corruptions/validate.json").read_text())
    found = scores.pop("corruptions")
    assert scores == json.loads(before)
    assert found["by_strength"]["same"] == {"a": scores["miou"]}
    assert found["by_strength"]["black"]["b"] < scores["miou"]
    assert f"unchanged images: {100 * scores['miou']:.2f}" in text


def test_predictions_cannot_be_corrupted(trained):
    text = trained.fails("validate", "sample", "--predictions", "data", "--corruptions")
    assert "--corruptions, --map, --flip, --scale, --window: apply to a model" in text
