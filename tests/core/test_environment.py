import os
import subprocess
import sys

import pytest
from conftest import ROOT

# A command starts, then torch is imported: its OpenMP prints what it reads from the environment.
CODE = """
from sgcp.cli import app
try:
    app(["train", "--help"])
finally:
    import torch
"""


@pytest.mark.skipif(sys.platform != "linux", reason="torch has GNU's OpenMP on Linux alone")
@pytest.mark.parametrize(
    ("variables", "spins"),
    [({}, 20000), ({"GOMP_SPINCOUNT": "5"}, 5), ({"OMP_WAIT_POLICY": "passive"}, 0)],
)
def test_threads_of_a_command_spin_briefly_unless_the_user_sets_otherwise(variables, spins):
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # an earlier test ran a command
    }
    ended = subprocess.run(
        [sys.executable, "-c", CODE], text=True, capture_output=True, check=True,
        env=environment | variables | {"PYTHONPATH": str(ROOT), "OMP_DISPLAY_ENV": "verbose"},
    )  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{spins}'" in ended.stderr
