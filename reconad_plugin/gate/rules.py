"""The rules of the gate: each checks one thing and says what it saw, in a sentence.

They are stated positively, so that a figure that is not a number fails. Their numbers stand in
``limits``; docs/decisions/0013 says why these rules are asked.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.gate.comparison import (
    Differences,
    Ranking,
    Recall,
    beyond,
    sign_test,
    unseen,
)
from reconad_plugin.gate.golden import GoldenLabels
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.gate.scored_golden import ScoredGoldenSet
from reconad_plugin.metrics.intervals import exceedance_p_value

QUALITY, COST, GAIN = "quality", "cost", "gain"


@dataclass(frozen=True)
class LivePictures:
    """Pictures that the champion served and the challenger saw as a shadow."""

    challenger: NDArray[np.bool_]  # (N,) whether it would have flagged each
    champion: NDArray[np.bool_]  # (N,) whether the champion did


@dataclass(frozen=True)
class Check:
    """One rule with what it saw."""

    rule: str
    # `quality`: is it at least as good; `cost`: is it as quick and small; `gain`: is it worth the
    # change
    kind: str
    value: float
    limit: float
    is_passed: bool
    sentence: str


@dataclass(frozen=True)
class Said:
    """How a rule speaks: what it found and what to do, and then the numbers."""

    passed: str
    failed: str
    numbers: str

    def of(self, is_passed: bool) -> str:
        """Write the sentence."""
        return f"{self.passed if is_passed else self.failed} ({self.numbers})"


def scores_are_numbers(challenger: ScoredGoldenSet, champion: ScoredGoldenSet | None) -> Check:
    """Check that every score is a number; all other figures need this."""
    ours, theirs = (
        0 if each is None else sum(int((~np.isfinite(scores)).sum()) for scores in _scores(each))
        for each in (challenger, champion)
    )
    said = Said(
        "all scores are numbers",
        "some scores are no numbers: train anew with a lower learning rate",
        f"{ours} of the challenger's and {theirs} of the champion's are none",
    )
    return _at_most("scores", ours + theirs, 0, said)


def _scores(scored: ScoredGoldenSet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return scored.normal_scores, scored.anomalous_scores


def _at_least(rule: str, value: float, limit: float, said: Said) -> Check:
    is_passed = value >= limit
    return Check(rule, QUALITY, value, limit, is_passed, said.of(is_passed))


def _at_most(rule: str, value: float, limit: float, said: Said, kind: str = QUALITY) -> Check:
    is_passed = value <= limit
    return Check(rule, kind, value, limit, is_passed, said.of(is_passed))


def maps_say_something(challenger: ScoredGoldenSet) -> Check:
    """Check that maps vary: one that is alike everywhere points at nothing."""
    spread, limit = challenger.map_spread, LIMITS.min_map_spread
    said = Said(
        "its maps point at places",
        "its maps are alike everywhere and point at nothing: train longer, or take another model",
        f"they vary by {spread:.3g} of their mean; more than {limit:g} is asked",
    )
    is_passed = spread > limit
    return Check("map_spread", QUALITY, spread, limit, is_passed, said.of(is_passed))


def maps_mark_a_part(challenger: ScoredGoldenSet) -> Check:
    """Check that maps do not mark normal images all over."""
    said = Said(
        "its maps leave normal places unmarked",
        "its maps mark normal images all over: train longer, or take another model",
        f"{challenger.map_coverage:.1%} of the pixels of normal images lie above half of what "
        f"anomalous images peak at; at most {LIMITS.max_map_coverage:.0%} is asked",
    )
    return _at_most("map_coverage", challenger.map_coverage, LIMITS.max_map_coverage, said)


def false_alarms_bounded(
    challenger: ScoredGoldenSet, labels: GoldenLabels, target_fpr: float
) -> Check:
    """Check that of the normal images of the last nights no more lie above the threshold than it
    promises, but for chance."""
    flagged, nights = challenger.normal_flagged[labels.is_recent], labels.recent_nights
    fpr = float(flagged.mean()) if len(flagged) else math.nan
    calibration = challenger.calibration_images, challenger.calibration_flagged
    chance = exceedance_p_value(*_by_parts(flagged, labels), *calibration)
    over = f"of {len(nights)} nights, {nights[0]} to {nights[-1]}," if nights else "of no night"
    is_passed = fpr <= target_fpr or (fpr > target_fpr and chance >= LIMITS.quality_rule_chance)
    said = Said(
        "it rejects no more normal images than it promises",
        "it rejects too many normal images: bring more of such nights",
        f"{fpr:.1%} of {len(flagged)} held-out normal images {over} lie above its threshold, the "
        f"chance of so many is {chance:.2g}; at most {target_fpr:.1%} is asked, or what chance "
        f"gives in {LIMITS.quality_rule_chance:.0%} of cases",
    )
    return Check("false_alarms", QUALITY, fpr, target_fpr, is_passed, said.of(is_passed))


def _by_parts(flagged: NDArray[np.bool_], labels: GoldenLabels) -> tuple[int, int]:
    """Return of how many recent images so many are flagged; where parts are told, of so many parts
    as large a share, rounded down."""
    parts = len(set(labels.part_of_normal[labels.is_recent].tolist()))
    return int(flagged.sum()) * parts // max(1, len(flagged)), parts


def live_alarms_bounded(live: LivePictures) -> Check:
    """Check that of the pictures that were served it flags no more than the champion did, but for
    chance: it saw them as a shadow."""
    more, less = live.challenger & ~live.champion, live.champion & ~live.challenger
    chance = sign_test(more, less, np.arange(len(more)))
    said = Said(
        "it rejects no more served pictures than the champion",
        "it rejects more served pictures than the champion: look at them in the prediction log",
        f"of {len(more)} pictures that it saw as a shadow, {more.sum()} lie above its threshold "
        f"alone and {less.sum()} above the champion's alone, the chance of so many more is "
        f"{chance:.2g}; at least {LIMITS.quality_rule_chance:g} is asked",
    )
    return _at_least("live_alarms", chance, LIMITS.quality_rule_chance, said)


def finds_anomalies(
    challenger: ScoredGoldenSet, champion: ScoredGoldenSet | None, kind: str, target_fpr: float
) -> Check:
    """Check that its own threshold finds anomalies: fewer false alarms, bought with a threshold
    above everything, are no improvement."""
    limit = LIMITS.first_min_recall
    if champion is not None:
        found = float((champion.anomalous_scores > champion.threshold_at(target_fpr)).mean())
        limit = max(LIMITS.min_share_of_recall * found, found - LIMITS.max_recall_loss)
    said = Said(
        "its threshold finds enough anomalies",
        "its threshold is too high to find anomalies: bring more normal images",
        f"{challenger.recall:.1%} of {kind} anomalies lie above it; at least {limit:.1%} is asked",
    )
    return _at_least("recall", challenger.recall, limit, said)


def ranks_no_worse(
    challenger: ScoredGoldenSet, champion: ScoredGoldenSet, kind: str, ranking: Ranking
) -> Check:
    """Check that image_AUROC falls short of the champion's by no more than chance gives."""
    by_chance = max(LIMITS.auroc_margin, beyond(LIMITS.auroc_rule_chance, ranking))
    limit = -min(by_chance, LIMITS.max_auroc_loss)
    low, high = ranking.interval
    said = Said(
        "it tells anomalous from normal images no worse than the champion",
        "it tells anomalous from normal images worse than the champion, which stays",
        f"image_AUROC {challenger.auroc:.3f} against {champion.auroc:.3f} on the same {kind} "
        f"anomalies: {ranking.value:+.3f}, 95% between {low:+.3f} and {high:+.3f}; at least "
        f"{limit:+.3f} is asked",
    )
    return _at_least("auroc_no_worse", ranking.value, limit, said)


