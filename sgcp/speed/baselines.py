"""Two small networks that a user would take instead, from maintained libraries, untrained."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from sgcp.core.errors import SgcpError


class ScoresOnly(nn.Module):
    """torchvision's LR-ASPP less its last resizing: scores at stride 8, like ours."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        from torchvision.models.segmentation import lraspp_mobilenet_v3_large

        model = lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=num_classes
        )
        self.backbone, self.head = model.backbone, model.classifier

    def forward(self, image: Tensor) -> Tensor:
        """Score (B, 3, H, W): (B, K, H/8, W/8)."""
        scores: Tensor = self.head(self.backbone(image))
        return scores


def lraspp(num_classes: int) -> nn.Module:
    """Return LR-ASPP on MobileNetV3-Large (Howard et al., 2019), from torchvision."""
    return ScoresOnly(num_classes)


def linknet(num_classes: int) -> nn.Module:
    """Return LinkNet (Chaurasia and Culurciello, 2017) on MobileNetV3-Small: full-size scores.

    Raises:
        SgcpError: segmentation-models-pytorch is not installed.
    """
    try:
        import segmentation_models_pytorch
    except ImportError:
        raise SgcpError(
            "needs segmentation-models-pytorch: pip install 'sgcp[benchmark]'"
        ) from None
    network: nn.Module = segmentation_models_pytorch.Linknet(
        "tu-mobilenetv3_small_100", encoder_weights=None, classes=num_classes
    )
    return network


PEERS: dict[str, Callable[[int], nn.Module]] = {"lraspp": lraspp, "linknet": linknet}
