"""Why a night is out of the ordinary, and what that allows.

Defects come first: a night that may hold defects is never learnt from. The witness is the
score after the picture's light was matched to the reference. A lamp moves all pictures, and
matching undoes it; a defect stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from monitoring.alarms import StatisticCheck, chance_of, is_exceedance_alarm
from monitoring.night import (
    CAMERA_STATISTICS,
    LIGHT_STATISTICS,
    SCORE_STATISTIC,
    NightStatistics,
)

NONE, LIGHT, CAMERA, PROCESS, DEFECTS, UNCLEAR = (
    "none",
    "light",
    "camera",
    "process",
    "defects",
    "unclear",
)
LEARNING_CAUSES: Final = (LIGHT, PROCESS)  # only these lead to fine-tuning
HOLDING_CAUSES: Final = (CAMERA, DEFECTS, UNCLEAR)  # a person decides

# A cause that leads to learning must not even hint at defects: the suspects' share has to be
# what one normal night in twenty shows, far short of an alarm.
MAX_DEFECT_HINT: Final = 0.05


@dataclass(frozen=True)
class Triage:
    """The cause of a night's alarm.

    Attributes:
        is_alarm: whether there is one.
        cause: ``none``, ``light``, ``camera``, ``process``, ``defects`` or ``unclear``.
        evidence: a sentence with the numbers it rests on.
    """

    is_alarm: bool
    cause: str
    evidence: str

    @property
    def is_learning(self) -> bool:
        """Whether fine-tuning is the right answer."""
        return self.cause in LEARNING_CAUSES

    @property
    def is_holding(self) -> bool:
        """Whether the night's images wait for a person."""
        return self.cause in HOLDING_CAUSES


def find_cause(
    tonight: NightStatistics,
    checks: Mapping[str, StatisticCheck],
    false_alarms_per_year: float,
) -> Triage:
    """Name the cause of a night's alarm.

    Args:
        tonight: the night's statistics.
        checks: the tests of each statistic.
        false_alarms_per_year: allowed for this product.
    """
    light = _alarms(checks, LIGHT_STATISTICS)
    camera = _alarms(checks, CAMERA_STATISTICS)
    has_defects = is_exceedance_alarm(tonight.suspects, false_alarms_per_year)
    has_scores = is_exceedance_alarm(tonight.alarming, false_alarms_per_year) or bool(
        _alarms(checks, (SCORE_STATISTIC,))
    )
    if has_defects:
        also = f"; besides, {_describe(light + camera)}" if light + camera else ""
        return Triage(True, DEFECTS, f"{_suspects(tonight)}{also}")
    if not (light or camera or has_scores):
        return Triage(False, NONE, f"all statistics as on other nights; {_suspects(tonight)}")
    hint = chance_of(tonight.suspects)
    if hint < MAX_DEFECT_HINT:
        moved = _describe(light + camera) if light + camera else _alarming(tonight)
        return Triage(
            True, UNCLEAR, f"{moved}, but defects cannot be ruled out: {_suspects(tonight)}"
        )
    if camera:
        return Triage(True, CAMERA, _describe(camera + light))
    if light:
        return Triage(
            True, LIGHT, f"{_describe(light)}; with the light matched {_suspects(tonight)}"
        )
    return Triage(True, PROCESS, f"light is as before, {_alarming(tonight)}; {_suspects(tonight)}")


def _alarms(
    checks: Mapping[str, StatisticCheck], statistics: tuple[str, ...]
) -> list[StatisticCheck]:
    return [checks[name] for name in statistics if name in checks and checks[name].is_alarm]


def _describe(checks: list[StatisticCheck]) -> str:
    farthest = sorted(checks, key=lambda check: -abs(check.score or 0))
    return ", ".join(
        f"{check.statistic.replace('_', ' ')} {check.expected:.3f} -> {check.value:.3f} "
        f"({check.score:+.1f} sigma)"
        for check in farthest[:3]
    )


def _suspects(tonight: NightStatistics) -> str:
    seen = tonight.suspects
    return (
        f"{seen.above} of {seen.images} images are locally anomalous "
        f"(chance in a normal night {chance_of(seen):.2g})"
    )


def _alarming(tonight: NightStatistics) -> str:
    seen = tonight.alarming
    return f"{seen.above} of {seen.images} images score above the threshold"
