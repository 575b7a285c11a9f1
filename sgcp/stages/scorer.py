"""Label a split's pictures and count what was right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgcp.datasets.images import UInt8, read_image
from sgcp.datasets.truth import Truth, read_truth
from sgcp.errors import SgcpError
from sgcp.evaluation.benchmark import benchmark_of
from sgcp.evaluation.counts import Counts, count_picture
from sgcp.inference.views import PLAIN, Views
from sgcp.stages.model import translation

if TYPE_CHECKING:
    from sgcp.datasets.index import Dataset, Item
    from sgcp.inference.segmenter import Segmenter
    from sgcp.stages.layout import Layout


@dataclass(frozen=True)
class Scored:
    """One picture, labelled and counted."""

    image: UInt8
    """(H, W, 3) RGB."""
    truth: Truth
    prediction: UInt8
    """(H, W) train ids of the dataset."""
    counts: Counts


class Scorer:
    """Score a model on pictures of a prepared dataset. Threads may share one.

    Args:
        input_size: (height, width) at which the network sees a picture; None: as it was trained.
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
        views: Views = PLAIN,
    ) -> None:
        self.layout, self.model = layout, model
        self.input_size, self.views = input_size, views
        self.benchmark = benchmark_of(dataset)
        self.to_train_ids = translation(model, dataset.classes)
        self.to_label_ids = np.array([item.label_id for item in dataset.classes], dtype=np.uint8)

    def score(self, item: Item) -> Scored:
        """Label one picture and count it.

        Raises:
            SgcpError: a file is missing or damaged, or picture and label map do not fit.
        """
        path = self.layout.raw / item.image
        image = read_image(path)
        truth = read_truth(self.layout.prepared, item)
        prediction = self.to_train_ids[self.model.segment(image, self.input_size, self.views)]
        try:
            counts = count_picture(truth, self.to_label_ids[prediction], self.benchmark)
        except ValueError as error:
            raise SgcpError(f"{path}: {error}; prepare again") from None
        return Scored(image, truth, prediction, counts)
