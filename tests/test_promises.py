"""docs/reliability.md: each guarantee names tests that exist."""

import re

from conftest import ROOT

PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")


def test_each_guarantee_names_tests_that_exist():
    rows = [row for row in re.findall(r"^\|.*\|$", PAGE, re.MULTILINE) if "---" not in row]
    rows = [row for row in rows if not row.endswith("| tests |")]
    assert len(rows) > 40
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)`", row)
        assert named, row
        for path in named:
            assert "\ndef test_" in (ROOT / path).read_text(encoding="utf-8"), path
