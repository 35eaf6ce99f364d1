"""Why a night is out of the ordinary, and what that allows.

Defects come first: a night that may hold defects is never learnt from. The witness is the
score after the picture's light was matched to the reference. A lamp moves all pictures, and
matching undoes it; a defect stays.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reconad_plugin.watch.night_tests import CountCheck, StatisticCheck, Watch
from reconad_plugin.watch.statistics import (
    CAMERA_STATISTICS,
    LIGHT_STATISTICS,
    MATCHED_SCORE_STATISTIC,
    SCORE_STATISTICS,
    SURFACE_STATISTIC,
)

NONE, LIGHT, CAMERA, PROCESS, DEFECTS, UNCLEAR = (
    "none",
    "light",
    "camera",
    "process",
    "defects",
    "unclear",
)
CAUSES: Final = (LIGHT, CAMERA, PROCESS, DEFECTS, UNCLEAR)  # of an alarm
LEARNING_CAUSES: Final = (LIGHT, PROCESS)  # only these lead to fine-tuning
HOLDING_CAUSES: Final = (CAMERA, DEFECTS, UNCLEAR)  # a person decides

# A cause that leads to learning must not even hint at defects: suspects and images that stand out
# have to be what more than one normal night in ten shows, far short of an alarm.
MAX_DEFECT_HINT: Final = 0.1

# Where the camera moved and so many images look wrong, the images say nothing of defects. And
# where so many stand out from their places, no dirt explains the suspects.
MOST: Final = 0.5

# A lamp scales brightness and contrast alike. Where their ratio moved by more than this share of
# what the brightness did, the surface itself looks different.
SURFACE_SHARE: Final = 0.3

# Matching the light must take away at least so much of what the scores rose by.
UNMATCHED_SHARE: Final = 0.5

LEAST_CHANCE: Final = 1e-9  # that is told; no model of nights holds farther out

CLIPPING_STATISTIC: Final = "clipped_share"
_UNPLACED: Final = "the camera was at no position that the nights before know"

FOLLOWS_LIGHT: Final = "noise"  # more light, less noise: no witness against the camera then


@dataclass(frozen=True)
class Triage:
    """The cause of a night's alarm.

    Attributes:
        is_alarm: whether there is one.
        cause: ``none``, ``light``, ``camera``, ``process``, ``defects`` or ``unclear``.
        evidence: a sentence with the numbers it rests on.
        also: further causes that are seen, besides.
        is_raised: whether a test fails tonight; False where an alarm is only still open.
    """

    is_alarm: bool
    cause: str
    evidence: str
    also: tuple[str, ...] = ()
    is_raised: bool = True

    @property
    def is_learning(self) -> bool:
        """Whether fine-tuning is the right answer."""
        return self.is_raised and self.cause in LEARNING_CAUSES

    @property
    def is_holding(self) -> bool:
        """Whether the night's images wait for a person."""
        return self.cause in HOLDING_CAUSES


def find_cause(watch: Watch, still_open: str = NONE) -> Triage:
    """Name the cause of a night's alarm.

    Args:
        watch: what the tests say of the night.
        still_open: cause of an alarm of the night before that nobody has resolved.
    """
    checks = watch.checks
    light = _alarms(checks, LIGHT_STATISTICS)
    camera = _alarms(checks, CAMERA_STATISTICS)
    if light and still_open != CAMERA:
        camera = [check for check in camera if check.statistic != FOLLOWS_LIGHT]
    surface = _alarms(checks, (SURFACE_STATISTIC,))
    scores = _alarms(checks, SCORE_STATISTICS)
    is_process = bool(surface or light) and _is_of_the_surface(checks)
    is_dirt = is_process and _is_alike(watch)
    has_defects = watch.outliers.is_alarm or (watch.suspects.is_alarm and not is_dirt)
    moved = light + camera + surface + scores
    if not (moved or has_defects or watch.alarming.is_alarm):
        return _quiet(watch, still_open)

    seen = tuple(
        cause
        for cause, is_seen in (
            (DEFECTS, has_defects),
            (CAMERA, camera),
            (PROCESS, is_process),
            (LIGHT, light and not is_process),
        )
        if is_seen
    )

    def alarm(cause: str, evidence: str) -> Triage:
        return Triage(True, cause, evidence, tuple(each for each in seen if each != cause))

    suspects, besides = _suspects(watch), f"; besides, {_describe(moved)}" if moved else ""
    is_masked = _are_most(watch.suspects) or _are_most(watch.outliers)
    if camera and has_defects and is_masked:
        return alarm(CAMERA, f"{_describe(camera)}; {suspects}, as a moved camera makes of any")
    if has_defects:
        return alarm(DEFECTS, f"{suspects}{besides}")
    if camera:
        return alarm(CAMERA, f"{_describe(camera)}; {suspects}{_also(light + surface)}")
    if _defect_chance(watch, is_dirt) <= MAX_DEFECT_HINT:
        what = _describe(moved) if moved else _alarming(watch.alarming)
        return alarm(UNCLEAR, f"{what}, but defects cannot be ruled out: {suspects}")
    if _rose_without_light(checks) and not is_process:
        return alarm(
            UNCLEAR,
            f"{_describe(scores)} though the light is matched, but defects cannot be ruled out: "
            f"{suspects}",
        )
    if is_process:
        return alarm(
            PROCESS,
            f"{_describe(surface + light)}, which no lamp alone does; with the light matched "
            f"{suspects}",
        )
    if light:
        return alarm(LIGHT, f"{_describe(light)}; with the light matched {suspects}")
    what = _describe(scores) if scores else _alarming(watch.alarming)
    return alarm(PROCESS, f"light is as before, {what}; {suspects}")


