"""Networks and their files."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sgcp.core.errors import SgcpError
from sgcp.core.plugins import find_function

if TYPE_CHECKING:
    from torch import nn

    from sgcp.models.authors import read_authors_checkpoint
    from sgcp.models.network import SGCPNet

__all__ = ["NETWORKS", "SGCPNet", "build_network", "read_authors_checkpoint", "trust"]

SGCPNET = "sgcpnet"
# Networks that `train.network` names: functions of the number of classes.
NETWORKS = {
    SGCPNET: "sgcp.models.network:SGCPNet",
    "lraspp": "sgcp.models.baselines:LRASPP",
    "linknet": "sgcp.models.baselines:linknet",
}
TRUSTED: set[str] = set()  # functions that `trust` allowed
_HOMES = {"SGCPNet": "network", "read_authors_checkpoint": "authors"}


if not TYPE_CHECKING:  # which would take any name for right

    def __getattr__(name: str) -> Any:
        """Import torch only when the network is used: a model's description is read without it."""
        if name in _HOMES:
            return getattr(import_module(f"sgcp.models.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'sgcp.models' has no attribute '{name}'")


def trust(network: str) -> None:
    """Allow model files to name this function (``package.module:function``) as their network.

    A model file is data that may come from anywhere, and calling what it names would run code. The
    commands trust the networks of the recipes in ``params.yaml``.
    """
    TRUSTED.add(network)


def build_network(name: str, num_classes: int, encoder: str = "sgcp") -> "nn.Module":
    """Build a network with random weights; raise SgcpError if it is unknown or not trusted.

    Args:
        name: a key of ``NETWORKS``, or a trusted ``package.module:function``. The function takes
            the number of classes K and returns a module from a normalised image (B, 3, H, W) to
            scores (B, K, h, w) of any smaller or equal size. A submodule ``encoder`` is trained
            with ``encoder_lr_factor``.
        encoder: of ``sgcpnet``.
    """
    if ":" in name and name not in TRUSTED:
        raise SgcpError(
            f"network: '{name}' is code outside sgcp, which a model file alone cannot run. The "
            "stages run it if a recipe in params.yaml names it as network; in Python, call "
            f"sgcp.models.trust({name!r})"
        )
    build = find_function(name, NETWORKS, "network")
    return build(num_classes, encoder) if name == SGCPNET else build(num_classes)
