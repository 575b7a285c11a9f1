"""Run one reader under atheris: a right value or an SgcpError, nothing else.

Called as ``PYTHONPATH=.:tests python tests/fuzz/harness.py READER -runs=N ...``, with libFuzzer's
options.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["json", "zipfile", "ruamel", "safetensors", "PIL.PngImagePlugin", "PIL.ImageFile",
             "sgcp.core", "sgcp.datasets", "sgcp.media", "sgcp.models.artifact",
             "sgcp.models.authors", "sgcp.settings"],
):  # fmt: skip
    from readers import READERS

from sgcp.core.errors import SgcpError


def fuzz(name: str) -> None:
    """Feed files to a reader until libFuzzer ends; any exception but an SgcpError ends it too."""
    reader = READERS[name]
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(reader.seeds):
            (corpus / str(number)).write_bytes(seed)
        path = Path(folder, reader.name)

        def test_one_input(data: bytes) -> None:
            path.write_bytes(data)
            try:
                reader.read(path)
            except SgcpError as error:
                if not str(error):
                    raise

        # Crashes are written to the working folder otherwise.
        options = [sys.argv[0], *sys.argv[2:], f"-artifact_prefix={folder}/"]
        atheris.Setup([*options, "-print_final_stats=1", str(corpus)], test_one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    fuzz(sys.argv[1])
