"""What the watch saw, in the words of whoever stands at the line, with the numbers after it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reconad_plugin.watch.results import CameraFault, ContrastCheck, CountCheck, StatisticCheck

LEAST_CHANCE: Final = 1e-9  # that is printed; no model of nights holds farther out
MOST_STATISTICS: Final = 3  # in one sentence, the farthest first
_MOST_DECIMALS: Final = 6


@dataclass(frozen=True)
class Words:
    """How a person speaks of a statistic."""

    name: str  # of the number
    higher: str  # what the pictures do where it is higher than on other nights
    lower: str  # what they do where it is lower
    base: float | None = None  # of the logarithm that the statistic is; a person reads the number

    @property
    def measured(self) -> str:
        """Name of the statistic itself, such as a panel draws it."""
        return self.name if self.base is None else f"log {self.name}"


# fmt: off
STATISTIC_WORDS: Final[dict[str, Words]] = {
    "luminance": Words("brightness", "are brighter", "are darker"),
    "red_green_balance": Words("red to green", "are redder", "are less red", math.e),
    "blue_green_balance": Words("blue to green", "are bluer", "are less blue", math.e),
    "clipped_share": Words("share of clipped pixels",
        "have more clipped pixels", "have fewer clipped pixels"),
    "light_slope_x": Words("right half to left half",
        "are lit more from the right", "are lit more from the left", math.e),
    "light_slope_y": Words("lower half to upper half",
        "are lit more from below", "are lit more from above", math.e),
    "relative_contrast": Words("contrast to brightness",
        "have more contrast", "have less contrast", math.e),
    "sharpness": Words("sharpness", "are sharper", "are less sharp", math.e),
    "noise": Words("noise to contrast", "are noisier", "are less noisy", math.e),
    "resolution": Words("pixels", "have more pixels", "have fewer pixels", 2.0),
    "framing_x": Words("centre from the left",
        "show the part farther right", "show the part farther left"),
    "framing_y": Words("centre from the top", "show the part lower", "show the part higher"),
    "framing_spread": Words("spread of the part", "show the part larger", "show the part smaller"),
    "log_score": Words("score", "look more anomalous", "look less anomalous", math.e),
    "log_matched_score": Words("score with the light matched",
        "look more anomalous with the light matched",
        "look less anomalous with the light matched", math.e),
    "tail_share": Words("share with a p-value of at most 0.1",
        "have high scores more often", "have high scores less often"),
    "surprise": Words("surprise", "look less ordinary", "look more ordinary"),
    "log_map_extent": Words("anomalous share of the picture",
        "are anomalous over more of the picture", "are anomalous over less of the picture", math.e),
}
# fmt: on


def value_of(statistic: str, value: float) -> float:
    """Return a statistic's value as a person reads it, which is no logarithm."""
    base = STATISTIC_WORDS[statistic].base
    return value if base is None else base**value


def usually(value: float, expected: float) -> str:
    """Write a number beside what it usually is, with decimals enough to see the difference.

    Example:
        >>> usually(0.3904, 0.4891)
        '0.390, usually 0.489'
    """
    distance = abs(value - expected)
    decimals = 3 if distance == 0 else 1 - math.floor(math.log10(distance))
    decimals = min(max(decimals, 0), _MOST_DECIMALS)
    return f"{value:.{decimals}f}, usually {expected:.{decimals}f}"


def describe_moves(checks: Sequence[StatisticCheck]) -> str:
    """Say what the pictures do that they do not do on other nights; the farthest first.

    There must be at least one check, all of statistics whose level is known.
    """
    farthest = sorted(checks, key=lambda check: -abs(check.effect or 0))[:MOST_STATISTICS]
    clauses = [_clause(check, is_first=check is farthest[0]) for check in farthest]
    *others, last = clauses
    return f"the pictures {', '.join(others)} and {last}" if others else f"the pictures {last}"


def _clause(check: StatisticCheck, is_first: bool) -> str:
    words = STATISTIC_WORDS[check.statistic]
    direction = check.score if check.is_jump else check.average
    phrase = words.higher if (direction or 0) > 0 else words.lower
    if not check.is_jump:
        phrase += " over the last nights"
    elif is_first:
        phrase += " than on other nights"
    return f"{phrase} ({_numbers(check)})"


def _numbers(check: StatisticCheck) -> str:
    name = STATISTIC_WORDS[check.statistic].name
    value = value_of(check.statistic, check.value)
    if check.expected is None:
        return f"{name} {value:.3f}"
    numbers = f"{name} {usually(value, value_of(check.statistic, check.expected))}"
    if check.effect is None:
        return numbers
    return f"{numbers}: {abs(check.effect):.1f} deviations {'up' if check.effect > 0 else 'down'}"


def describe_faults(faults: Sequence[CameraFault]) -> list[str]:
    """Say where the camera hangs, and at which positions it is silent."""
    said = [
        f"{fault.repeated} of {fault.pictures} pictures"
        f"{f' of the camera position {fault.position}' if fault.position else ''} show the same "
        "frame as another one: the camera hangs, or one picture is sent again and again"
        for fault in faults
        if fault.pictures
    ]
    silent = [fault for fault in faults if not fault.pictures]
    if silent:
        fewest, most = min(each.fewest for each in silent), max(each.most for each in silent)
        said.append(
            f"no usable picture came from the camera position{'s' * (len(silent) > 1)} "
            f"{', '.join(fault.position for fault in silent)}, which sent "
            f"{fewest}{f' to {most}' if most > fewest else ''} on other nights"
        )
    return said


def describe_suspects(suspects: CountCheck, contrast: ContrastCheck) -> str:
    """Say how many images look defective, by either test, each with its own chance."""
    sentence = _count(suspects, "look anomalous with the light matched")
    if contrast.images:
        sentence += (
            f"; {contrast.above} of {contrast.images} images stand out from their cell, and such a "
            f"contrast has a chance of {_chance(contrast.chance)} on an ordinary night"
        )
    return sentence


def describe_count(count: CountCheck) -> str:
    """Say how many images score above the threshold as they came."""
    return _count(count, "score above the threshold")


def _count(count: CountCheck, what: str) -> str:
    chance = f"chance of so many on an ordinary night: {_chance(count.chance)}"
    return f"{count.above} of {count.images} images {what} ({chance})"


def names_of(checks: Sequence[StatisticCheck]) -> str:
    """Name statistics as a person does."""
    return ", ".join(STATISTIC_WORDS[check.statistic].name for check in checks)


def in_sentences(*parts: str) -> str:
    """Join parts to sentences; an empty one is left out."""
    return " ".join(f"{part[0].upper()}{part[1:].rstrip('.')}." for part in parts if part)


def _chance(chance: float) -> str:
    return f"{chance:.2g}" if chance >= LEAST_CHANCE else f"below {LEAST_CHANCE:g}"
