"""Other small networks, from maintained libraries, to compare with."""

from __future__ import annotations

import os

from torch import Tensor, nn

from sgcp.core.environment import cache_folder
from sgcp.core.errors import SgcpError
from sgcp.core.extras import require


class LRASPP(nn.Module):
    """LR-ASPP on MobileNetV3-Large (Howard et al., 2019), from torchvision, untrained.

    torchvision's last resizing is left out: its scores are at stride 8, like those of SGCPNet.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        from torchvision.models.segmentation import lraspp_mobilenet_v3_large

        model = lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=num_classes
        )
        self.encoder, self.head = model.backbone, model.classifier

    def forward(self, image: Tensor) -> Tensor:
        """Score a normalised image (B, 3, H, W): (B, K, ceil(H/8), ceil(W/8))."""
        return self.head(self.encoder(image))


def yolo(name: str, num_classes: int) -> nn.Module:
    """Return a network of ultralytics (AGPL-3.0) such as ``yolo26n-sem``, norms folded as by it.

    Its import would look up a server and write into the user's folder of settings.
    """
    os.environ |= {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "YOLO_CONFIG_DIR": str(cache_folder()),
    }
    try:
        from ultralytics.nn.tasks import SemanticSegmentationModel
    except ImportError as error:
        raise SgcpError(f"needs ultralytics ({error}): pip install -U ultralytics") from None
    network = SemanticSegmentationModel(f"{name}.yaml", nc=num_classes, verbose=False)
    return network.eval().fuse(verbose=False)


def linknet(num_classes: int) -> nn.Module:
    """Return LinkNet (Chaurasia and Culurciello, 2017) on MobileNetV3-Small."""
    require("segmentation_models_pytorch", "linknet")
    import segmentation_models_pytorch

    return segmentation_models_pytorch.Linknet(
        "tu-mobilenetv3_small_100", encoder_weights=None, classes=num_classes
    )
