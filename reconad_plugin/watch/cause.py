"""Why a night is out of the ordinary, and what that allows.

Defects come first: a night that may hold defects is never learnt from. What separates a change of
light from a defect is the score after the picture's light was matched to the reference. A lamp
moves all pictures, and matching undoes it; a defect stays.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reconad_plugin.watch import explanation as words
from reconad_plugin.watch import statistics
from reconad_plugin.watch.night_tests import Watch
from reconad_plugin.watch.results import StatisticCheck

NONE, UNCLEAR, DEFECTS = "none", "unclear", "defects"
LIGHT, CAMERA, PROCESS = "light", "camera", "process"
CAUSES: Final = (LIGHT, CAMERA, PROCESS, DEFECTS, UNCLEAR)  # of an alarm
LEARNING_CAUSES: Final = (LIGHT, PROCESS)  # only these lead to fine-tuning
# of all others a person decides
HOLDING_CAUSES: Final = tuple(cause for cause in CAUSES if cause not in LEARNING_CAUSES)
_HELD: Final = "the night is held: review its images"
_FAULTY: Final = (
    "the night is held: look at the camera and at what brings its pictures, then review its "
    "images; what is meant to stay so, end with `reconad resolve`"
)
ADVICE: Final = {  # what a person is to know and to do
    LIGHT: "fine-tuning follows; look at the lamp",
    CAMERA: "the night is held: look at lens, focus and mounting, then review its images",
    PROCESS: "fine-tuning follows; ask what changed in production",
    DEFECTS: _HELD,
    UNCLEAR: _HELD,
}

# A cause that leads to learning must not even hint at defects: suspects and images that stand out
# have to be what more than one normal night in ten shows, far short of an alarm.
MAX_DEFECT_HINT: Final = 0.1

# Where the camera moved and so many images look wrong, the images say nothing of defects. And
# where so many stand out from their cells, and ``MANY`` are suspects, neither dirt nor clipping
# explains the suspects: the night may be defective throughout.
MOST: Final = 0.5
MANY: Final = 1 / 3

# A lamp scales brightness and contrast alike. Where their ratio moved by more than this share of
# what the brightness did, the surface itself looks different.
SURFACE_SHARE: Final = 0.3

# Matching the light must take away at least so much of what the scores rose by.
UNMATCHED_SHARE: Final = 0.5

CLIPPING_STATISTIC: Final = "clipped_share"
_UNPLACED: Final = "the camera was at no position that the nights before know"

FOLLOWS_LIGHT: Final = "noise"  # more light, less noise: it says nothing of the camera then


@dataclass(frozen=True)
class Triage:
    """The cause of a night's alarm."""

    is_alarm: bool  # whether there is one
    cause: str  # `none`, `light`, `camera`, `process`, `defects` or `unclear`
    explanation: str  # what happened, what to do, and the numbers that the cause rests on
    also: tuple[str, ...] = ()  # further causes that are seen, besides
    is_raised: bool = True  # whether a test fails tonight; False where an alarm is only still open

    @property
    def is_learning(self) -> bool:
        """Whether fine-tuning is the right answer."""
        return self.is_raised and self.cause in LEARNING_CAUSES

    @property
    def is_holding(self) -> bool:
        """Whether the night's images wait for a person."""
        return self.cause in HOLDING_CAUSES


