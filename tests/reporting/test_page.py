"""Numbers as pages write them."""

import pytest

from sgcp.reporting.page import file_size, per_cent


@pytest.mark.parametrize(
    ("size", "text"), [(1536, "1.5 KiB"), (2**20 - 1, "1024.0 KiB"), (3 * 2**19, "1.5 MiB")]
)
def test_sizes_are_binary(size, text):
    assert file_size(size) == text


@pytest.mark.parametrize(
    ("share", "number"), [(0.12344, 12.34), (1, 100), (None, None), (float("nan"), None)]
)
def test_per_cent_have_two_decimals(share, number):
    assert per_cent(share) == number
