"""``Segmenter``: a loaded model that turns images into label maps."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.core.extras import require
from sgcp.core.parallel import map_threads
from sgcp.datasets.classes import SemanticClass, classes_from_json, match_names
from sgcp.inference.engines.base import Engine, cores
from sgcp.inference.engines.choice import BUNDLED, open_engine
from sgcp.inference.engines.interface import check_graph
from sgcp.inference.labels import Float32, label_pixels
from sgcp.inference.prediction import Prediction
from sgcp.inference.tta import PLAIN, InferenceOptions, resize_input
from sgcp.media.images import UInt8, convert_photo, read_photo
from sgcp.models import SGCPNET
from sgcp.models.card import ModelCard, read_card, weights_path, whole_cells

if TYPE_CHECKING:
    from sgcp.settings import MachineSettings

Photo = NDArray[np.uint8] | Image.Image | str | Path
"""An image: (H, W, 3) uint8 RGB, a PIL image of any mode, or the path of an image file."""
Size = tuple[int, int]
Result = TypeVar("Result")

EXPORTED = (".onnx", ".xml")
SHOWN = 3  # names of classes in a model's repr


class Segmenter:
    """Label every pixel of an image. Threads may share one.

    ``card`` says what the engine's outputs mean; ``name``, for messages, is a path or bundled name.
    """

    def __init__(self, engine: Engine, card: ModelCard, name: str = "SGCPNet") -> None:
        self.card = card
        self.name = name
        self.classes: tuple[SemanticClass, ...] = classes_from_json(card.classes)
        self.engine = engine
        if card.network != SGCPNET:
            engine.stride = None
        self.slots = threading.BoundedSemaphore(engine.callers)

    def __repr__(self) -> str:
        names = [item.name for item in self.classes]
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        return f"<Segmenter {self.name!r}: {self.engine.way}, {len(names)} classes: {shown}>"

    @property
    def workers(self) -> int:
        """Threads that keep it busy where each also reads and writes the images' files."""
        return max(2, self.engine.callers)

    @overload
    def segment(  # type: ignore[overload-overlap]  # a str is a sequence of str
        self, image: Photo, input_size: Size | None = None, options: InferenceOptions = PLAIN
    ) -> NDArray[np.uint8]: ...

    @overload
    def segment(
        self,
        image: Sequence[Photo],
        input_size: Size | None = None,
        options: InferenceOptions = PLAIN,
    ) -> list[NDArray[np.uint8]]: ...

    def segment(
        self,
        image: Photo | Sequence[Photo],
        input_size: tuple[int, int] | None = None,
        options: InferenceOptions = PLAIN,
    ) -> NDArray[np.uint8] | list[NDArray[np.uint8]]:
        """Label every pixel of one image, or of each of a list, ``workers`` at a time.

        Args:
            image: (H, W, 3) uint8 RGB of any size, a PIL image of any mode, or the path of an
                image file; or a list of them. PIL images and files are labelled as a
                viewer shows them: upright, and on white where they are transparent.
            input_size: (height, width) of the network's input, rounded to multiples of 8; None:
                ``card.input_size``.
            options: test-time augmentation.

        Returns:
            (H, W) uint8 train ids: indices into ``classes``; of a list, a list of them.

        Raises:
            ValueError: an array of another shape or type, or another object.
            SgcpError: the image file is missing or damaged; or test-time augmentation of a model
                that was exported with labels.
        """

        def label(photo: Photo) -> NDArray[np.uint8]:
            pixels, size = self._prepare(photo, input_size)
            if options != PLAIN:
                return label_pixels(options.scores(self._score, pixels), size)
            with self.slots:
                labels = self.engine.label(pixels, size)
            if self.engine.labels and labels.max() >= len(self.classes):
                raise SgcpError(
                    f"{self.name}: its graph gives class {labels.max()}, but the JSON beside it "
                    f"names {len(self.classes)} classes; export it again"
                )
            return labels

        return self._each(label, image)

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is a sequence of str
        self, image: Photo, input_size: Size | None = None, options: InferenceOptions = PLAIN
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        image: Sequence[Photo],
        input_size: Size | None = None,
        options: InferenceOptions = PLAIN,
    ) -> list[Prediction]: ...

    def predict(
        self,
        image: Photo | Sequence[Photo],
        input_size: tuple[int, int] | None = None,
        options: InferenceOptions = PLAIN,
    ) -> Prediction | list[Prediction]:
        """Predict labels with their confidence and probabilities: arguments as of ``segment``.

        With test-time augmentation, probabilities are those of the averaged versions, and the
        card's temperature divides their logarithm.

        Raises:
            ValueError: as ``segment``.
            SgcpError: as ``segment``; or the model was exported with labels.
        """

        def score(photo: Photo) -> Prediction:
            pixels, size = self._prepare(photo, input_size)
            scores = options.scores(self._score, pixels)
            return Prediction(scores, size, self.card.temperature)

        return self._each(score, image)

    def network_size(
        self, size: tuple[int, int], input_size: tuple[int, int] | None = None
    ) -> tuple[int, int]:
        """Return the (height, width) that the network sees of an image of this size.

        ``input_size``: as of ``segment``.
        """
        if self.engine.labels:  # the graph labels the very pixels that it gets, and cuts no cell
            return input_size or size
        if input_size:
            return whole_cells(*input_size)
        return self.engine.fixed or self.card.input_size(*size)

    def _each(
        self, work: Callable[[Photo], Result], image: Photo | Sequence[Photo]
    ) -> Result | list[Result]:
        if isinstance(image, Sequence) and not isinstance(image, str):
            return list(map_threads(work, image, self.workers))
        return work(image)

    def _prepare(
        self, photo: Photo, input_size: tuple[int, int] | None
    ) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """Return the network's input (h, w, 3), and the (height, width) of the image."""
        pixels = as_pixels(photo)
        size = pixels.shape[0], pixels.shape[1]
        return resize_input(pixels, self.network_size(size, input_size)), size

    def _score(self, image: NDArray[np.uint8]) -> Float32:
        with self.slots:
            return self.engine.scores(image)


