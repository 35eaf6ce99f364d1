"""What a training sees of large pictures: random windows of their own pixels, and each shrunk as a
whole, so that one network serves both views."""

from typing import Final

import torch
from torch import Generator, Tensor

from reconad_plugin.detector.windows import window_corners
from reconad_plugin.images.geometry import resize
from reconad_plugin.images.size import ImageSize
from reconad_plugin.training.images import NormalImages

MOST_WINDOWS: Final = 16  # of a picture
MOST_VIEWS_BYTES: Final = 1 << 30  # of all pictures; more of them give fewer windows each


def cut_views(images: NormalImages, size: ImageSize, seed: int) -> NormalImages:
    """Cut the views of normal pictures, (N, 3, H, W) uint8 each, that train and that validate; half
    of them are shrunk pictures, so few pictures are repeated among them."""
    generator = Generator().manual_seed(seed)
    train, held_out = (_cut(each, size, generator) for each in (images.train, images.calibration))
    return NormalImages(train, held_out, train[:0])


def shrink(images: Tensor, size: ImageSize) -> Tensor:
    """Bring (N, 3, H, W) uint8 pictures to a size."""
    return torch.from_numpy(resize(images.numpy(), size))


def _cut(images: Tensor, size: ImageSize, generator: Generator) -> Tensor:
    if not len(images):
        return images.new_empty(0, 3, *size.shape)
    pictures = ImageSize.of(images.shape)
    room = MOST_VIEWS_BYTES // (2 * 3 * size.pixels * len(images))
    count = max(1, min(MOST_WINDOWS, len(window_corners(pictures, size)), room))
    windows = torch.empty(len(images) * count, 3, *size.shape, dtype=torch.uint8)
    for index in range(len(windows)):
        free = [whole - part + 1 for whole, part in zip(pictures.shape, size.shape, strict=True)]
        y, x = (int(torch.randint(each, (), generator=generator)) for each in free)
        picture = images[index // count]
        windows[index] = picture[:, y : y + size.height_px, x : x + size.width_px]
    wholes = shrink(images, size).repeat_interleave(count, 0)
    return torch.cat([windows, wholes])
