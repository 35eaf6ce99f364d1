"""The rules of the gate: each looks at one thing and says what it saw, in a sentence.

Stated positively, so that a figure that is not a number fails. docs/decisions/0013 says why the
limits are these.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from reconad_plugin.detector.calibration import exceedance_p_value
from reconad_plugin.gate.comparison import (
    GAIN_CHANCE,
    RULE_CHANCE,
    Differences,
    Evidence,
    GoldenLabels,
    Ranking,
    Recall,
    beyond,
    unseen,
)

QUALITY, COST, GAIN = "quality", "cost", "gain"

AUROC_CHANCE: Final = 0.02  # that the rule on ranking refuses a challenger that is as good
LOSS_CHANCE: Final = 0.0025  # that one passes that is worse by MAX_AUROC_LOSS, whatever it gains
AUROC_MARGIN: Final = 0.02  # a difference in ranking that does not matter
MAX_AUROC_LOSS: Final = 0.05  # one that must not get through
RECALL_MARGIN: Final = 0.1  # at equal false alarms, few images swing by this much
FIRST_MIN_RECALL: Final = 0.3  # of golden anomalies above the threshold that would be in force
LEAST_OF_RECALL: Final = 0.4  # of what the champion would find; thresholds swing by much
FIRST_MIN_AUROC: Final = 0.6  # a first version must at least tell anomalies apart
FPR_GAIN: Final = 0.05  # false alarms must fall by this much to count as better
MIN_MAP_SPREAD: Final = 1e-3  # less is a map that says the same everywhere
MAX_MAP_COVERAGE: Final = 0.5  # more is a map that marks everything
COST_FACTOR: Final = 2  # times the champion's
FREE_SECONDS: Final = 1.0  # an image, whatever the champion takes; also of a first version
FREE_BYTES: Final = 500_000_000  # of weights, likewise


@dataclass(frozen=True)
class Check:
    """One rule with what it saw.

    Attributes:
        kind: ``quality``: is it at least as good; ``cost``: is it as quick and small; ``gain``:
            is it worth the change.
    """

    rule: str
    kind: str
    value: float
    limit: float
    is_passed: bool
    sentence: str


def scores_are_numbers(challenger: Evidence, champion: Evidence | None) -> Check:
    """Every other figure needs this."""
    wrong = [
        int((~np.isfinite(scores)).sum())
        for each in (challenger, champion)
        if each is not None
        for scores in (each.normal_scores, each.anomalous_scores)
    ]
    return Check(
        "scores",
        QUALITY,
        sum(wrong),
        0,
        sum(wrong) == 0,
        f"{sum(wrong[:2])} of the challenger's scores and {sum(wrong[2:])} of the champion's are "
        "no numbers (none wanted)",
    )


def maps_say_something(challenger: Evidence) -> Check:
    """A map that is alike everywhere points at nothing."""
    return Check(
        "map_spread",
        QUALITY,
        challenger.map_spread,
        MIN_MAP_SPREAD,
        challenger.map_spread > MIN_MAP_SPREAD,
        f"maps vary by {challenger.map_spread:.3g} of their mean (more than {MIN_MAP_SPREAD:g} "
        "wanted)",
    )


def maps_mark_a_part(challenger: Evidence) -> Check:
    """Nor does a map that marks normal images all over."""
    return Check(
        "map_coverage",
        QUALITY,
        challenger.map_coverage,
        MAX_MAP_COVERAGE,
        challenger.map_coverage <= MAX_MAP_COVERAGE,
        f"{challenger.map_coverage:.1%} of the pixels of normal images lie above half of what "
        f"anomalous images peak at (at most {MAX_MAP_COVERAGE:.0%} wanted)",
    )


def false_alarms_bounded(challenger: Evidence, labels: GoldenLabels, target_fpr: float) -> Check:
    """Normal images of the last nights alarm as the threshold promises, but for chance."""
    alarms = challenger.normal_alarms[labels.is_recent]
    nights = labels.recent_nights
    fpr = float(alarms.mean()) if len(alarms) else math.nan
    chance = exceedance_p_value(
        int(alarms.sum()),
        len(alarms),
        challenger.calibration_images,
        challenger.calibration_alarms,
    )
    over = f"of {len(nights)} nights, {nights[0]} to {nights[-1]}," if nights else "of no night"
    return Check(
        "false_alarms",
        QUALITY,
        fpr,
        target_fpr,
        fpr <= target_fpr or (fpr > target_fpr and chance >= RULE_CHANCE),
        f"{fpr:.1%} of {len(alarms)} held-out normal images {over} would alarm, and so many are "
        f"chance with {chance:.2g} (wanted: at most {target_fpr:.1%}, or what chance gives in "
        f"{RULE_CHANCE:.0%} of cases)",
    )


def finds_anomalies(
    challenger: Evidence, champion: Evidence | None, kind: str, target_fpr: float
) -> Check:
    """Fewer false alarms bought with a threshold above everything are no improvement."""
    limit = FIRST_MIN_RECALL
    if champion is not None:
        found = champion.anomalous_scores > champion.threshold_at(target_fpr)
        limit = LEAST_OF_RECALL * float(found.mean())
    return Check(
        "recall",
        QUALITY,
        challenger.recall,
        limit,
        challenger.recall >= limit,
        f"{challenger.recall:.1%} of {kind} anomalies lie above its threshold (at least "
        f"{limit:.1%} wanted)",
    )


def ranks_no_worse(challenger: Evidence, champion: Evidence, kind: str, ranking: Ranking) -> Check:
    """image_AUROC falls short of the champion's by no more than chance gives."""
    limit = -min(max(AUROC_MARGIN, beyond(AUROC_CHANCE, ranking)), MAX_AUROC_LOSS)
    low, high = ranking.interval
    return Check(
        "auroc_no_worse",
        QUALITY,
        ranking.value,
        limit,
        ranking.value >= limit,
        f"image_AUROC {challenger.auroc:.3f} against the champion's {champion.auroc:.3f} on the "
        f"same {kind} anomalies: {ranking.value:+.3f}, 95% between {low:+.3f} and {high:+.3f} (at "
        f"least {limit:+.3f} wanted)",
    )


