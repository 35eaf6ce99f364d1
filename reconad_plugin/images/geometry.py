"""Pictures of any shape to the size that a network takes."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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


def resize(images: NDArray[np.uint8], size: ImageSize) -> NDArray[np.uint8]:
    """Bring (N, 3, H, W) pictures to another size, antialiased; they are rounded once, at the
    end."""
    if images.shape[-2:] == size.shape:
        return images
    resized = np.empty((len(images), 3, *size.shape), np.uint8)
    for image, small in zip(images, resized, strict=True):
        for colour, own in zip(image, small, strict=True):
            plane = Image.fromarray(colour.astype(np.float32))
            plane = plane.resize(size.shape[::-1], Image.Resampling.BILINEAR)
            own[:] = np.rint(np.asarray(plane))
    return resized


def stack_images(images: list[NDArray[np.uint8]], size: ImageSize) -> NDArray[np.uint8]:
    """Stack pictures of any shapes, brought to one size: (N, 3, H, W) uint8 in [0, 255]."""
    batch = np.empty((len(images), *size.shape, 3), dtype=np.uint8)
    for row, image in zip(batch, images, strict=True):
        row[:] = to_size(image, size)
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2))  # NHWC -> NCHW
