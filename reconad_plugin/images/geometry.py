"""Pictures of any shape to the square that a network takes."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.limits import ImageLimits


def to_square(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Resize (H, W, 3) uint8 to (size_px, size_px, 3) uint8, antialiased.

    The aspect ratio is given up: a fixed camera distorts every picture alike, and nothing of
    the part is cropped away.
    """
    if image.shape[:2] == (size_px, size_px):
        return image
    resized = Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def decode_square(content: bytes, size_px: int, limits: ImageLimits) -> NDArray[np.uint8]:
    """Decode a picture file to (size_px, size_px, 3) uint8: what training and serving both see.

    Raises:
        InvalidImageError: see ``decode_image``.
    """
    return to_square(decode_image(content, limits, smallest_px=size_px), size_px)


def resize(images: Tensor, size_px: int) -> Tensor:
    """Bring (N, 3, S, S) uint8 to (N, 3, size_px, size_px) uint8, antialiased."""
    if images.shape[-1] == size_px:
        return images
    if not len(images):
        return images.new_empty(0, 3, size_px, size_px)
    resized = F.interpolate(images.float(), (size_px, size_px), mode="bilinear", antialias=True)
    return resized.round().byte()


def stack_images(images: list[NDArray[np.uint8]], size_px: int) -> Tensor:
    """Stack pictures of any shapes: (N, 3, size_px, size_px) uint8 in [0, 255]."""
    batch = np.empty((len(images), size_px, size_px, 3), dtype=np.uint8)
    for row, image in zip(batch, images, strict=True):
        row[:] = to_square(image, size_px)
    return torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()  # NHWC -> NCHW
