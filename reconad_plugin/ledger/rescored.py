"""What another version says of past nights, beside what was said of them then."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from reconad_plugin.detector.calibration import Calibration
from reconad_plugin.ledger.manifest import QUARANTINED
from reconad_plugin.metrics.intervals import count_parts
from reconad_plugin.watch.night_tests import chance_of
from reconad_plugin.watch.statistics import Exceedances

FEWEST_CHANCE: Final = 0.05  # of all nights together, that a normal one is said to stand out
LEAST_SAID: Final = 0.001  # a chance below it is no more than its law's tail
NOW: Final = ("score_now", "threshold_now", "label_now", "p_value", "error")
_THEN: Final = ("score_then", "label_then", "version_then", "threshold_then")
COLUMNS: Final = ("night", "key", "position", *_THEN, *NOW, "is_learnt")


@dataclass(frozen=True)
class RescoredImages:
    """What was said of images then and now: those of a night, or of one position of its camera."""

    night: str  # `YYYY-MM-DD`
    position: str | None  # of the camera; None for all of the night
    images: int  # accepted ones that the version scored
    learnt: int  # of them, that it was fitted to
    unreadable: int  # accepted ones that cannot be read any more
    quarantined: int  # that nobody scores
    compared: int  # of ``images``, that have a score of then
    versions_then: tuple[str, ...]  # that gave them
    above_then: int  # of the compared ones, labelled anomalous then
    above_now: int  # of ``images``, labelled anomalous
    newly_above: int  # of the compared ones, now and not then
    no_longer_above: int  # of them, then and not now
    worst_score: float | None  # the highest now; None without any image


@dataclass(frozen=True)
class RescoredNight:
    """A night, by camera position where it has positions, and what chance makes of it."""

    whole: RescoredImages
    by_position: tuple[RescoredImages, ...]  # empty where it has none
    unsaid: int  # images above the threshold now that nobody said so of, and not learnt
    fresh: int  # images that were not learnt
    # that a normal night shows the version at least so many of them
    chance: float

    @property
    def groups(self) -> tuple[RescoredImages, ...]:
        """What a table shows of it."""
        return self.by_position or (self.whole,)


def compare(
    now: pd.DataFrame, then: pd.DataFrame | None, threshold_of: Callable[[str], float | None]
) -> pd.DataFrame:
    """Put what a version says now of a night's images beside what was said then.

    Args:
        now: one row an image: ``night``, ``key``, ``position``, ``sha256``, ``is_learnt`` and
            ``NOW``; without a score where it cannot be read.
        then: the night's table of scores, or None.
        threshold_of: the threshold of a version; None where nobody knows it.

    Returns:
        As many rows with ``COLUMNS``; empty where nothing was said then.
    """
    if then is None:
        return now.assign(**dict.fromkeys(_THEN))[list(COLUMNS)]
    said = then.assign(version_then=then.get("model_version"))
    said = said.rename(columns={"pred_score": "score_then", "pred_label": "label_then"})
    said = said[["key", "sha256", *_THEN[:3]]].drop_duplicates(["key", "sha256"])
    both = now.merge(said, how="left", on=["key", "sha256"])
    known = {each: threshold_of(str(each)) for each in both["version_then"].dropna().unique()}
    both["threshold_then"] = both["version_then"].map(known)
    return both[list(COLUMNS)]


def summarise(
    night: str,
    compared: pd.DataFrame,
    manifest: pd.DataFrame,
    calibration: Calibration,
    parts: Sequence[str],
) -> RescoredNight:
    """Count what was said of a night then and now.

    Only images that the version did not learn, and that were not said to be above the threshold
    already, speak for it. Where parts are told, a count weighs as much as the same share of them.

    Args:
        night: ``YYYY-MM-DD``.
        compared: as ``compare`` returns it.
        manifest: of the night.
        calibration: of the version.
        parts: that each row shows; empty where none are told.
    """
    lost = manifest[manifest["verdict"] == QUARANTINED]
    positions = sorted({*compared["position"], *lost["position"]})
    by_position = tuple(
        _count(night, each, compared[compared["position"] == each], lost[lost["position"] == each])
        for each in (positions if any(positions) else ())
    )
    is_fresh = (compared["score_now"].notna() & ~compared["is_learnt"].astype(bool)).to_numpy()
    fresh = compared[is_fresh]
    was_said = fresh["label_then"].eq(True)
    unsaid = int((fresh["label_now"].eq(True) & ~was_said).sum())
    shown = [each for each, is_one in zip(parts, is_fresh, strict=True) if is_one] if parts else []
    independent = count_parts(shown, len(fresh))
    seen = Exceedances(
        above=unsaid * independent // max(1, len(fresh)),
        images=independent,
        calibration_images=calibration.independent_images,
        calibration_above=round(calibration.independent_at_threshold),
    )
    whole = _count(night, None, compared, lost)
    return RescoredNight(whole, by_position, unsaid, len(fresh), chance_of(seen))


def clear_nights(nights: Collection[RescoredNight]) -> list[RescoredNight]:
    """Return the nights, in their order, of which a version sees clearly more than was said then.

    Of so many normal nights together one is among them by a chance of ``FEWEST_CHANCE`` at most.
    """
    return [night for night in nights if night.chance <= FEWEST_CHANCE / len(nights)]


def describe_first(nights: Sequence[RescoredNight], version: str, calibration: Calibration) -> str:
    """Say in words since when a version sees clearly more, and what that rests on."""
    low, high = calibration.fpr_interval
    rate = (
        f"its false-positive rate on normal pictures is {100 * low:.1f} to {100 * high:.1f} % "
        "(95 % interval)"
    )
    clear = clear_nights(nights)
    if not clear:
        return (
            f"On none of {len(nights)} nights does version {version} see clearly more than was "
            f"said then: {rate}. That does not prove that nothing was there"
        )
    first = clear[0]
    often = (
        f"{1 / first.chance:,.0f}" if first.chance > LEAST_SAID else f"over {1 / LEAST_SAID:,.0f}"
    )
    return (
        f"{first.whole.night} is the first night of which version {version} sees clearly more than "
        f"was said then: {first.unsaid} of {first.fresh} pictures that it did not learn are newly "
        f"above its threshold. By chance a normal night shows so many once in {often}; {rate}. "
        "Whether it is a defect or another light is for a person to see"
    )


def _count(
    night: str, position: str | None, images: pd.DataFrame, lost: pd.DataFrame
) -> RescoredImages:
    scored = images[images["score_now"].notna()]
    both = scored[scored["score_then"].notna()]
    now, then = both["label_now"].eq(True), both["label_then"].eq(True)
    return RescoredImages(
        night=night,
        position=position,
        images=len(scored),
        learnt=int(scored["is_learnt"].sum()),
        unreadable=len(images) - len(scored),
        quarantined=len(lost),
        compared=len(both),
        versions_then=tuple(sorted({*both["version_then"].dropna().astype(str)})),
        above_then=int(then.sum()),
        above_now=int(scored["label_now"].eq(True).sum()),
        newly_above=int((now & ~then).sum()),
        no_longer_above=int((then & ~now).sum()),
        worst_score=float(scored["score_now"].max()) if len(scored) else None,
    )