def as_pixels(image: object) -> NDArray[np.uint8]:
    """Return what ``Segmenter.segment`` is given as (H, W, 3) uint8 RGB."""
    if isinstance(image, str | Path):
        return read_photo(Path(image))
    if isinstance(image, Image.Image):
        return convert_photo(image)
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"image: expected an (H, W, 3) uint8 array, a PIL image, a path, or a list of them, "
            f"got {type(image).__name__}"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(
            f"image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}; convert it, or "
            "give a PIL image or a path, which are converted to RGB"
        )
    return image


def load(
    path_or_name: str | Path,
    device: str = "cpu",
    engine: str = "auto",
    precision: str = "auto",
    callers: int = 1,
    threads: int | None = None,
    input_side: int | None = None,
) -> Segmenter:
    """Load a model by path, or bundled weights by name.

    Args:
        path_or_name: a folder or ``.safetensors`` of ours, or what ``sgcp export`` wrote. A
            bundled name, such as ``camvid``, wins over a file or folder of that name; write
            ``./camvid`` for that.
        device: cpu or cuda.
        engine: torch, openvino, onnxruntime, or auto (the first that is installed of openvino,
            onnxruntime and torch; where the precision is auto too, the fastest).
        precision: fp32, bf16, fp16 (GPU), int8 (an export, or a model with such an export beside
            it), or auto. On a CPU, auto runs each of them once per size class of images, to find
            the fastest (``sgcp.inference.engines.measured``).
        callers: how many threads will call it at the same time.
        threads: processors to use; None: all that this process may use.
        input_side: short side of the network's input, pixels, of an image of any size; None: the
            card's. Fewer pixels are faster and coarser.

    Raises:
        SgcpError: there is no such model, its files are damaged, ``input_side`` is impossible, or
            engine or precision are not available on this machine.
    """
    path = find_model(path_or_name)
    made_by = "sgcp export" if path.suffix in EXPORTED else "sgcp train"
    card = read_card(path, made_by)
    if input_side is not None:
        try:
            card = replace(card, input_side=input_side)
        except ValueError:
            raise SgcpError(
                f"input_side: expected 1 to 16384 pixels, or None, got {input_side!r}"
            ) from None
    if path.suffix in EXPORTED:
        check_graph(path, len(card.classes))
    int8 = (card.provenance.get("export") or {}).get("int8") is not None
    if path.suffix in EXPORTED and precision == "int8" and not int8:
        raise SgcpError(f"precision: {path} is no int8 export; make one by `sgcp export --int8`")
    if int8 and precision in ("auto", "fp32"):
        precision = "int8"
    try:
        opened = open_engine(path, device, engine, precision, callers, threads)
        return Segmenter(opened, card, str(path_or_name))
    except ValueError as error:
        raise SgcpError(f"{path}: damaged model description: {error}") from None


