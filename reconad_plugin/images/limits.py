"""How large and how small a picture may be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageLimits:
    """Checked before a picture is decoded."""

    max_pixels: int = 50_000_000
    min_side_px: int = 16