def misses_no_more(recall: Recall, kind: str) -> Check:
    """Check the same of recall at equal false alarms, of all anomalies or of one type."""
    limit = min(-LIMITS.recall_margin, recall.chance_low)
    rule, what = "recall_no_worse", f"{kind} anomalies"
    if recall.defect:
        rule, what = f"recall_no_worse:{recall.defect}", f"anomalies of type {recall.defect}"
    said = Said(
        f"it finds {what} as the champion does",
        f"it finds fewer {what} than the champion, which stays",
        f"at equal false alarms {recall.challenger:.1%} of {recall.images}, the champion "
        f"{recall.champion:.1%}: {recall.difference:+.1%}; at least {limit:+.1%} is asked, chance "
        f"gives down to {recall.chance_low:+.1%}",
    )
    return _at_least(rule, recall.difference, limit, said)


def sees_every_defect(differences: Differences) -> Check:
    """Check that no real defect which the champion finds looks like a normal part, and of simulated
    anomalies no more than chance gives: some are hardly visible, and alike versions swap them."""
    real, simulated, back = (
        differences.misses,
        differences.simulated_misses,
        differences.simulated_gains,
    )
    chance = differences.simulated_chance
    most = LIMITS.named_in_a_sentence
    names = ", ".join(differences.newly_missed[:most])
    shown = f": {names}{', ...' if real + simulated > most else ''}" if names else ""
    said = Said(
        "it misses no defect that the champion finds",
        f"it takes defects for normal that the champion finds{shown}",
        f"{real} real and {simulated} simulated anomalies that the champion finds score below half "
        f"of the normal images, of simulated ones {back} the other way round; no real one is "
        f"asked, and simulated ones as chance gives in {LIMITS.quality_rule_chance:.0%} of cases",
    )
    counted = real + (simulated if chance < LIMITS.quality_rule_chance else 0)
    return _at_most("newly_missed", counted, 0, said)


