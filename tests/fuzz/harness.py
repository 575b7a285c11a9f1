"""Run one reader under atheris: a right value or an SgcpError, nothing else.

Called as ``PYTHONPATH=.:tests python tests/fuzz/fuzz_READER.py -runs=N ...``, with libFuzzer's
options.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import atheris


def fuzz(read: Callable[[Path], object], name: str, seeds: Sequence[bytes]) -> None:
    """Feed files to ``read`` until libFuzzer has had enough; any other exception ends it.

    Args:
        read: checks its own result with ``assert``.
        name: of the file that each input is written to.
        seeds: valid files to start from.
    """
    from sgcp.core.errors import SgcpError

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(seeds):
            (corpus / str(number)).write_bytes(seed)
        path = Path(folder, name)

        def test_one_input(data: bytes) -> None:
            path.write_bytes(data)
            try:
                read(path)
            except SgcpError as error:
                if not str(error):
                    raise

        # Findings land in the working folder unless told otherwise.
        options = [*sys.argv, f"-artifact_prefix={folder}/", "-print_final_stats=1", str(corpus)]
        atheris.Setup(options, test_one_input)
        atheris.Fuzz()
