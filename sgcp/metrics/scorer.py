"""Label a split's images and count what was right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.datasets.ground_truth import GroundTruth, read_ground_truth
from sgcp.inference.segmenter import translation
from sgcp.inference.tta import PLAIN, InferenceOptions
from sgcp.media.images import UInt8, read_image
from sgcp.metrics.confusion import Counts, count_image
from sgcp.metrics.protocol import protocol_of

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Dataset, Item
    from sgcp.inference.segmenter import Segmenter


@dataclass(frozen=True)
class Scored:
    """One image, labelled and counted."""

    image: UInt8
    """(H, W, 3) RGB."""
    truth: GroundTruth
    prediction: UInt8
    """(H, W) train ids of the dataset."""
    counts: Counts


class Scorer:
    """Score a model on images of a prepared dataset. Threads may share one.

    Args:
        input_size: (height, width) at which the network sees an image; None: as it was trained.
        views: how often, and how.

    Raises:
        SgcpError: the model has other classes than the dataset.
    """

    def __init__(
        self,
        layout: Layout,
        dataset: Dataset,
        model: Segmenter,
        input_size: tuple[int, int] | None,
        views: InferenceOptions = PLAIN,
    ) -> None:
        self.layout, self.model = layout, model
        self.input_size, self.views = input_size, views
        self.protocol = protocol_of(dataset)
        self.dataset = dataset.name
        self.to_train_ids = translation(model, dataset.classes)
        self.to_label_ids = np.array([item.label_id for item in dataset.classes], dtype=np.uint8)

    def score(self, item: Item) -> Scored:
        """Label one image and count it.

        Raises:
            SgcpError: a file is missing or damaged, or image and label map do not fit.
        """
        path = self.layout.raw / item.image
        image = read_image(path)
        truth = read_ground_truth(self.layout.prepared, item)
        prediction = self.to_train_ids[self.model.segment(image, self.input_size, self.views)]
        try:
            counts = count_image(truth, self.to_label_ids[prediction], self.protocol)
        except ValueError as error:
            raise SgcpError(f"{path}: {error}; prepare again") from None
        return Scored(image, truth, prediction, counts)
