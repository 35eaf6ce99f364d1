"""A made-up factory that delivers pictures of made-up parts, for the tests."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BUCKET = "factory"


@dataclass(frozen=True)
class Factory:
    """One product's side of the bucket."""

    product: str
    client: Any
    settings: Path

    def put(self, night: date, name: str, content: bytes) -> str:
        """Deliver one object; its key."""
        return self.put_key(f"{self.product}/incoming/{night.isoformat()}/{name}", content)

    def put_key(self, key: str, content: bytes) -> str:
        """Write any object, as only the factory may."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)
        return key

    def train_for(self, steps: int) -> None:
        """Let trainings from scratch be shorter than those of the story."""
        settings = self.settings.read_text(encoding="utf-8")
        self.settings.write_text(settings.replace("steps = 250", f"steps = {steps}"), "utf-8")

    def deliver(
        self,
        night: date,
        count: int = 40,
        change: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda image: image,
        parts_of: date | None = None,
    ) -> None:
        """Deliver a night of normal pictures, each passed through ``change``; of the parts that
        another night saw, if given."""
        source = np.random.default_rng((parts_of or night).toordinal())
        for number in range(count):
            picture = change(normal_picture(source)).clip(0, 1)
            self.put(night, f"{number:03}.png", to_png((picture * 255).astype(np.uint8)))


def normal_picture(source: np.random.Generator) -> NDArray[np.float64]:
    """A part as a fixed camera sees it: a ring on a shaded ground, slightly moved, with noise.

    Returns:
        (48, 64, 3) in [0, 1].
    """
    down, across = np.mgrid[0:48, 0:64]
    move_down, move_across = source.normal(0, 0.5, 2)
    distance = np.hypot(down - 24 - move_down, across - 32 - move_across)
    ring = np.exp(-(((distance - 14) / 3) ** 2))
    ground = 0.3 + 0.2 * across / 64
    grey = (ground + 0.35 * ring) * source.normal(1, 0.004)
    picture = grey[..., None] * np.array([1.0, 0.9, 0.8])
    return picture + source.normal(0, 0.01, picture.shape)


def with_scratch(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same picture with a dark local defect."""
    damaged = image.copy()
    damaged[18:26, 40:52] *= 0.2
    return damaged


def under_dim_lamp(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same picture with half the lamp's light."""
    return image.clip(0, 1) * 0.5 ** (1 / 2.2)


def to_png(image: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) uint8 as the bytes of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()