def misses_no_more(recall: Recall, kind: str) -> Check:
    """Nor does recall at equal false alarms, of all anomalies or of one type."""
    limit = min(-RECALL_MARGIN, recall.chance_low)
    what = f"anomalies of type {recall.defect}" if recall.defect else f"{kind} anomalies"
    return Check(
        f"recall_no_worse:{recall.defect}" if recall.defect else "recall_no_worse",
        QUALITY,
        recall.difference,
        limit,
        recall.difference >= limit,
        f"at equal false alarms it finds {recall.challenger:.1%} of {recall.images} {what}, the "
        f"champion {recall.champion:.1%}: {recall.difference:+.1%} (at least {limit:+.1%} wanted; "
        f"chance gives down to {recall.chance_low:+.1%})",
    )


def sees_every_defect(differences: Differences, kind: str) -> Check:
    """No defect that the champion finds looks like a normal part."""
    names = ", ".join(differences.newly_missed[:3])
    shown = f" ({names}{', ...' if differences.misses > 3 else ''})" if names else ""
    return Check(
        "newly_missed",
        QUALITY,
        differences.misses,
        0,
        differences.misses == 0,
        f"{differences.misses} {kind} anomalies that the champion finds score below half of the "
        f"normal images{shown} (none wanted)",
    )


def is_quick(challenger: Evidence, champion: Evidence | None) -> Check:
    """Scoring takes no longer than the champion or a service can bear."""
    allowed = COST_FACTOR * champion.seconds_per_image if champion else 0.0
    limit = max(FREE_SECONDS, allowed)
    return Check(
        "latency",
        COST,
        challenger.seconds_per_image,
        limit,
        challenger.seconds_per_image <= limit,
        f"scores an image in {challenger.seconds_per_image:.3g} s (at most {limit:.3g} s wanted)",
    )


def is_small(challenger: Evidence, champion: Evidence | None) -> Check:
    """The same of the size of the weights."""
    limit = max(FREE_BYTES, COST_FACTOR * champion.size_bytes if champion else 0)
    return Check(
        "size",
        COST,
        challenger.size_bytes,
        limit,
        challenger.size_bytes <= limit,
        f"its weights take {challenger.size_bytes / 1e6:.1f} MB (at most {limit / 1e6:.0f} MB "
        "wanted)",
    )


def first_is_useful(challenger: Evidence, kind: str) -> Check:
    """With no champion to compare with, a version must tell anomalies apart."""
    return Check(
        "first_version_auroc",
        QUALITY,
        challenger.auroc,
        FIRST_MIN_AUROC,
        challenger.auroc >= FIRST_MIN_AUROC,
        f"image_AUROC {challenger.auroc:.3f} on {kind} anomalies (at least {FIRST_MIN_AUROC:g} "
        "wanted of a first version)",
    )


def is_better(
    challenger: Evidence,
    champion: Evidence,
    labels: GoldenLabels,
    ranking: Ranking,
    recall: Recall,
) -> Check:
    """Fewer false alarms, a better ranking or recall, and proof that no ranking pays for it."""
    ours, theirs = (each.normal_alarms[labels.is_recent] for each in (challenger, champion))
    ended, begun = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    chance = float(stats.binom.sf(ended - 1, ended + begun, 0.5))  # sign test on what changed
    is_quieter = len(ours) > 0 and (ended - begun) / len(ours) >= FPR_GAIN
    gains = {
        "fewer alarms": is_quieter and chance <= GAIN_CHANCE,
        "ranking": ranking.value > max(AUROC_MARGIN, beyond(GAIN_CHANCE, ranking)),
        "recall": recall.difference > max(RECALL_MARGIN, recall.chance_high),
    }
    hidden = unseen(LOSS_CHANCE, len(challenger.anomalous_scores))
    lowest = ranking.value - max(beyond(LOSS_CHANCE, ranking), hidden)
    is_proven = lowest > -MAX_AUROC_LOSS
    sentence = (
        f"better in {' and '.join(name for name in gains if gains[name]) or 'nothing'}: of "
        f"{len(ours)} recent normal images {theirs.sum()} would alarm with the champion and "
        f"{ours.sum()} now, of the anomalies {champion.recall:.1%} and {challenger.recall:.1%}; "
        f"image_AUROC {ranking.value:+.3f}, recall at equal false alarms "
        f"{recall.difference:+.1%} (wanted, beyond chance: alarms down by {FPR_GAIN:.0%}, or AUROC "
        f"up by more than {AUROC_MARGIN:g}, or recall by more than {RECALL_MARGIN:.0%})"
    )
    if not is_proven and ranking.value > -MAX_AUROC_LOSS:  # else more images would not help
        sentence += (
            f"; {len(challenger.normal_scores)} normal and {len(challenger.anomalous_scores)} "
            f"anomalous images cannot exclude that AUROC is worse by {MAX_AUROC_LOSS:g} (it may be "
            f"{lowest:+.3f}): bring more"
        )
    is_passed = is_proven and any(gains.values())
    return Check("is_better", GAIN, sum(gains.values()), 1, is_passed, sentence)