def _quiet(watch: Watch, still_open: str) -> Triage:
    unsettled = [check for check in watch.checks.values() if not check.is_settled]
    if still_open != NONE and (unsettled or not watch.is_placed):
        remains = f"it is not as before: {_describe(unsettled)}" if unsettled else _UNPLACED
        evidence = f"no test fails tonight, but {remains}; {_suspects(watch)}"
        return Triage(True, still_open, evidence, is_raised=False)
    ended = "" if still_open == NONE else f"the alarm about {still_open} has ended: "
    return Triage(False, NONE, f"{ended}{_compared(watch)}; {_suspects(watch)}")


def _compared(watch: Watch) -> str:
    """How far a night without an alarm was held against others."""
    if not watch.is_placed:
        return f"no test fails tonight, but {_UNPLACED}"
    unknown = [check.statistic for check in watch.checks.values() if check.score is None]
    if len(unknown) == len(watch.checks):
        return "too few nights to compare with"
    if not unknown:
        return "all statistics as on other nights"
    names = ", ".join(name.replace("_", " ") for name in unknown)
    return f"all statistics as on other nights but those not known well enough yet: {names}"


def _is_of_the_surface(checks: Mapping[str, StatisticCheck]) -> bool:
    """Whether contrast did not follow the brightness as it does when a lamp changes."""
    surface, luminance = _move(checks, SURFACE_STATISTIC), _log_move(checks, "luminance")
    check = checks.get(SURFACE_STATISTIC)
    is_sure = check is not None and check.effect is not None and abs(check.effect) > 2
    return is_sure and abs(surface) > SURFACE_SHARE * abs(luminance)


def _rose_without_light(checks: Mapping[str, StatisticCheck]) -> bool:
    """Whether scores rose, and matching the light takes little of that away.

    What a lamp has clipped no matching brings back: then the rise is the light's.
    """
    check, clipped = checks.get(MATCHED_SCORE_STATISTIC), checks.get(CLIPPING_STATISTIC)
    if check is None or not check.is_alarm:
        return False
    if clipped is not None and clipped.is_alarm and _move(checks, CLIPPING_STATISTIC) > 0:
        return False
    matched, raw = _move(checks, MATCHED_SCORE_STATISTIC), _move(checks, "log_score")
    return matched > 0 and matched > UNMATCHED_SHARE * raw


def _move(checks: Mapping[str, StatisticCheck], statistic: str) -> float:
    check = checks.get(statistic)
    return 0.0 if check is None or check.expected is None else check.value - check.expected


def _log_move(checks: Mapping[str, StatisticCheck], statistic: str) -> float:
    check = checks.get(statistic)
    if check is None or not check.expected or check.value <= 0 or check.expected <= 0:
        return 0.0
    return math.log(check.value / check.expected)


def _alarms(
    checks: Mapping[str, StatisticCheck], statistics: tuple[str, ...]
) -> list[StatisticCheck]:
    return [checks[name] for name in statistics if name in checks and checks[name].is_alarm]


def _describe(checks: list[StatisticCheck]) -> str:
    farthest = sorted(checks, key=lambda check: -abs(check.effect or 0))
    return ", ".join(
        f"{check.statistic.replace('_', ' ')} {check.expected:.3f} -> {check.value:.3f} "
        f"({check.effect or 0:+.1f} sigma)"
        for check in farthest[:3]
    )


def _also(checks: list[StatisticCheck]) -> str:
    return f"; besides, {_describe(checks)}" if checks else ""


def _suspects(watch: Watch) -> str:
    count, outliers = watch.suspects, watch.outliers
    sentence = (
        f"{count.above} of {count.images} images are locally anomalous "
        f"(chance in a normal night {_chance(count)})"
    )
    if outliers.images:
        sentence += f", {outliers.above} stand out from their place ({_chance(outliers)})"
    return sentence


def _chance(count: CountCheck) -> str:
    return f"{count.chance:.2g}" if count.chance >= LEAST_CHANCE else f"below {LEAST_CHANCE:g}"


def _are_most(count: CountCheck) -> bool:
    return count.images > 0 and count.above >= MOST * count.images


def _is_alike(watch: Watch) -> bool:
    """Whether all images are held against their places, most do not stand out from them, and none
    does from the other images of the night."""
    outliers = watch.outliers
    is_known = outliers.images == watch.suspects.images
    return is_known and not _are_most(outliers) and outliers.chance > MAX_DEFECT_HINT


def _defect_chance(watch: Watch, is_dirt: bool) -> float:
    """Chance that an ordinary night looks as much like defects, by one witness or the other."""
    suspects, outliers = watch.suspects, watch.outliers
    if not outliers.images:
        return suspects.chance
    if is_dirt:  # it raises the scores of all images
        return outliers.chance
    return min(1.0, 2 * min(suspects.chance, outliers.chance))


def _alarming(count: CountCheck) -> str:
    return f"{count.above} of {count.images} images score above the threshold"
