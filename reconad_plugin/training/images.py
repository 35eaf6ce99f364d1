"""The normal images of a training by what they are for, and how often each is seen."""

from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor

from reconad_plugin.images.geometry import resize
from reconad_plugin.images.lens import Lens
from reconad_plugin.images.size import ImageSize
from reconad_plugin.simulation.defects import DefectCuts


@dataclass(frozen=True)
class NormalImages:
    """Normal images by what they are for, each (N, 3, S, S) uint8."""

    train: Tensor  # the network learns these
    calibration: Tensor  # the thresholds come from these
    judge: Tensor  # kept for the gate; only counted by a training
    # name of the part that each image to train on, and each to calibrate on, shows; empty where
    # each is one of its own
    train_parts: tuple[str, ...] = ()
    calibration_parts: tuple[str, ...] = ()
    # the camera position of each, or the variant that it shows; '' where nobody knows, and of an
    # image that was there before; empty where none is told
    train_positions: tuple[str, ...] = ()
    calibration_positions: tuple[str, ...] = ()
    # of pictures that are not normal: what fills the anomalies that are simulated on these
    defects: DefectCuts | None = None
    lens: Lens | None = None  # that they were taken through; None: as if it were straight

    def at(self, size: ImageSize) -> "NormalImages":
        """Return the same images to learn and to calibrate on, at another size."""
        train, calibration = (
            torch.from_numpy(resize(each.numpy(), size)) for each in (self.train, self.calibration)
        )
        return replace(self, train=train, calibration=calibration)

    @property
    def straight(self) -> "NormalImages":
        """The same images without the distortion of their lens."""
        if (lens := self.lens) is None:
            return self
        train, calibration = (
            torch.from_numpy(lens.straighten(each.numpy()))
            for each in (self.train, self.calibration)
        )
        return replace(self, train=train, calibration=calibration, lens=None)

    @property
    def positions(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The positions of the images to train on and to calibrate on, as many as there are images
        of each where one is told; else both are empty."""
        if not (self.train_positions or self.calibration_positions):
            return (), ()
        return (
            self.train_positions or ("",) * len(self.train),
            self.calibration_positions or ("",) * len(self.calibration),
        )


def parts_told(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the ``part`` of each row of a table of images; nothing where it tells none."""
    return tuple(rows["part"]) if "part" in rows else ()


def positions_told(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the ``position`` of each row of a table of images; '' where an image is repeated, so
    that it has one say in what its position shows. Nothing where the table tells none."""
    if "position" not in rows or not rows["position"].any():
        return ()
    return tuple(rows["position"].where(~rows["sha256"].duplicated(), ""))


def oversample(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Repeat new rows until they are about as many as the old ones, which stand before them.

    So fine-tuning learns the new world and does not forget the old one.
    """
    if old.empty or new.empty:
        return new if old.empty else old
    repeats = max(1, round(len(old) / len(new)))
    return pd.concat([old, *([new] * repeats)], ignore_index=True)
