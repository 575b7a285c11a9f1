"""docs/reliability.md promises nothing without a test of the name it gives."""

import re

from conftest import ROOT


def test_every_test_that_the_page_names_exists():
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)", page))
    assert len(named) > 40
    for path, name in sorted(named):
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE), (path, name)
