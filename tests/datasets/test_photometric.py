"""Random colours: what each setting changes, and that nothing else does."""

import hashlib
import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT
from customs import SIZE, halves, noise, save
from lightning_fabric import Fabric
from torch import Generator

from sgcp.datasets.index import Item
from sgcp.datasets.loader import AGAIN
from sgcp.datasets.photometric import LUMA, Photometric, gray, turn_hue
from sgcp.datasets.transforms import TrainTransform, sample_generator
from sgcp.settings.load import load_params
from sgcp.stages.train import Inputs, make_data

KEYS = {"gamma": 0.4, "channel_gain": 0.28, "hue": 0.1, "color_jitter": 0.3, "grey": 0.5,
        "noise": 8.0}  # fmt: skip
IMAGE = torch.randint(40, 160, (3, 40, 50), dtype=torch.uint8, generator=Generator().manual_seed(1))


def changed(image=IMAGE, seed=0, **settings):
    return Photometric(**settings)(image, sample_generator(seed, 0, 0)).float()


def test_settings_of_zero_change_nothing_and_draw_nothing():
    generator = sample_generator(0, 0, 0)
    before = generator.get_state()
    assert Photometric()(IMAGE, generator) is IMAGE
    assert torch.equal(generator.get_state(), before)


def test_jitter_alone_gives_the_bytes_that_it_gave_before_there_were_others():
    pixels = Photometric(color_jitter=0.4)(IMAGE, sample_generator(42, 3, 7))
    digest = hashlib.sha256(pixels.numpy().tobytes()).hexdigest()
    assert digest[:16] == "df98ad5faa6eb089"


