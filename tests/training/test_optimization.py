import pytest
from conftest import ROOT

from sgcp.models import SGCPNet
from sgcp.settings.load import load_params
from sgcp.training.optimization import make_optimizer, make_schedule, rate_factor


@pytest.fixture(scope="module")
def settings():
    return load_params(ROOT / "params.yaml").cityscapes.recipes["paper"]


def test_cityscapes_recipe_is_the_authors(settings):
    recipe = (settings.optimizer, settings.lr, settings.momentum, settings.weight_decay)
    assert recipe == ("sgd", 0.3, 0.9, 1e-5)
    assert (settings.schedule, settings.poly_power, settings.warmup) == ("poly", 0.9, 0.0)
    assert (settings.batch_size, settings.epochs, settings.seed) == (36, 350, 42)
    assert (settings.scale, settings.min_short_side, settings.crop) == ((0.5, 2), 350, (1024, 1024))


def test_poly_schedule_decays_every_step(settings):
    factors = [rate_factor(step, 10, settings) for step in range(10)]
    assert factors == pytest.approx([(1 - step / 10) ** 0.9 for step in range(10)])


def test_one_cycle_rises_to_the_peak_then_falls(settings):
    one_cycle = settings.model_copy(update={"schedule": "one-cycle", "warmup": 0.3})
    factors = [rate_factor(step, 100, one_cycle) for step in range(100)]
    assert max(factors) == factors[30] == 1
    assert factors[:31] == sorted(factors[:31])
    assert factors[30:] == sorted(factors[30:], reverse=True)
    assert factors[-1] < 0.01


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_encoder_and_decoder_have_their_own_rates_and_nothing_is_left_out(settings, name):
    network = SGCPNet(3)
    changed = settings.model_copy(update={"optimizer": name, "encoder_lr_factor": 0.5})
    optimizer = make_optimizer(network, network.encoder, changed)
    schedule = make_schedule(optimizer, 10, changed)
    assert schedule.get_last_lr() == pytest.approx([0.15, 0.3])
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())
