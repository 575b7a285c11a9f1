"""Segment a split's images and score them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.core.layout import Layout
from sgcp.datasets.class_maps import share_classes
from sgcp.datasets.ground_truth import GroundTruth, read_ground_truth
from sgcp.datasets.index import Dataset, Item
from sgcp.inference.labels import Float32
from sgcp.inference.segmenter import Segmenter, translation
from sgcp.inference.tta import PLAIN, InferenceOptions
from sgcp.media.images import UInt8, read_image
from sgcp.metrics.confusion import Counts, count_image
from sgcp.metrics.protocol import protocol_of


@dataclass(frozen=True)
class ScoredImage:
    """One image, segmented and counted."""

    truth: GroundTruth
    prediction: UInt8
    """(H, W) train ids of the dataset."""
    counts: Counts
    scores: Float32 | None
    """(K, h, w) at stride 8, in the order of the dataset's train ids; None: the model gives labels.
    """


class Scorer:
    """Score a model on images of a prepared dataset. Threads may share one.

    Args:
        input_size: (height, width) of the network's input; None: as it was trained.
        options: test-time augmentation.
        names: a class map, for a model of other classes than the dataset.

    Raises:
        SgcpError: the model has other classes than the dataset.
    """

    def __init__(
        self,
        layout: Layout,
        dataset: Dataset,
        model: Segmenter,
        input_size: tuple[int, int] | None,
        options: InferenceOptions = PLAIN,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.layout, self.model = layout, model
        self.input_size, self.options = input_size, options
        self.truth_ids: UInt8 | None = None
        if names is None:
            self.to_train_ids = translation(model, dataset.classes)
        else:
            dataset, self.truth_ids, self.to_train_ids = share_classes(
                dataset, model.classes, names
            )
        self.dataset = dataset
        self.protocol = protocol_of(dataset)
        self.label_ids = self.protocol.label_id_of_train_id

    def score(self, item: Item) -> ScoredImage:
        """Segment one image and count it."""
        path = self.layout.raw / item.image
        image = read_image(path)
        truth = self.read_truth(item)
        if self.model.engine.labels or self.truth_ids is not None:  # scores are of other classes
            labels, scores = self.model.segment(image, self.input_size, self.options), None
        else:
            found = self.model.predict(image, self.input_size, self.options)
            labels, scores = found.labels, found.scores[np.argsort(self.to_train_ids)]
        prediction = self.to_train_ids[labels]
        try:
            counts = count_image(truth, prediction, self.protocol, self.label_ids)
        except ValueError as error:
            raise SgcpError(f"{path}: {error}; prepare again") from None
        return ScoredImage(truth, prediction, counts, scores)

    def read_truth(self, item: Item) -> GroundTruth:
        """Read the ground truth of an image, in the classes that are scored."""
        truth = read_ground_truth(self.layout.prepared, item)
        if self.truth_ids is None:
            return truth
        return replace(truth, train_ids=self.truth_ids[truth.train_ids])

    def count(self, truth: GroundTruth, image: UInt8) -> Counts:
        """Segment an image (H, W, 3) that differs from the file, and count it."""
        labels = self.model.segment(image, self.input_size, self.options)
        return count_image(truth, self.to_train_ids[labels], self.protocol, self.label_ids)
