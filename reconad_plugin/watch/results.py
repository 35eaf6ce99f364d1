"""What the tests say of a night: a record for each kind of test."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from reconad_plugin.watch.limits import SETTLED_SHARE

_SMALLEST_CHANCE: Final = 1e-300  # its logarithm is taken


@dataclass(frozen=True)
class StatisticCheck:
    """What the charts say of one statistic on one night."""

    statistic: str  # its name
    value: float  # tonight's, as if all positions of the camera had been seen as often as always
    expected: float | None  # level of the ordinary nights before; None while there are none
    # distance from it in deviations of ordinary nights; None while too few are known
    effect: float | None
    score: float | None  # standard normal score of tonight, knowing the night before; None likewise
    average: float | None  # moving average of the scores, in its own deviations; None likewise
    jump_limit: float  # |score| beyond it is an alarm
    average_limit: float  # |average| beyond it is an alarm

    @property
    def share_of_limit(self) -> float:
        """The farther of tonight by itself and the moving average; 0 while neither is known."""
        jump, shift = abs(self.score or 0.0), abs(self.average or 0.0)
        return max(jump / self.jump_limit, shift / self.average_limit)

    @property
    def is_jump(self) -> bool:
        """Whether tonight alone is out of the ordinary."""
        return abs(self.score or 0) > self.jump_limit

    @property
    def is_shift(self) -> bool:
        """Whether the nights up to tonight drift away."""
        return abs(self.average or 0) > self.average_limit

    @property
    def is_alarm(self) -> bool:
        return self.is_jump or self.is_shift

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left of an earlier alarm."""
        return not self.is_jump and abs(self.average or 0) < SETTLED_SHARE * self.average_limit

    def to_dict(self) -> dict[str, object]:
        """Return what stands in a record's JSON."""
        return asdict(self) | {"is_alarm": self.is_alarm}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "StatisticCheck":
        """Read what stands in a record's JSON."""
        return cls(**{name: value for name, value in content.items() if name != "is_alarm"})


@dataclass(frozen=True)
class CountCheck:
    """What the test of a count of images says of a night."""

    above: int  # images that are counted
    images: int  # images in all
    expected_share: float  # of such images on ordinary nights
    chance: float  # that an ordinary night shows so many
    limit: float  # a chance below it is an alarm

    @property
    def share_of_limit(self) -> float:
        """How far the night is on the way, on the scale of the chance's logarithm."""
        return math.log(max(self.chance, _SMALLEST_CHANCE)) / math.log(self.limit)

    @property
    def is_alarm(self) -> bool:
        return self.chance < self.limit

    @property
    def share(self) -> float:
        """Share of such images; 0 where there are no images."""
        return self.above / self.images if self.images else 0.0


@dataclass(frozen=True)
class CameraFault:
    """A camera that hangs, or that is silent at a position."""

    position: str  # of the camera; empty where all pictures of the night are meant
    share_of_limit: float  # how far beyond it the night is, above 1
    pictures: int = 0  # that came and could be read; 0 where it is silent
    repeated: int = 0  # of these, that show the same frame as another one
    fewest: int = 0  # pictures that it sent on another night; 0 where it hangs
    most: int = 0  # likewise


@dataclass(frozen=True)
class ContrastCheck(CountCheck):
    """What the test of contrast says of a night.

    ``above`` counts the images that stand out from their cells. ``chance`` is not that of the
    count: it is that of a contrast as high as tonight's between the highest tenth of the images
    and the median one.
    """
