"""Read tensors from files that we do not trust, and fit them to a network or refuse them."""

import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sgcp.core.errors import SgcpError, shorten

MAX_BYTES = 2**29  # of a checkpoint; ImageNet heads and optimizers come with some


def read_checkpoint_tensors(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a ``.pth`` or ``.pth.tar`` file, running no code from it.

    Accepts a bare state dict, or one under ``segmenter``, ``state_dict`` or ``model``.

    Raises:
        SgcpError: the file is missing, is no checkpoint, or holds more than tensors.
    """
    content = _read_plain(path)
    for key in ("segmenter", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict):
        raise SgcpError(f"{path}: holds a {type(content).__name__}, not a dictionary of tensors")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise SgcpError(f"{path}: holds no tensors")
    return tensors


def _read_plain(path: Path) -> Any:
    """Unpickle what cannot run code, from a file that cannot fill the memory."""
    if path.is_dir():
        raise SgcpError(f"{path}: is a folder; give the .pth or .pth.tar checkpoint in it")
    if not path.is_file():
        raise SgcpError(f"{path}: no such file; give the path of a .pth or .pth.tar checkpoint")
    if _unpacked_size(path) > MAX_BYTES:
        raise SgcpError(f"{path}: more than {MAX_BYTES:,} bytes; this network has a few megabytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch wonders at old pickles; it reads or refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types on damaged or hostile files
        raise SgcpError(
            f"{path}: cannot be read as a checkpoint of plain tensors: it is damaged or cut short, "
            f"or holds objects that would run code ({type(error).__name__})"
        ) from error


def _unpacked_size(path: Path) -> int:
    """Return how many bytes a checkpoint holds: torch's newer form is a zip, maybe a bomb."""
    size = path.stat().st_size
    if size > MAX_BYTES or not zipfile.is_zipfile(path):
        return size
    try:
        with zipfile.ZipFile(path) as content:
            return sum(info.file_size for info in content.infolist())
    except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, NotImplementedError):
        return size  # torch finds out what is wrong


def load_strictly(model: nn.Module, tensors: dict[str, Tensor], source: Path) -> None:
    """Load every parameter and buffer of ``model``, refusing gaps, other shapes and NaN.

    Raises:
        SgcpError: naming the first few offending tensors: gaps, other shapes or types, values that
            no arithmetic survives.
    """
    wanted = model.state_dict()
    wrong = [f"{key}: missing" for key in wanted if key not in tensors]
    wrong += [f"{key}: unknown" for key in tensors if key not in wanted]
    for key in wanted.keys() & tensors.keys():
        if problem := _misfit(key, tensors[key], wanted[key]):
            wrong.append(f"{key}: {problem}")
    if wrong:
        shown = shorten(text[:120] for text in sorted(wrong))
        raise SgcpError(f"{source}: does not fit the network: {shown}")
    model.load_state_dict(tensors)


def _misfit(key: str, have: Tensor, want: Tensor) -> str:
    """Return why a tensor cannot stand where another is wanted, nothing if it can."""
    if have.shape != want.shape:
        return f"shape {tuple(have.shape)}, expected {tuple(want.shape)}"
    if have.dtype != want.dtype or have.layout != want.layout or have.is_meta:
        return f"of {have.dtype}, {have.layout}, expected {want.dtype}, {want.layout}"
    if not torch.isfinite(have).all():
        return "holds NaN or infinite values"
    if key.endswith("running_var") and (have < 0).any():
        return "a negative variance, of which the root is NaN"
    return ""


def refuse_overflow(network: nn.Module, source: Path) -> None:
    """Score one small image: weights may be finite and their scores not, which label anything.

    Args:
        network: in evaluation mode, (1, 3, 64, 64) to (1, K, 8, 8).

    Raises:
        SgcpError: a score is NaN or infinite.
    """
    ramp = torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64)
    with torch.inference_mode():
        if not torch.isfinite(network(ramp)).all():
            raise SgcpError(f"{source}: its scores are not finite, so the weights are damaged")
