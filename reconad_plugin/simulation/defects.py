"""Confirmed defects that simulated anomalies take fillings from, each cut out of its picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Generator, Tensor

DEFECT: Final = "defect"  # the filling
DEFECT_SHARE: Final = 0.25  # of simulated anomalies, however many defects are known


@dataclass(frozen=True)
class DefectCuts:
    """Cuts of any height and width, laid out so that single pixels are quick to fetch."""

    pixels: Tensor  # (P, 3) uint8, one cut after the other, each row by row
    first: Tensor  # (M,) long, index of the first pixel of each
    sides: Tensor  # (M, 2) long, height and width of each

    @classmethod
    def of(cls, cuts: Sequence[Tensor]) -> "DefectCuts":
        """Put together cuts, at least one, each (3, H, W) uint8."""
        sides = torch.tensor([cut.shape[1:] for cut in cuts])
        areas = sides.prod(1)
        pixels = torch.cat([cut.flatten(1).T for cut in cuts])
        return cls(pixels.contiguous(), areas.cumsum(0) - areas, sides)

    def to(self, device: str | torch.device) -> "DefectCuts":
        """Return the same on another device."""
        return DefectCuts(self.pixels.to(device), self.first.to(device), self.sides.to(device))


@dataclass(frozen=True)
class DefectDraw:
    """A cut an image, in its own colours; beyond its border it begins again."""

    cuts: DefectCuts  # those to draw from
    number: Tensor  # (B,) which of them each image has
    shift: Tensor  # (B, 2) down and across, pixels

    @classmethod
    def draw(cls, count: int, cuts: DefectCuts, generator: Generator) -> "DefectDraw":
        """Draw for ``count`` images."""
        number = torch.randint(len(cuts.first), (count,), generator=generator)
        shift = torch.rand(count, 2, generator=generator)
        number, shift = number.to(cuts.pixels.device), shift.to(cuts.pixels.device)
        return cls(cuts, number, (shift * cuts.sides[number]).long())

    def at(self, image: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Return the fillings at pixels: image, row and column, each (P,) -> (P, 3) in [0, 1]."""
        cut = self.number[image]
        place = torch.stack([row, column], 1) + self.shift[image]  # (P, 2)
        down, across = (place % self.cuts.sides[cut]).unbind(1)
        index = self.cuts.first[cut] + down * self.cuts.sides[cut, 1] + across
        return self.cuts.pixels[index].float() / 255


def with_defects(fillings: Mapping[str, float]) -> dict[str, float]:
    """Add defects to the shares of a preset's fillings, which stay as they are to one another.

    Example:
        >>> with_defects({"texture": 2, "noise": 1})
        {'texture': 2, 'noise': 1, 'defect': 1.0}
    """
    others = sum(fillings.values())
    return {**fillings, DEFECT: others * DEFECT_SHARE / (1 - DEFECT_SHARE)}
