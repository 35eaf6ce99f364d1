"""A threshold for each level of light, for models whose scores depend on the light.

Source: Vovk, Lindsay, Nouretdinov and Gammerman, "Mondrian Confidence Machine", technical
report, Royal Holloway, University of London, 2003: thresholds and p-values hold within each
group, as long as the groups were fixed before any calibration image was looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.detector.calibration import Calibration, calibrate, images_needed
from reconad_plugin.errors import NotEnoughImagesError
from reconad_plugin.images.features import describe_image

LIGHT_LEVELS: Final = 3


@dataclass(frozen=True)
class CalibrationGroups:
    """Levels of light with a calibration each.

    Raises:
        ValueError: there is not one level more than edges, or the edges are no rising numbers.
    """

    # luminances between the levels, in rising order; an image at an edge belongs to the brighter
    # level
    edges: tuple[float, ...]
    calibrations: tuple[Calibration, ...]  # one a level, the darkest first

    def __post_init__(self) -> None:
        is_rising = np.isfinite(self.edges).all() and (np.diff(self.edges) > 0).all()
        if len(self.calibrations) != len(self.edges) + 1 or not is_rising:
            raise ValueError(
                "levels of light need rising edges and one level more than edges; got "
                f"{len(self.calibrations)} levels and the edges {self.edges}"
            )

    @classmethod
    def read(cls, description: Mapping[str, Any]) -> "CalibrationGroups":
        """Build them of their fields, as a JSON file has them; see ``Calibration.read``."""
        calibrations = tuple(map(Calibration.read, description["calibrations"]))
        return cls(tuple(description["edges"]), calibrations)

    def levels(self, luminance: NDArray[np.float64]) -> NDArray[np.intp]:
        """Find the index of each image's calibration: (N,) mean luma in [0, 1] -> (N,)."""
        return _find_levels(self.edges, luminance)


def luminances(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the mean luma as a manifest has it: (N, 3, S, S) uint8 -> (N,) in [0, 1]."""
    pictures = images.transpose(0, 2, 3, 1)  # (N, 3, S, S) -> (N, S, S, 3)
    return np.array([describe_image(picture)["luminance"] for picture in pictures])


def calibrate_by_light(
    training_luminances: NDArray[np.float64],
    held_out_luminances: NDArray[np.float64],
    scores: NDArray[np.float64],
    target_fpr: float,
    map_maxima: NDArray[np.float64],
) -> CalibrationGroups:
    """Set thresholds at each of three levels of light.

    The levels are the thirds of the training images, so that no calibration image has a say in
    where the edges lie.

    Args:
        training_luminances: (M,) of the images that the network learnt.
        held_out_luminances: (N,) of the held-out normal images.
        scores: (N,) their scores.
        target_fpr: in (0, 1), at each level.
        map_maxima: (N,) the highest point of each of their maps.

    Raises:
        NotEnoughImagesError: at some level there are too few held-out images for the target.
    """
    shares = np.arange(1, LIGHT_LEVELS) / LIGHT_LEVELS
    edges = tuple(np.quantile(training_luminances, shares).tolist())
    level = _find_levels(edges, held_out_luminances)
    counts = np.bincount(level, minlength=LIGHT_LEVELS)
    needed = images_needed(target_fpr)
    if counts.min() < needed:
        raise NotEnoughImagesError(
            f"thresholds by light need {needed} held-out normal images at each level for "
            f"target_fpr {target_fpr:g}; got {', '.join(map(str, counts))} from dark to bright: "
            "bring more normal images"
        )
    calibrations = [
        calibrate(scores[level == each], target_fpr, map_maxima[level == each])
        for each in range(LIGHT_LEVELS)
    ]
    return CalibrationGroups(edges, tuple(calibrations))


def _find_levels(edges: tuple[float, ...], luminance: NDArray[np.float64]) -> NDArray[np.intp]:
    """Find the level of each image, the darkest is 0; an image at an edge is of the brighter."""
    return np.searchsorted(edges, luminance, side="right")