@pytest.mark.parametrize("key", KEYS)
def test_change_is_a_function_of_the_generator_and_bytes_of_the_same_shape(key):
    settings = {key: 1.0 if key == "grey" else KEYS[key]}
    one, again, other = (changed(seed=seed, **settings) for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert one.shape == IMAGE.shape
    assert not torch.equal(one, IMAGE.float())
    assert key == "grey" or not torch.equal(one, other)


def test_label_and_place_of_a_crop_are_those_without_changed_colors():
    label = torch.randint(0, 5, IMAGE.shape[1:], dtype=torch.uint8)
    plain = TrainTransform((32, 32), (0.5, 2.0), 0, 0.5)
    colored = TrainTransform((32, 32), (0.5, 2.0), 0, 0.5, colors=Photometric(**KEYS))
    for seed in range(5):
        image, cut = plain((IMAGE, label), sample_generator(seed, 0, 0))
        other, same = colored((IMAGE, label), sample_generator(seed, 0, 0))
        assert torch.equal(cut, same)
        assert not torch.equal(image, other)


def test_gains_are_one_factor_a_channel_within_their_range():
    gains = []
    for seed in range(200):
        ratio = changed(seed=seed, channel_gain=0.28) / IMAGE
        assert (ratio.amax((1, 2)) - ratio.amin((1, 2))).max() < 1 / 40  # rounding
        gains.append(ratio.mean((1, 2)))
    drawn = torch.stack(gains)
    assert drawn.min() > 1 / 1.29
    assert drawn.max() < 1.29
    assert drawn.min() < 0.8
    assert drawn.max() > 1.25
    assert drawn.log().mean().abs() < 0.02
    assert (drawn[:, 0] - drawn[:, 1]).abs().mean() > 0.1


def test_gamma_keeps_black_white_and_the_order_of_levels():
    levels = torch.arange(256, dtype=torch.uint8).repeat(3, 1, 1)
    for seed in range(20):
        raised = changed(levels, seed, gamma=0.4)
        assert raised[:, 0, 0].eq(0).all()
        assert raised[:, 0, 255].eq(255).all()
        assert (raised.diff() >= 0).all()
    power = torch.log(changed(levels, 3, gamma=0.4)[0, 0, 128] / 255) / torch.log(
        torch.tensor(128 / 255)
    )
    assert 1 / 1.42 < power < 1.42


@pytest.mark.parametrize("turn", [-0.1, 0.1, 0.5])
def test_hue_keeps_brightness_and_grey_and_turns_back(turn):
    pixels = IMAGE.float() * 0.2 + 100  # far from where it is cut off
    turned = turn_hue(pixels, turn)
    assert (turned - pixels).abs().max() > 2
    torch.testing.assert_close(gray(turned), gray(pixels), rtol=0, atol=0.1)
    torch.testing.assert_close(turn_hue(turned, -turn), pixels, rtol=0, atol=1e-3)
    grey = gray(pixels).repeat(3, 1, 1)
    torch.testing.assert_close(turn_hue(grey, turn), grey, rtol=0, atol=0.1)


def test_grey_is_drawn_as_often_as_set():
    crops = [changed(seed=seed, grey=0.25) for seed in range(400)]
    grey = [crop for crop in crops if torch.equal(crop[0], crop[1])]
    assert 70 < len(grey) < 130
    torch.testing.assert_close(grey[0][0], gray(IMAGE.float()), rtol=0, atol=0.6 / sum(LUMA))


def test_noise_has_mean_zero_and_up_to_its_deviation():
    deviations = []
    for seed in range(50):
        added = changed(seed=seed, noise=8.0) - IMAGE
        assert added.mean().abs() < 0.5
        deviations.append(added.std().item())
    assert max(deviations) < 8.3
    assert max(deviations) > 7
    assert min(deviations) < 1


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_noise_begins_after_its_share_of_the_epochs(tmp_path, mix):
    """In each image that comes in an epoch, a second time too, and in what is mixed into it."""
    for name in "ab":
        save(tmp_path / f"{name}.png", noise(ord(name)))
        save(tmp_path / f"{name}-label.png", halves(0, 1))
    items = [
        Item("train", Path(f"{name}.png"), "s", *SIZE, name, Path(f"{name}-label.png"))
        for name in "ab"
    ]
    params = load_params(ROOT / "params.yaml")

    def dataset(**settings):
        recipe = params.camvid.recipes["robust"].model_copy(
            update={"epochs": 8, "batch_size": 2, "crop": (16, 16), "mix": mix, **settings}
        )
        places = SimpleNamespace(raw=tmp_path, prepared=tmp_path)
        inputs = Inputs(
            places, recipe, params.machine, SimpleNamespace(classes="ab"), items, [],
            SimpleNamespace(teacher=None),
        )  # fmt: skip
        return make_data(inputs, Fabric(accelerator="cpu", devices=1)).train.dataset

    clean, late = dataset(noise=0.0, noise_from=0.0), dataset(noise=20.0, noise_from=0.75)
    noisy = replace(clean, transform=late.later[1], later=None)
    clean.later = None
    for time, index in itertools.product((0, AGAIN), (0, 1)):
        assert torch.equal(late[time + 5, index][0], clean[time + 5, index][0])
        assert torch.equal(late[time + 6, index][0], noisy[time + 6, index][0])
        assert not torch.equal(late[time + 6, index][0], clean[time + 6, index][0])


@pytest.mark.integration
def test_resumed_training_sees_the_same_colors_for_any_number_of_workers(prepared):
    prepared.set(machine__checkpoint_seconds=0,
                 **{f"sample__train__{key}": value for key, value in KEYS.items()})  # fmt: skip
    path = prepared.root / "data/models/sample/model.safetensors"
    prepared.ok("train", "sample")
    whole = path.read_bytes()
    prepared.set(machine__loader_workers=1)
    assert prepared.stopped_after(3, "sample").exit_code == 130
    assert "resuming" in prepared.ok("train", "sample")
    assert path.read_bytes() == whole
    prepared.set(sample__train__hue=0.0)
    prepared.ok("train", "sample")
    assert path.read_bytes() != whole
