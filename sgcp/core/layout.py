"""Where each stage finds its inputs and leaves its outputs, below the project's root.

``dvc.yaml`` names the same paths; ``tests/test_graph.py`` compares the two.
"""

from dataclasses import dataclass, field
from pathlib import Path

from sgcp.core.snapshot import Snapshot


@dataclass(frozen=True)
class Layout:
    """The paths of one dataset."""

    root: Path
    dataset: str
    variant: str = ""
    """Set for what is asked for by hand, such as scores of another split: it goes beside DVC's."""
    beside: str = ""
    """Set for a run beside DVC's: ``seeds/42``, ``bundle``."""
    snapshot: Snapshot = field(default_factory=Snapshot, compare=False)
    """What the command depends on, as it was when the command began."""

    def _run(self, kind: str) -> Path:
        """Return where a run keeps something below ``data``."""
        if not self.beside:
            return self.root / "data" / kind / self.dataset
        purpose, _, name = self.beside.partition("/")
        return self.root / "data" / purpose / self.dataset / name / kind

    def _by_hand(self, folder: Path) -> Path:
        """Return a folder, or the one beside it for what is asked for by hand."""
        if not self.variant:
            return folder
        return folder.with_name(f"{folder.name}-{self.variant.replace('/', '-')}")

    @property
    def metrics(self) -> Path:
        """Small files of a run, for git."""
        return self.root / "metrics" / self.dataset / self.beside

    @property
    def seeds(self) -> Path:
        """Mean and deviation over several seeds."""
        return self.root / "metrics" / self.dataset / "seeds" / "summary.json"

    @property
    def source(self) -> Path:
        """Where the dataset's archives lie on the web."""
        return self.root / "pipeline" / "datasets" / f"{self.dataset}.yaml"

    @property
    def splits(self) -> Path:
        """Published splits, a file of stems each."""
        return self.root / "pipeline" / "splits" / self.dataset

    @property
    def downloads(self) -> Path:
        """Archives on their way; not an output, so DVC never deletes it."""
        return self.root / "data" / "downloads" / self.dataset

    @property
    def raw(self) -> Path:
        """The dataset as published, unpacked."""
        return self.root / "data" / "raw" / self.dataset

    @property
    def origin(self) -> Path:
        """Which archives or folder the raw data came from: this machine's affair, no output."""
        return self.root / "data" / "raw" / f"{self.dataset}.origin.json"

    @property
    def prepared(self) -> Path:
        """Label maps and index."""
        return self.root / "data" / "prepared" / self.dataset

    @property
    def stamps(self) -> Path:
        """When the files of the dataset were last compared: this machine's affair, no output."""
        return self.root / "data" / "prepared" / f"{self.dataset}.stamps.json"

    @property
    def browse(self) -> Path:
        """Contact sheet and page of ``sgcp browse``; nobody's input, so no output of DVC's."""
        return self.root / "data" / "browse" / self.dataset

    @property
    def resume(self) -> Path:
        """Training state of an unfinished run; not an output, so DVC never deletes it."""
        return self._run("resume")

    @property
    def unfinished_curves(self) -> Path:
        """Curves of an unfinished run, beside its state: those of the model are ``curves``."""
        return self.resume / "curves"

    @property
    def model(self) -> Path:
        """``model.safetensors``, ``last.safetensors`` and their descriptions."""
        return self._run("models")

    @property
    def curves(self) -> Path:
        """Curves of the run that made ``model``."""
        return self.metrics / "train"

    @property
    def scores(self) -> Path:
        """Scores of the validation split; beside it its tables."""
        return self.metrics / self.variant / "validate.json"

    @property
    def panels(self) -> Path:
        """Image / truth / prediction images."""
        return self._by_hand(self._run("panels"))

    @property
    def speed(self) -> Path:
        """Times and memory on the machine at hand."""
        return self.metrics / "speed.json"

    @property
    def report(self) -> Path:
        """The page about a run: ``report.html``."""
        return self._run("reports")

    @property
    def predictions(self) -> Path:
        """Predicted label-id images."""
        return self._by_hand(self.root / "data" / "predictions" / self.dataset)

    @property
    def submission(self) -> Path:
        """The zip and its check report."""
        return self.root / "data" / "submissions" / self.dataset
