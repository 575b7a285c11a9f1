"""The digest of a recipe, by which scores and bundled weights know each other."""

from conftest import ROOT

from sgcp.core.files import json_digest
from sgcp.models.card import ADDED, recipe_digest
from sgcp.settings.load import load_params


def test_keys_that_change_nothing_leave_the_digest_as_it_was():
    settings = load_params(ROOT / "params.yaml").camvid.recipes["strong"].model_dump(mode="json")
    before = {key: value for key, value in settings.items() if key not in ADDED}
    assert len(before) == len(settings) - len(ADDED)
    assert recipe_digest(settings) == recipe_digest(before) == json_digest(before)
    for key, value in {"weights": {"a": 2.0}, "max_minutes": 5.0, "patience": 3}.items():
        assert recipe_digest(settings | {key: value}) != recipe_digest(settings)
    assert recipe_digest(None) == json_digest(None)
