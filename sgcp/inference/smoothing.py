"""Less flicker in videos: an exponential average of the scores of successive frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sgcp.inference.labels import Float32
from sgcp.inference.prediction import Prediction
from sgcp.media.images import UInt8

# Mean absolute difference of two frames, in grey levels, above which there is a cut between them.
# CamVid at 15 frames/s: 9 to 21 between successive frames, 39 to 111 between two sequences.
CUT = 30.0
STEP = 8  # pixels between those that are compared


class Smoother:
    """Average scores over the frames of one video, which must come in their order.

    ``average = share * average + (1 - share) * scores`` at the scores' own size, before labels are
    made. It begins anew after a cut and where the size changes.

    Args:
        share: of the earlier frames, 0 .. 1 exclusively; 0.7 averages about three frames.
    """

    def __init__(self, share: float) -> None:
        self.share = np.float32(share)
        self._seen = np.zeros(0, np.int16)
        self._average: Float32 = np.zeros(0, np.float32)

    def __call__(self, image: UInt8, prediction: Prediction) -> Prediction:
        """Return the prediction for the next frame (H, W, 3) uint8 with averaged scores."""
        seen, scores = image[::STEP, ::STEP].astype(np.int16), prediction.scores
        same = self._seen.shape == seen.shape and self._average.shape == scores.shape
        if same and np.abs(self._seen - seen).mean() <= CUT:
            scores = scores + self.share * (self._average - scores)
        self._seen, self._average = seen, scores
        return replace(prediction, scores=scores)
