"""Pictures of materials that simulated anomalies take their looks from."""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from reconad_plugin.errors import NotEnoughImagesError
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.geometry import stack_images
from reconad_plugin.images.limits import ImageLimits

PACKAGED_TEXTURES = Path(__file__).parent / "textures"  # CC0, see its README


@cache
def load_textures(size_px: int, folder: Path = PACKAGED_TEXTURES) -> Tensor:
    """All textures of a folder.

    Args:
        size_px: side they are resized to.
        folder: JPEG and PNG files; the packaged ones by default.

    Returns:
        (N, 3, size_px, size_px) uint8 in [0, 255], in order of file name.

    Raises:
        NotEnoughImagesError: the folder holds no picture.
    """
    files = sorted(
        path for path in folder.glob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"}
    )
    if not files:
        raise NotEnoughImagesError(
            f"simulated anomalies need at least one texture; {folder} holds no .jpg or .png: "
            "leave the folder out to use the packaged ones"
        )
    limits = ImageLimits()
    return stack_images([decode_image(file.read_bytes(), limits) for file in files], size_px)


def random_textures(batch: int, textures: Tensor, generator: torch.Generator) -> Tensor:
    """Draw textures with random mirror, order of colours and brightness.

    Returns:
        (batch, 3, S, S) float32 in [0, 1].
    """
    drawn = textures[torch.randint(len(textures), (batch,), generator=generator)].float() / 255
    colours = torch.rand(batch, 3, generator=generator).argsort(1)  # (B, 3) a permutation each
    drawn = torch.stack([image[order] for image, order in zip(drawn, colours, strict=True)])
    mirrored = torch.rand(batch, 1, 1, 1, generator=generator) < 0.5
    drawn = torch.where(mirrored, drawn.flip(-1), drawn)
    gain = 0.5 + torch.rand(batch, 1, 1, 1, generator=generator)
    return (drawn * gain).clamp(0, 1)