def find_model(path_or_name: str | Path) -> Path:
    """Return the file that a path or a bundled name means; raise SgcpError if there is none."""
    path = Path(path_or_name)
    if path.suffix == ".pt2":
        raise SgcpError(
            f"{path}: torch.export.load opens it, which can run code from the file; sgcp does not"
        )
    if path.suffix in EXPORTED:
        if not path.is_file():
            raise SgcpError(f"{path}: no such file; give another path, or `sgcp export` a model")
        return path
    is_name = path.name == str(path_or_name) and not path.suffix
    if isinstance(path_or_name, Path) and path.exists():
        is_name = False  # Path("./camvid") keeps no separator
    bundled = {file.stem: file for file in sorted(BUNDLED.glob("*.safetensors"))}
    if is_name and path.name in bundled:
        return bundled[path.name]
    if is_name and not path.exists():
        raise SgcpError(
            f"no model '{path_or_name}': neither a path nor bundled weights "
            f"({', '.join(bundled) or 'none are bundled yet'})"
        )
    if not (path / "model.safetensors").is_file():
        exports = (path / f"model{suffix}" for suffix in (".xml", ".onnx"))
        path = next(filter(Path.is_file, exports), path)
    return path if path.suffix in EXPORTED else weights_path(path)


def load_segmenter(model: Path, machine: MachineSettings, precision: str) -> Segmenter:
    """Load a model onto the machine's device, to be called by a thread a core.

    An exported model runs on the processor, unless the settings demand a GPU.
    """
    exported = model.suffix in EXPORTED and machine.accelerator == "auto"
    device = "cpu" if exported else choose_device(machine.accelerator)
    return load(model, device, machine.engine, precision, callers=cores())


def choose_device(accelerator: str) -> str:
    """Return cuda where there is a GPU and it is not forbidden, else cpu."""
    if accelerator not in ("auto", "cpu", "cuda"):
        raise SgcpError(f"device: 'auto', 'cpu' or 'cuda', got '{accelerator}'")
    # Without a driver there is no GPU, which torch takes 1.5 seconds to import to say.
    driver = any(Path("/dev").glob("nvidia*")) or not sys.platform.startswith("linux")
    if accelerator == "cuda":
        require("torch", "accelerator: 'cuda'")
    if accelerator == "cpu" or (accelerator == "auto" and not (driver and find_spec("torch"))):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if accelerator == "cuda":
        raise SgcpError("accelerator: 'cuda', but torch finds no GPU; set auto or cpu")
    return "cpu"


def translation(model: Segmenter, classes: tuple[SemanticClass, ...]) -> UInt8:
    """Return a table (K,) from the model's train ids to the dataset's, matched by name.

    Two orders of the same CamVid classes are in use, so that indices are not enough.
    """
    names = [item.name for item in model.classes]
    try:
        return np.array(match_names(names, classes), dtype=np.uint8)
    except ValueError as error:
        raise SgcpError(
            f"the model scores {len(names)} classes, the dataset has {len(classes)}; {error}; "
            "train or import a model for this dataset, or join classes by --map (docs/scoring.md)"
        ) from None
