"""How large and how small a picture may be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageLimits:
    """Checked before a picture is decoded."""

    max_pixels: int = 50_000_000
    min_side_px: int = 16
    # width and height that a picture has the shape of, in any resolution; None: any shape
    shape: tuple[int, int] | None = None


def have_one_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two widths and heights are of one shape, but for rounding."""
    (width, height), (other_width, other_height) = one, other
    return abs(width * other_height - height * other_width) <= max(*one, *other)