@dataclass(frozen=True)
class _Signs:
    """What the tests that fail on a night point at."""

    watch: Watch  # what all tests say
    light: list[StatisticCheck]  # tests of the light that fail
    # tests of the camera that fail, and that a change of light does not explain
    camera: list[StatisticCheck]
    surface: list[StatisticCheck]  # tests of the surface that fail
    scores: list[StatisticCheck]  # tests of the scores that fail
    is_process: bool  # whether the surface looks different in a way that no lamp does

    @classmethod
    def of(cls, watch: Watch, still_open: str) -> "_Signs":
        checks = watch.checks
        light = _failing(checks, statistics.LIGHT_STATISTICS)
        camera = _failing(checks, statistics.CAMERA_STATISTICS)
        if light and still_open != CAMERA:
            camera = [check for check in camera if check.statistic != FOLLOWS_LIGHT]
        surface = _failing(checks, (statistics.SURFACE_STATISTIC,))
        is_process = bool(surface or light) and _is_of_the_surface(checks)
        return cls(
            watch, light, camera, surface, _failing(checks, statistics.SCORE_STATISTICS), is_process
        )

    @property
    def moved(self) -> list[StatisticCheck]:
        return self.light + self.camera + self.surface + self.scores

    @property
    def is_clipped(self) -> bool:
        """Whether the light clips more than before, which no matching brings back."""
        return _clips_more(self.watch.checks)

    @property
    def is_dirt(self) -> bool:
        """Whether dirt, or a lamp that clips, raises the scores of all images alike."""
        return (self.is_process or self.is_clipped) and _is_alike(self.watch)

    @property
    def has_defects(self) -> bool:
        has_suspects = self.watch.suspects.is_alarm and not self.is_dirt
        return self.watch.contrast.is_alarm or has_suspects

    @property
    def is_camera(self) -> bool:
        return bool(self.camera or self.watch.faults)

    @property
    def is_alarm(self) -> bool:
        is_counted = self.has_defects or self.watch.above_threshold.is_alarm
        return bool(self.moved) or self.is_camera or is_counted

    @property
    def is_masked(self) -> bool:
        """Whether the camera moved and most images look wrong, which says nothing of defects."""
        is_most = max(self.watch.suspects.share, self.watch.contrast.share) >= MOST
        return bool(self.camera) and self.has_defects and is_most

    @property
    def is_hinted(self) -> bool:
        """Whether the night looks more like defects than a cause that leads to learning may."""
        return _defect_chance(self.watch, self.is_dirt) <= MAX_DEFECT_HINT

    @property
    def causes(self) -> tuple[str, ...]:
        """All causes that are seen."""
        seen = {
            DEFECTS: self.has_defects,
            CAMERA: self.is_camera,
            PROCESS: self.is_process,
            LIGHT: bool(self.light) and not self.is_process,
        }
        return tuple(cause for cause, is_seen in seen.items() if is_seen)

    @property
    def cause(self) -> str:
        """The cause by the first rule that holds."""
        rules = (
            (self.is_masked, CAMERA),
            (self.has_defects, DEFECTS),
            (self.is_camera, CAMERA),
            (self.is_hinted or self.is_rise, UNCLEAR),
            (self.is_process, PROCESS),
            (bool(self.light), LIGHT),
        )
        return next((cause for holds, cause in rules if holds), PROCESS)

    @property
    def is_rise(self) -> bool:
        """Whether the scores rose, and neither the light nor the surface explains it."""
        return _rose_without_light(self.watch.checks) and not self.is_process


def find_cause(watch: Watch, still_open: str = NONE) -> Triage:
    """Name the cause of a night's alarm, where ``still_open`` is the cause of an alarm of the night
    before that nobody has resolved."""
    signs = _Signs.of(watch, still_open)
    if not signs.is_alarm:
        return _quiet(watch, still_open)
    cause = signs.cause
    also = tuple(each for each in signs.causes if each != cause)
    return Triage(True, cause, _explain(cause, signs), also)


def _explain(cause: str, signs: _Signs) -> str:
    """Say what happened, what to do, and the numbers of the images."""
    happened, besides = _happened(cause, signs)
    suspects = words.describe_suspects(signs.watch.suspects, signs.watch.contrast)
    advice = _FAULTY if signs.watch.faults else ADVICE[cause]
    return words.in_sentences(*happened, advice, suspects, besides)


def _happened(cause: str, signs: _Signs) -> tuple[list[str], str]:
    """Say what happened, and what there is besides."""
    count = words.describe_count(signs.watch.above_threshold)
    faults = words.describe_faults(signs.watch.faults)
    if cause == DEFECTS:
        besides = f"besides, {words.describe_moves(signs.moved)}" if signs.moved else ""
        return ["images look defective as on no ordinary night", *faults], besides
    if cause == CAMERA:
        others = signs.light + signs.surface
        besides = f"besides, {words.describe_moves(others)}" if others else ""
        if signs.is_masked:
            besides = "a camera that moved makes any image look so"
        moves = [words.describe_moves(signs.camera)] if signs.camera else []
        return [*faults, *moves], besides
    if cause == UNCLEAR:
        moved = signs.moved if signs.is_hinted else signs.scores
        what = words.describe_moves(moved) if moved else count
        return [f"{what}, and defects cannot be ruled out"], ""
    if signs.is_process:
        return [words.describe_moves(signs.surface + signs.light), "no lamp alone does that"], ""
    if cause == LIGHT:
        return [words.describe_moves(signs.light)], ""
    what = words.describe_moves(signs.scores) if signs.scores else count
    return [f"light and camera are as before, but {what}"], ""


