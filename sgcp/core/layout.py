"""Paths of a dataset's inputs and outputs below the project's root.

``dvc.yaml`` names the same paths; ``tests/test_graph.py`` compares the two.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from sgcp.core.snapshot import Snapshot

# Every dataset. `sgcp/datasets/NAME.py` defines it, `pipeline/datasets/NAME.yaml` describes it.
DatasetName = Literal["sample", "camvid", "cityscapes", "custom"]
CORRUPTED = "corruptions"  # the variant of scores on corrupted images
DATASET_NAMES: tuple[str, ...] = get_args(DatasetName)


def shipped() -> Path:
    """Return the folder of the files that the package carries for a new project."""
    package = Path(__file__).parents[1]
    inside = package / "project"
    return inside if inside.is_dir() else package.parent


@dataclass(frozen=True)
class Layout:
    """The paths of one dataset."""

    root: Path
    dataset: str
    variant: str = ""
    """Suffix for results of command-line options, written beside DVC's outputs."""
    beside: str = ""
    """Folder of a run beside DVC's: ``seeds/42``, ``bundle``."""
    snapshot: Snapshot = field(default_factory=Snapshot, compare=False)
    """What the command depends on, as it was when the command began."""

    def named(self, name: str) -> Path:
        """Return the path that a setting of ``params.yaml`` means: it is relative to the root."""
        return Path(name) if name.startswith("~") else self.root / name

    def _data(self, kind: str) -> Path:
        return self.root / "data" / kind / self.dataset

    def _run(self, kind: str) -> Path:
        if not self.beside:
            return self._data(kind)
        purpose, _, name = self.beside.partition("/")
        return self._data(purpose) / name / kind

    def _with_variant(self, folder: Path) -> Path:
        suffix = f"-{self.variant.replace('/', '-')}" if self.variant else ""
        return folder.with_name(folder.name + suffix)

    @property
    def source(self) -> Path:
        """Addresses of the dataset's archives."""
        return self.root / "pipeline" / "datasets" / f"{self.dataset}.yaml"

    @property
    def splits(self) -> Path:
        """Published splits, a file of stems each."""
        return self.root / "pipeline" / "splits" / self.dataset

    @property
    def downloads(self) -> Path:
        """Archives being downloaded; not an output, so DVC never deletes it."""
        return self._data("downloads")

    @property
    def raw(self) -> Path:
        """The dataset as published, unpacked."""
        return self._data("raw")

    @property
    def origin(self) -> Path:
        """Archives or folder that the raw data came from; valid on this machine only."""
        return self._data("raw").with_name(f"{self.dataset}.origin.json")

    @property
    def prepared(self) -> Path:
        """Label maps and index."""
        return self._data("prepared")

    @property
    def stamps(self) -> Path:
        """Modification times of compared files; valid on this machine only."""
        return self._data("prepared").with_name(f"{self.dataset}.stamps.json")

    @property
    def browse(self) -> Path:
        """Contact sheet and page of ``sgcp browse``."""
        return self._data("browse")

    @property
    def resume(self) -> Path:
        """Training state of an unfinished run; not an output, so DVC never deletes it."""
        return self._run("resume")

    @property
    def unfinished_curves(self) -> Path:
        """Curves of an unfinished run."""
        return self.resume / "curves"

    @property
    def model(self) -> Path:
        """``model.safetensors``, ``last.safetensors`` and their descriptions."""
        return self._run("models")

    @property
    def metrics(self) -> Path:
        """Small files of a run, for git."""
        return self.root / "metrics" / self.dataset / self.beside

    @property
    def curves(self) -> Path:
        """Curves of the run that made ``model``."""
        return self.metrics / "train"

    @property
    def seeds(self) -> Path:
        """Mean and standard deviation over several seeds."""
        return self.root / "metrics" / self.dataset / "seeds" / "summary.json"

    @property
    def scores(self) -> Path:
        """Scores of the validation split; its tables are in the same folder."""
        return self.metrics / self.variant / "validate.json"

    @property
    def corrupted(self) -> Path:
        """Scores of the model of the stage on corrupted images."""
        return self.metrics / CORRUPTED / "validate.json"

    @property
    def panels(self) -> Path:
        """Images beside ground truth and prediction."""
        return self._with_variant(self._run("panels"))

    @property
    def speed(self) -> Path:
        """Times and memory on this machine."""
        return self.metrics / "speed.json"

    @property
    def report(self) -> Path:
        """The page about a run: ``report.html``."""
        return self._run("reports")

    @property
    def predictions(self) -> Path:
        """Predicted label-id images."""
        return self._with_variant(self._data("predictions"))

    @property
    def submission(self) -> Path:
        """The zip and its check report."""
        return self._data("submissions")
