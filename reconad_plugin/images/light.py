"""Light of tensors: measured, matched to a reference, changed and dimmed; see
``light_reference``."""

from collections.abc import Sequence

import torch
from torch import Tensor

from reconad_plugin.images.light_reference import SMALLEST_DEVIATION, LightReference

ENCODING_EXPONENT = 2.2  # of sRGB-like pictures, to a good approximation
STANDARD_MEAN, STANDARD_DEVIATION = 0.45, 0.15  # of a picture in standard light
_MOST_GAIN = 4.0  # of a colour between two lights; a colour that was hardly there tells no more


def fit_light(images: Tensor) -> LightReference:
    """Average the colours of (N, 3, H, W) uint8 training images, picture by picture."""
    moments = zip(*(_colour_moments(image[None] / 255) for image in images), strict=True)
    mean, deviation = (torch.cat(each).mean(0).flatten().tolist() for each in moments)
    return LightReference(tuple(mean), tuple(deviation))


def match_light(light: LightReference, image: Tensor) -> Tensor:
    """Scale and shift each colour of each picture, (B, 3, H, W) float in [0, 1], to a reference."""
    mean, deviation = _colour_moments(image)
    reference_mean = image.new_tensor(light.mean).view(3, 1, 1)
    reference_deviation = image.new_tensor(light.deviation).view(3, 1, 1)
    matched = (image - mean) / deviation * reference_deviation + reference_mean
    return matched.clamp(0, 1)


def change_light(
    images: Tensor, old: Sequence[LightReference], new: Sequence[LightReference]
) -> Tensor:
    """Return (N, 3, H, W) uint8 pictures of the mean of the old lights as they would look in that
    of the new ones.

    Each colour is scaled and shifted for all pictures alike, so that what tells them from each
    other stays. No colour is scaled by more than 4.
    """
    old_mean, old_deviation, new_mean, new_deviation = (
        torch.tensor([getattr(light, name) for light in lights]).mean(0).view(3, 1, 1)
        for lights in (old, new)
        for name in ("mean", "deviation")
    )
    gain = (new_deviation / old_deviation).clamp(1 / _MOST_GAIN, _MOST_GAIN)
    changed = torch.empty_like(images)
    for index, image in enumerate(images):  # one by one: floats of all would fill the memory
        lit = (image / 255 - old_mean) * gain + new_mean
        changed[index] = (lit.clamp(0, 1) * 255).round().to(torch.uint8)
    return changed


def is_grey(image: Tensor) -> bool:
    """Return whether a camera without colours took all of (B, 3, H, W); every fourth pixel
    tells."""
    red, green, blue = image[..., ::4, ::4].unbind(1)
    return bool((red == green).all() and (green == blue).all())


def dim_lamp(image: Tensor, power: float | Tensor) -> Tensor:
    """Return what a camera sees when the lamp gives ``power`` times its light.

    Pixel values are encoded for the eye; light adds up linearly. So they are decoded with the
    usual exponent 2.2, scaled, and encoded again.

    Args:
        image: any shape, float in [0, 1].
        power: 1 leaves the picture as it is, 0.5 is half the light; a tensor that broadcasts
            against the image gives each picture its own.
    """
    encoded_gain = power ** (1 / ENCODING_EXPONENT)  # (image^2.2 * power)^(1/2.2)
    return (image * encoded_gain).clamp(0, 1)


def _colour_moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and deviation of each colour: (B, 3, H, W) -> (B, 3, 1, 1) each."""
    deviation, mean = torch.std_mean(image, dim=(2, 3), keepdim=True, correction=0)
    return mean, deviation.clamp_min(SMALLEST_DEVIATION)


def standard_light(image: Tensor, like: Tensor) -> Tensor:
    """Scale and shift a picture so that another comes to the standard light.

    Brightness and contrast are taken out, colours stay: one mean and one deviation a picture.

    Args:
        image: (B, 3, H, W) float in [0, 1].
        like: (B, 3, H, W), the pictures whose light is measured; often ``image`` itself.

    Returns:
        (B, 3, H, W) float, mostly in [0, 1].
    """
    deviation, mean = torch.std_mean(like, dim=(1, 2, 3), keepdim=True, correction=0)
    scale = STANDARD_DEVIATION / deviation.clamp_min(SMALLEST_DEVIATION)
    return (image - mean) * scale + STANDARD_MEAN


def own_light(image: Tensor, like: Tensor) -> Tensor:
    """Bring a picture in standard light back to the light of ``like``."""
    deviation, mean = torch.std_mean(like, dim=(1, 2, 3), keepdim=True, correction=0)
    scale = deviation.clamp_min(SMALLEST_DEVIATION) / STANDARD_DEVIATION
    return (image - STANDARD_MEAN) * scale + mean
