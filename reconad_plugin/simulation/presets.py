"""What anomalies look like in a trade: the one table of simulation settings."""

from dataclasses import dataclass
from typing import Final

from reconad_plugin.errors import ConfigError


@dataclass(frozen=True)
class Preset:
    """Shapes, fillings and blending of simulated anomalies."""

    # shape -> how often, relative to the others: ``perlin``, ``polygon``, ``stroke``, ``blobs``
    shapes: dict[str, float]
    # filling -> how often: ``texture`` (a picture of another material, varied), ``noise``
    # (Gaussian, around the image), ``patch`` (another part of a normal picture), ``shade`` (the
    # same picture, lighter or darker)
    fillings: dict[str, float]
    opacity: tuple[float, float] = (0.1, 1.0)  # range in (0, 1]
    blurred_share: float = 0.5  # how many masks get a soft edge
    sharpened_share: float = 0.0  # how many masks are eroded or dilated by a pixel or two
    octaves: int = 1  # of Perlin noise
    perlin_threshold: tuple[float, float] = (0.4, 0.6)  # range
    stroke_width: tuple[float, float] = (0.01, 0.06)  # range, share of the picture's side
    stroke_length: tuple[float, float] = (0.1, 0.7)  # range, share of the picture's side
    blob_radius: tuple[float, float] = (0.01, 0.06)  # range, share of the picture's side
    blob_number: tuple[int, int] = (1, 6)  # range
    polygon_radius: tuple[float, float] = (0.03, 0.2)  # range, share of the picture's side


PRESETS: Final = {
    "general": Preset(
        shapes={"perlin": 4, "polygon": 1, "stroke": 2, "blobs": 2},
        fillings={"texture": 3, "noise": 1, "patch": 5, "shade": 2},
    ),
    "electronics": Preset(  # missing, broken and foreign parts: sharp edges, opaque
        shapes={"perlin": 2, "polygon": 4, "stroke": 2, "blobs": 1},
        fillings={"texture": 5, "noise": 1, "patch": 4},
        opacity=(0.5, 1.0),
        blurred_share=0.0,
        sharpened_share=0.7,
    ),
    "textile": Preset(  # pulled threads, stains, thin places: frayed and faint
        shapes={"perlin": 5, "stroke": 4, "blobs": 1},
        fillings={"texture": 4, "noise": 2, "patch": 3, "shade": 3},
        opacity=(0.1, 0.5),
        blurred_share=0.7,
        octaves=4,
        stroke_width=(0.005, 0.03),
        stroke_length=(0.2, 1.0),
    ),
    "food": Preset(  # crumbs, mould and foreign bodies: many small blobs
        shapes={"perlin": 2, "blobs": 6, "polygon": 1},
        fillings={"texture": 6, "noise": 2, "patch": 1, "shade": 2},
        opacity=(0.3, 1.0),
        blob_radius=(0.006, 0.04),
        blob_number=(4, 24),
    ),
    "metal": Preset(  # scratches, pits, rust and dents
        shapes={"perlin": 3, "stroke": 4, "blobs": 3, "polygon": 1},
        fillings={"texture": 5, "noise": 2, "patch": 1, "shade": 3},
        opacity=(0.15, 1.0),
        octaves=2,
        stroke_width=(0.004, 0.03),
        blob_radius=(0.006, 0.05),
    ),
}
DEFAULT_PRESET: Final = "general"

STAINS: Final = Preset(  # of the paper, as clear as its own; what the gate judges every model on
    shapes={"perlin": 1},
    fillings={"texture": 1},
    opacity=(0.2, 1.0),
    blurred_share=0.0,
    perlin_threshold=(0.5, 0.5),
)


def preset(name: str) -> Preset:
    """Return the preset of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PRESETS:
        raise ConfigError(f"preset must be one of {', '.join(PRESETS)}; got {name!r}")
    return PRESETS[name]