def is_quick(challenger: ScoredGoldenSet, champion: ScoredGoldenSet | None) -> Check:
    """Check that scoring takes no longer than twice the champion's time, or a service can bear."""
    allowed = LIMITS.max_cost_factor * champion.seconds_per_image if champion else 0.0
    took, limit = challenger.seconds_per_image, max(LIMITS.free_seconds, allowed)
    said = Said(
        "it scores quickly enough",
        "it scores too slowly: take a smaller model or smaller pictures",
        f"{took:.3g} s an image; at most {limit:.3g} s is asked",
    )
    return _at_most("latency", took, limit, said, COST)


def is_small(challenger: ScoredGoldenSet, champion: ScoredGoldenSet | None) -> Check:
    """Check the same of the size of the weights."""
    allowed = LIMITS.max_cost_factor * champion.size_bytes if champion else 0
    size, limit = challenger.size_bytes, max(LIMITS.free_size_bytes, allowed)
    said = Said(
        "its weights are small enough",
        "its weights are too large: take a smaller model",
        f"{size / 1e6:.1f} MB; at most {limit / 1e6:.0f} MB is asked",
    )
    return _at_most("size", size, limit, said, COST)


def first_is_useful(challenger: ScoredGoldenSet, kind: str) -> Check:
    """Check that a version which no champion is compared with tells anomalies apart."""
    said = Said(
        "it tells anomalous from normal images",
        "it does not tell anomalous from normal images: bring more normal images, or take another "
        "model",
        f"image_AUROC {challenger.auroc:.3f} on {kind} anomalies; at least "
        f"{LIMITS.first_min_auroc:g} is asked of a first version",
    )
    return _at_least("first_version_auroc", challenger.auroc, LIMITS.first_min_auroc, said)


def is_better(
    challenger: ScoredGoldenSet,
    champion: ScoredGoldenSet,
    labels: GoldenLabels,
    ranking: Ranking,
    recall: Recall,
) -> Check:
    """Check for fewer false alarms, a better ranking or recall, and for proof that the ranking
    does not pay for it.

    A higher threshold gives fewer false alarms and finds less. That is a gain over a champion that
    raises more than it promises, and else only where it costs nothing that matters.
    """
    gains = {
        "fewer false alarms": _has_fewer_false_alarms(challenger, champion, labels),
        "ranking": ranking.value > max(LIMITS.auroc_margin, beyond(LIMITS.gain_chance, ranking)),
        "recall": recall.difference > max(LIMITS.recall_margin, recall.chance_high),
    }
    hidden = unseen(LIMITS.hidden_loss_chance, len(set(labels.part_of_anomalous.tolist())))
    lowest = ranking.value - max(beyond(LIMITS.hidden_loss_chance, ranking), hidden)
    is_proven = lowest > -LIMITS.max_auroc_loss
    ours, theirs = (each.normal_flagged[labels.is_recent] for each in (challenger, champion))
    better = " and ".join(name for name in gains if gains[name])
    said = Said(
        f"it is better in {better}",
        f"it is better in {better}, but may be worse in ranking: the champion stays"
        if better
        else "it is better in nothing: the champion stays",
        f"of {len(ours)} recent normal images {theirs.sum()} lie above the champion's threshold "
        f"and {ours.sum()} above its own, of the anomalies {champion.recall:.1%} and "
        f"{challenger.recall:.1%}; image_AUROC {ranking.value:+.3f}, recall at equal false alarms "
        f"{recall.difference:+.1%}; asked, beyond chance: false alarms down by "
        f"{LIMITS.fpr_gain:.0%}, or AUROC up by more than {LIMITS.auroc_margin:g}, or recall by "
        f"more than {LIMITS.recall_margin:.0%}",
    )
    is_passed = is_proven and any(gains.values())
    sentence = said.of(is_passed)
    if not is_proven and ranking.value > -LIMITS.max_auroc_loss:  # else more images would not help
        sentence += (
            f"; {len(challenger.normal_scores)} normal and {len(challenger.anomalous_scores)} "
            f"anomalous images cannot exclude that AUROC is worse by {LIMITS.max_auroc_loss:g} "
            f"(it may be {lowest:+.3f}): bring more"
        )
    return Check("is_better", GAIN, sum(gains.values()), 1, is_passed, sentence)


def _has_fewer_false_alarms(
    challenger: ScoredGoldenSet, champion: ScoredGoldenSet, labels: GoldenLabels
) -> bool:
    """Say whether it flags fewer recent normal images, beyond chance, and does not pay for it in
    recall where the champion keeps its promise."""
    ours, theirs = (each.normal_flagged[labels.is_recent] for each in (challenger, champion))
    ended, begun = theirs & ~ours, ours & ~theirs
    chance = sign_test(ended, begun, labels.part_of_normal[labels.is_recent])
    if not len(ours) or (int(ended.sum()) - int(begun.sum())) / len(ours) < LIMITS.fpr_gain:
        return False
    promise = champion.calibration_images, champion.calibration_flagged
    kept = exceedance_p_value(*_by_parts(theirs, labels), *promise)
    is_fair = (
        kept <= LIMITS.gain_chance or champion.recall - challenger.recall <= LIMITS.recall_margin
    )
    return chance <= LIMITS.gain_chance and is_fair
