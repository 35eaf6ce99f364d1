"""Normal pictures as training sees them: every lamp and every pose that the future may bring."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reconad_plugin.images.light import dim_lamp, is_grey, standard_light
from reconad_plugin.simulation.perlin import rotate

POWER_RANGE: Final = (0.7, 1.3)  # of the lamp's light
COLOUR_RANGE: Final = 0.05  # gain of each colour, +-
CONTRAST_RANGE: Final = (0.9, 1.1)
ONE_WAY_SHARE: Final = 0.3  # of an asymmetry, common to all pictures: more, and parts lie one way
FEWEST_TO_TELL: Final = 6  # pictures; ten normal images leave as many to train on
MOST_TO_TELL: Final = 256
GRID_PX: Final = 16  # of the small pictures that tell
TURNED_SHARE: Final = 1 / 3  # of the pictures of parts that may lie at any angle


def vary_light(image: Tensor, generator: Generator) -> Tensor:
    """Change lamp power, colour temperature and contrast, picture by picture, of (B, 3, H, W) float
    in [0, 1]."""
    batch = len(image)

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        unit = torch.rand(batch, channels, 1, 1, generator=generator)
        return (low + (high - low) * unit).to(image.device)

    lit = dim_lamp(image, draw(*POWER_RANGE))
    colour = draw(1 - COLOUR_RANGE, 1 + COLOUR_RANGE, 3)
    if not is_grey(image):  # a camera without colours does not see a lamp's
        lit = lit * colour
    mean = lit.mean((1, 2, 3), keepdim=True)
    return ((lit - mean) * draw(*CONTRAST_RANGE) + mean).clamp(0, 1)


def choose_geometry(images: Tensor) -> str:
    """Tell how parts may lie from (N, 3, H, W) uint8 normal images, 256 of them at most.

    Returns:
        ``mirror`` where parts lie both ways, left to right and upside down. ``none`` where what
        tells a picture from its mirror image is common to the pictures (``common_asymmetry``),
        as it is where a fixed camera sees parts that always lie alike, and where there are
        fewer than six.
    """
    if len(images) < FEWEST_TO_TELL:
        return "none"
    chosen = torch.linspace(0, len(images) - 1, min(len(images), MOST_TO_TELL)).round().long()
    pooled = [F.adaptive_avg_pool2d(images[index].float() / 255, GRID_PX) for index in chosen]
    small = standard_light(torch.stack(pooled), like=torch.stack(pooled))
    is_either_way = all(common_asymmetry(small, axis) < ONE_WAY_SHARE for axis in (-1, -2))
    return "mirror" if is_either_way else "none"


def common_asymmetry(images: Tensor, axis: int) -> float:
    """Compute how much of what tells (N, C, H, W) pictures, at least two, from their mirror images
    along an axis is common to all of them, as a share.

    Returns:
        About 1 for pictures that are all alike, about 0 where as many lie one way as the other;
        without the bias of 1 / N. 1 for pictures that are their own mirror images.
    """
    asymmetry = (images - images.flip(axis)).flatten(1)  # (N, C * H * W)
    energy = asymmetry.square().sum(1).mean()
    if energy <= 0:
        return 1.0
    count = len(images)
    common = float(asymmetry.mean(0).square().sum() / energy)
    return (count * common - 1) / (count - 1)


def vary_geometry(image: Tensor, kind: str, generator: Generator) -> Tensor:
    """Mirror (B, 3, H, W) pictures, or turn them too, picture by picture.

    The kind is ``none`` for a fixed camera over parts that always lie alike; ``mirror`` for parts
    that may lie mirrored, left to right and upside down; ``rotate`` for parts that may lie at any
    angle: mirrored, a square also turned by a quarter, and a third of them turned by any angle, as
    the corners of a turned picture are made up.
    """
    if kind == "none":
        return image
    for axis in (-1, -2):
        chosen = torch.rand(len(image), 1, 1, 1, generator=generator) < 0.5
        image = torch.where(chosen.to(image.device), image.flip(axis), image)
    if kind == "rotate":
        if image.shape[-1] == image.shape[-2]:
            quarters = torch.rand(len(image), 1, 1, 1, generator=generator) < 0.5
            image = torch.where(quarters.to(image.device), image.transpose(-1, -2), image)
        turned = (torch.rand(len(image), generator=generator) < TURNED_SHARE).nonzero()[:, 0]
        degrees = 180 * torch.rand(len(turned), generator=generator) - 90
        if len(turned):
            image = image.clone()
            image[turned] = rotate(image[turned], degrees)
    return image
