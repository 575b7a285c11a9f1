"""Our model files: ``NAME.safetensors`` (weights) with ``NAME.json`` (what they mean) beside it."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.files import to_json, write_together
from sgcp.models import build_network
from sgcp.models.card import ModelCard, read_card, weights_path


def save_model(network: nn.Module, weights: dict[str, Tensor], card: ModelCard, path: Path) -> None:
    """Write ``path`` (``.safetensors``) and the JSON beside it.

    ``weights``: state dict of ``network``, or of an earlier epoch of it.
    """
    if weights.keys() != network.state_dict().keys():
        raise ValueError("the weights are not those of the network")
    content = save({key: value.contiguous() for key, value in weights.items()})
    description = to_json(card.to_json(content)).encode()
    write_together({path: content, path.with_suffix(".json"): description})


def load_model(path: Path) -> tuple[nn.Module, ModelCard]:
    """Read a model, in evaluation mode, by its ``.safetensors`` or ``model.safetensors``'s folder.

    Raises:
        SgcpError: a file is missing, damaged, or the two do not belong together.
    """
    path = weights_path(path)
    card = read_card(path)
    try:
        tensors = load(path.read_bytes())
    # KeyError: a type that torch does not have; RuntimeError: a shape that it cannot make.
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise SgcpError(f"{path}: damaged ({error}); get it again") from None
    try:
        network = build_network(card.network, len(card.classes), card.encoder)
    except SgcpError as error:
        raise SgcpError(f"{path.with_suffix('.json')}: {error}") from None
    load_strictly(network, tensors, path)
    refuse_overflow(network.eval(), path)
    return network, card


def load_strictly(model: nn.Module, tensors: dict[str, Tensor], source: Path) -> None:
    """Load every parameter and buffer of ``model``.

    Refuse tensors that are missing, unknown, of another shape or type, or not finite.
    """
    expected = model.state_dict()
    wrong = [f"{key}: missing" for key in expected if key not in tensors]
    wrong += [f"{key}: unknown" for key in tensors if key not in expected]
    for key in expected.keys() & tensors.keys():
        have, want = tensors[key], expected[key]
        if have.shape != want.shape:
            wrong.append(f"{key}: shape {tuple(have.shape)}, expected {tuple(want.shape)}")
        elif have.dtype != want.dtype or have.layout != want.layout or have.is_meta:
            form = f"{have.dtype}, {have.layout}, expected {want.dtype}, {want.layout}"
            wrong.append(f"{key}: of {form}")
        elif not torch.isfinite(have).all():
            wrong.append(f"{key}: holds NaN or infinite values")
        elif key.endswith("running_var") and (have < 0).any():
            wrong.append(f"{key}: a negative variance, of which the root is NaN")
    if wrong:
        shown = shorten(text[:120] for text in sorted(wrong))
        raise SgcpError(f"{source}: does not fit the network: {shown}")
    model.load_state_dict(tensors)


def refuse_overflow(network: nn.Module, source: Path) -> None:
    """Score one small image: finite weights may give infinite scores, which label anything."""
    ramp = torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64)
    with torch.inference_mode():
        if not torch.isfinite(network(ramp)).all():
            raise SgcpError(f"{source}: its scores are not finite, so the weights are damaged")