def _quiet(watch: Watch, still_open: str) -> Triage:
    unsettled = [check for check in watch.checks.values() if not check.is_settled]
    suspects = words.describe_suspects(watch.suspects, watch.contrast)
    if still_open != NONE and (unsettled or not watch.is_placed):
        remains = words.describe_moves(unsettled) if unsettled else _UNPLACED
        explanation = words.in_sentences(
            f"the alarm about {still_open} stays open: no test fails tonight, but {remains}",
            _HELD if still_open in HOLDING_CAUSES else "",
            "it ends when the nights are as before, or with `reconad resolve`",
            suspects,
        )
        return Triage(True, still_open, explanation, is_raised=False)
    ended = "" if still_open == NONE else f"the alarm about {still_open} has ended"
    return Triage(False, NONE, words.in_sentences(ended, _compared(watch), suspects))


def _compared(watch: Watch) -> str:
    """How far a night without an alarm was compared with others."""
    if not watch.is_placed:
        return f"no test fails tonight, but {_UNPLACED}"
    unknown = [check for check in watch.checks.values() if check.score is None]
    if len(unknown) == len(watch.checks):
        return "there are too few nights to compare with"
    if not unknown:
        return "all is as on other nights"
    names = words.names_of(unknown)
    return f"all is as on other nights but what is not known well enough yet: {names}"


def _is_of_the_surface(checks: Mapping[str, StatisticCheck]) -> bool:
    """Whether contrast did not follow the brightness as it does when a lamp changes."""
    surface, luminance = _move(checks, statistics.SURFACE_STATISTIC), _log_move(checks, "luminance")
    check = checks.get(statistics.SURFACE_STATISTIC)
    is_sure = check is not None and check.effect is not None and abs(check.effect) > 2
    return is_sure and abs(surface) > SURFACE_SHARE * abs(luminance)


def _rose_without_light(checks: Mapping[str, StatisticCheck]) -> bool:
    """Whether scores rose, and matching the light takes little of that away.

    What a lamp has clipped no matching brings back: then the rise is the light's.
    """
    check = checks.get(statistics.MATCHED_SCORE_STATISTIC)
    if check is None or not check.is_alarm or _clips_more(checks):
        return False
    matched, raw = _move(checks, statistics.MATCHED_SCORE_STATISTIC), _move(checks, "log_score")
    return matched > 0 and matched > UNMATCHED_SHARE * raw


def _clips_more(checks: Mapping[str, StatisticCheck]) -> bool:
    clipped = checks.get(CLIPPING_STATISTIC)
    return clipped is not None and clipped.is_alarm and _move(checks, CLIPPING_STATISTIC) > 0


def _move(checks: Mapping[str, StatisticCheck], statistic: str) -> float:
    check = checks.get(statistic)
    return 0.0 if check is None or check.expected is None else check.value - check.expected


def _log_move(checks: Mapping[str, StatisticCheck], statistic: str) -> float:
    check = checks.get(statistic)
    if check is None or not check.expected or check.value <= 0 or check.expected <= 0:
        return 0.0
    return math.log(check.value / check.expected)


def _failing(checks: Mapping[str, StatisticCheck], names: tuple[str, ...]) -> list[StatisticCheck]:
    return [checks[name] for name in names if name in checks and checks[name].is_alarm]


def _is_alike(watch: Watch) -> bool:
    """Whether all images are compared with their cells, none stands out from the other images of
    the night, and not so many look anomalous that the night may be defective throughout."""
    contrast, suspects = watch.contrast, watch.suspects
    is_known = contrast.images == suspects.images
    is_throughout = contrast.share >= MOST and suspects.share >= MANY
    return is_known and not is_throughout and contrast.chance > MAX_DEFECT_HINT


def _defect_chance(watch: Watch, is_dirt: bool) -> float:
    """Chance that an ordinary night looks as much like defects, by either test."""
    suspects, contrast = watch.suspects, watch.contrast
    if not contrast.images:
        return suspects.chance
    if is_dirt:  # it raises the scores of all images
        return contrast.chance
    return min(1.0, 2 * min(suspects.chance, contrast.chance))
