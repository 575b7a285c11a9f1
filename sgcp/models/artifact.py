"""Our model files: ``NAME.safetensors`` (weights) with ``NAME.json`` (what they mean) beside it."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from sgcp.core.errors import SgcpError
from sgcp.core.files import to_json, write_together
from sgcp.models import build_network
from sgcp.models.card import ModelCard, read_card, weights_path
from sgcp.models.tensors import load_strictly, refuse_overflow


def save_model(network: nn.Module, weights: dict[str, Tensor], card: ModelCard, path: Path) -> None:
    """Write ``path`` (``.safetensors``) and the JSON beside it.

    Args:
        weights: state dict of ``network``, or of an earlier epoch of it.
    """
    if weights.keys() != network.state_dict().keys():
        raise ValueError("the weights are not those of the network")
    content = save_tensors({key: value.contiguous() for key, value in weights.items()})
    description = to_json(card.to_json(content)).encode()
    write_together({path: content, path.with_suffix(".json"): description})


def load_model(path: Path) -> tuple[nn.Module, ModelCard]:
    """Read a model, in evaluation mode.

    Args:
        path: the ``.safetensors`` file, or a folder that holds ``model.safetensors``.

    Raises:
        SgcpError: a file is missing, damaged, or the two do not belong together.
    """
    path = weights_path(path)
    card = read_card(path)
    tensors = _read_tensors(path)
    try:
        network = build_network(card.network, len(card.classes), card.encoder)
    except SgcpError as error:
        raise SgcpError(f"{path.with_suffix('.json')}: {error}") from None
    load_strictly(network, tensors, path)
    refuse_overflow(network.eval(), path)
    return network, card


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_tensors(path.read_bytes())
    # KeyError: a type that torch does not have; RuntimeError: a shape that it cannot make.
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise SgcpError(f"{path}: damaged ({error}); get it again") from None
