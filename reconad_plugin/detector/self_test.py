"""A picture that travels with a detector and its score: whether it still scores as when it was
trained, wherever it is loaded."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.errors import ModelFormatError

TOLERANCE: Final = 0.01  # of the score, or of the threshold where that is larger
MOST_PIXELS: Final = 2**20  # of the picture; a larger one would be most of the files


@dataclass(frozen=True)
class SelfTest:
    """A normal image that was held out, and what it scored."""

    image: NDArray[np.uint8]  # (3, S, S)
    pred_score: float

    def check(self, pred_score: float, image_threshold: float) -> None:
        """Compare the image's score of now with that of its training.

        Raises:
            ModelFormatError: they differ by more than processors do.
        """
        allowed = TOLERANCE * max(abs(self.pred_score), abs(image_threshold))
        if not abs(pred_score - self.pred_score) <= allowed:
            raise ModelFormatError(
                f"a detector must score its self-test image as when it was trained or exported, "
                f"{self.pred_score:.6g} within {allowed:.2g}; here it scores {pred_score:.6g}: "
                "its files, or a package that they need, are others than they were"
            )
