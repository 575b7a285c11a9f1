"""Each reader under coverage-guided fuzzing, for some seconds."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

READERS = (
    "archive", "colors", "description", "image", "index", "model", "params", "polygons",
)  # fmt: skip
SECONDS = int(os.environ.get("SGCP_FUZZ_SECONDS", "20"))


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed: extra 'fuzz'"
)
@pytest.mark.parametrize("reader", READERS)
def test_reader_survives_fuzzing(reader, tmp_path, record_property):
    command = [
        sys.executable, str(Path(__file__).with_name("harness.py")), reader,
        f"-max_total_time={SECONDS}", "-runs=2000000", "-timeout=20", "-rss_limit_mb=3000",
        "-max_len=16384", "-seed=1",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True, text=True, errors="replace", check=False, timeout=SECONDS + 300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    executed = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert executed is not None, done.stderr[-3000:]
    record_property("executions", int(executed[1]))
    print(f"{reader}: {executed[1]} executions in {SECONDS} s")
    assert int(executed[1]) > 100
