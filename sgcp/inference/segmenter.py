"""``Segmenter``: a loaded model that turns pictures into label maps."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sgcp.datasets.classes import SemanticClass, classes_from_json
from sgcp.errors import SgcpError
from sgcp.inference.predict import Predictor
from sgcp.models.artifact import ModelCard, load_model
from sgcp.models.network import Normalize, SGCPNet

BUNDLED = Path(__file__).parent.parent / "weights"


class Segmenter:
    """Label every pixel of a picture.

    Args:
        network: in evaluation mode.
        card: what its outputs mean.
        device: where to run, as torch names it.
    """

    def __init__(self, network: SGCPNet, card: ModelCard, device: str = "cpu") -> None:
        self.card = card
        self.classes: tuple[SemanticClass, ...] = classes_from_json(card.classes)
        normalize = Normalize(card.mean, card.std)
        self.device = torch.device(device)
        network = network.to(memory_format=torch.channels_last)
        self.predictor = Predictor(network, normalize).to(self.device).eval()

    def segment(
        self, image: NDArray[np.uint8], input_size: tuple[int, int] | None = None
    ) -> NDArray[np.uint8]:
        """Label every pixel of one picture.

        Args:
            image: (H, W, 3) uint8 RGB, any size.
            input_size: (height, width) at which the network sees it; None: as it is.

        Returns:
            (H, W) uint8 train ids: indices into ``classes``.

        Raises:
            ValueError: another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(
                f"image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}; "
                "convert greyscale or RGBA pictures to RGB first"
            )
        x = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]  # (1, 3, H, W)
        labels: NDArray[np.uint8] = self.predictor(x.to(self.device), input_size)[0].cpu().numpy()
        return labels


def load(path_or_name: str | Path, device: str = "cpu") -> Segmenter:
    """Load a model by path (folder or ``.safetensors``), or bundled weights by name.

    Raises:
        SgcpError: there is no such model, or its files are damaged.
    """
    path = Path(path_or_name)
    bundled = BUNDLED / f"{path_or_name}.safetensors"
    if not path.exists() and path.name == str(path_or_name) and not path.suffix:
        if not bundled.is_file():
            names = sorted(file.stem for file in BUNDLED.glob("*.safetensors"))
            raise SgcpError(
                f"no model '{path_or_name}': neither a path nor bundled weights "
                f"({', '.join(names) or 'none are bundled yet'})"
            )
        path = bundled
    network, card = load_model(path)
    try:
        return Segmenter(network, card, device)
    except ValueError as error:
        raise SgcpError(f"{path}: damaged model description: {error}") from None
