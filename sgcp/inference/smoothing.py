"""Less flicker in videos: an exponential average of the scores of successive frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sgcp.inference.prediction import Prediction
from sgcp.inference.tta import Float32
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
        self._before: UInt8 | None = None
        self._average: Float32 = np.zeros(0, np.float32)

    def __call__(self, image: UInt8, prediction: Prediction) -> Prediction:
        """Return the prediction for the next frame (H, W, 3) uint8 with averaged scores."""
        seen, scores = image[::STEP, ::STEP], prediction.scores
        if self._average.shape == scores.shape and not _is_cut(self._before, seen):
            scores = scores + self.share * (self._average - scores)
        self._before, self._average = seen.copy(), scores
        return replace(prediction, scores=scores)


def _is_cut(before: UInt8 | None, after: UInt8) -> bool:
    if before is None or before.shape != after.shape:
        return True
    return float(np.abs(before.astype(np.int16) - after).mean()) > CUT
