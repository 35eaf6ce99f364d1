"""Earlier pictures in tonight's light, position by position of the camera."""

from collections.abc import Sequence

import pandas as pd
from torch import Tensor

from reconad_plugin.images.light import change_light, fit_light
from reconad_plugin.images.light_reference import LightReference

PositionLights = dict[str, LightReference]


def position_lights(images: Tensor, positions: Sequence[str]) -> PositionLights:
    """Measure the light at each position of the camera on one night.

    Args:
        images: (N, 3, H, W) uint8, all of the night.
        positions: (N,) of the images; all empty where they are not known.
    """
    indices = pd.Series(range(len(images))).groupby(pd.Series(list(positions), dtype=str)).groups
    return {str(position): fit_light(images[list(at)]) for position, at in indices.items()}


def relight(images: Tensor, old: PositionLights, new: PositionLights) -> Tensor:
    """Show pictures of one night as they would look in the light of another.

    The two lights are compared at the positions that both nights have seen, where there are
    any, so that a night that saw more of the dark positions is not taken for a darker one.
    Pictures are (N, 3, H, W) uint8.
    """
    common = sorted(old.keys() & new.keys())
    before = [old[position] for position in common] or list(old.values())
    after = [new[position] for position in common] or list(new.values())
    return change_light(images, before, after)
