"""Pictures of any shape to the size that a network takes."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize


def to_size(image: NDArray[np.uint8], size: ImageSize) -> NDArray[np.uint8]:
    """Resize a picture of any shape, (H, W, 3) uint8, antialiased.

    A picture of another aspect than the size's is distorted: nothing of the part is cropped away.
    """
    if image.shape[:2] == size.shape:
        return image
    width_first = size.shape[::-1]
    return np.asarray(Image.fromarray(image).resize(width_first, Image.Resampling.BILINEAR))


def decode_to_size(content: bytes, size: ImageSize, limits: ImageLimits) -> NDArray[np.uint8]:
    """Decode a picture file to (H, W, 3) uint8 of a size: what training and serving both see.

    Raises:
        InvalidImageError: see ``decode_image``.
    """
    return to_size(decode_image(content, limits, smallest=size), size)


def resize(images: Tensor, size: ImageSize) -> Tensor:
    """Bring (N, 3, H, W) uint8 to another size, antialiased."""
    if images.shape[-2:] == size.shape:
        return images
    if not len(images):
        return images.new_empty(0, 3, *size.shape)
    resized = F.interpolate(images.float(), size.shape, mode="bilinear", antialias=True)
    return resized.round().byte()


def stack_images(images: list[NDArray[np.uint8]], size: ImageSize) -> Tensor:
    """Stack pictures of any shapes, brought to one size: (N, 3, H, W) uint8 in [0, 255]."""
    batch = np.empty((len(images), *size.shape, 3), dtype=np.uint8)
    for row, image in zip(batch, images, strict=True):
        row[:] = to_size(image, size)
    return torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()  # NHWC -> NCHW
