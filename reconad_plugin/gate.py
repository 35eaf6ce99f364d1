"""The gate: a challenger serves only when it is proven better, and the reasons are written down.

Pure: evidence in, verdict out. Every rule is stated positively, so that a figure that is not a
number fails it. docs/decisions/0013 says why the rules are these.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reconad_plugin.calibration import exceedance_p_value
from reconad_plugin.paired import (
    GAIN_CHANCE,
    RULE_CHANCE,
    Evidence,
    GoldenLabels,
    Ranking,
    Recall,
    beyond,
    bootstrap_auroc,
    swap_recalls,
)

QUALITY, COST, GAIN = "quality", "cost", "gain"

AUROC_CHANCE: Final = 0.02  # the same of the rule on ranking, which has the most to say
LOSS_CHANCE: Final = 0.0025  # that one passes that is worse by MAX_AUROC_LOSS, whatever it gains
AUROC_MARGIN: Final = 0.02  # a difference in ranking that does not matter
MAX_AUROC_LOSS: Final = 0.05  # one that must not get through
RECALL_MARGIN: Final = 0.1  # at equal false alarms, few images swing by this much
FIRST_MIN_RECALL: Final = 0.3  # of golden anomalies above the threshold that would be in force
LEAST_OF_RECALL: Final = 0.25  # of what the champion would find; thresholds swing by much
ORDINARY: Final = 0.5  # a defect that this share of normal images outscores is not seen at all
FIRST_MIN_AUROC: Final = 0.6  # a first version must at least tell anomalies apart
FPR_GAIN: Final = 0.05  # false alarms must fall by this much to count as better
MIN_MAP_SPREAD: Final = 1e-3  # less is a map that says the same everywhere
MAX_MAP_COVERAGE: Final = 0.5  # more is a map that marks everything
COST_FACTOR: Final = 2  # times the champion's
FREE_SECONDS: Final = 1.0  # an image, whatever the champion takes; also of a first version
FREE_BYTES: Final = 500_000_000  # of weights, likewise
NAMED_IMAGES: Final = 30  # in each list of a verdict
NAMED_RULES: Final = 8  # in its reason, which the registry shows


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


@dataclass(frozen=True)
class Differences:
    """Where challenger and champion part; a list longer than 30 names says how many more.

    Attributes:
        auroc: challenger less champion, on the same images.
        auroc_interval: 95 % confidence interval of it.
        misses: how many defects the champion finds and look ordinary to the challenger.
        newly_missed: these.
        borderline: other defects that the champion finds and the challenger does not.
        newly_found: defects that the challenger finds and the champion does not.
    """

    auroc: float
    auroc_interval: tuple[float, float]
    misses: int
    newly_missed: tuple[str, ...]
    borderline: tuple[str, ...]
    newly_found: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """The decision and its reasons.

    Attributes:
        golden_kind: ``real`` or ``simulated`` anomalies.
        images: how many were judged on: ``normal``, ``recent``, and ``anomalous`` by type.
        checks: one a rule.
        differences: from the champion; None for a first version.
    """

    is_passed: bool
    golden_kind: str
    images: dict[str, Any]
    checks: tuple[Check, ...]
    differences: Differences | None = None

    @property
    def reason(self) -> str:
        """One sentence: what failed, or what made the challenger better."""
        failed = [check.sentence for check in self.checks if not check.is_passed]
        if len(failed) > NAMED_RULES:
            failed[NAMED_RULES:] = [f"{len(failed) - NAMED_RULES} more rules failed"]
        return "; ".join(failed) or self.checks[-1].sentence

    def passes(self, kind: str) -> bool:
        """Whether no rule of a kind failed."""
        return all(check.is_passed for check in self.checks if check.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; what is not a number is null."""
        content = asdict(self) | {"reason": self.reason}
        for check in content["checks"]:
            for name in ("value", "limit"):
                check[name] = check[name] if math.isfinite(check[name]) else None
        return content


def judge(
    challenger: Evidence,
    champion: Evidence | None,
    labels: GoldenLabels,
    target_fpr: float,
    seed: int = 0,
) -> Verdict:
    """Decide whether a challenger may serve.

    Args:
        challenger: the new version's evidence.
        champion: the serving version's evidence on the same images; None for a first version.
        labels: what these images are.
        target_fpr: the product's wished-for false-positive rate.
        seed: of the resampling.

    Raises:
        UndefinedMetricError: there are no normal or no anomalous images.
    """
    finite = _scores_are_numbers(challenger, champion)
    if not finite.is_passed:  # the other figures do not exist
        return _verdict([finite], labels)
    checks = [
        finite,
        _maps_say_something(challenger),
        _maps_mark_a_part(challenger),
        _false_alarms_bounded(challenger, labels, target_fpr),
        _finds_anomalies(challenger, champion, labels.kind, target_fpr),
    ]
    differences = None
    if champion is None:
        last = [_first_is_useful(challenger, labels.kind)]
    else:
        random = np.random.default_rng(seed)
        ranking = bootstrap_auroc(challenger, champion, random)
        recalls = swap_recalls(challenger, champion, labels.defects, target_fpr, random)
        differences = _differences(challenger, champion, labels, target_fpr, ranking)
        checks += [
            _ranks_no_worse(challenger, champion, labels.kind, ranking),
            *(_misses_no_more(each, labels.kind) for each in recalls),
            _sees_every_defect(differences, labels.kind),
        ]
        last = [_is_better(challenger, champion, labels, ranking, recalls[0])]
    costs = [_is_quick(challenger, champion), _is_small(challenger, champion)]
    return _verdict([*checks, *costs, *last], labels, differences)


def _verdict(
    checks: list[Check], labels: GoldenLabels, differences: Differences | None = None
) -> Verdict:
    types = sorted(set(labels.defects))
    images = {
        "normal": len(labels.normal),
        "recent": int(labels.is_recent.sum()),
        "anomalous": {defect: labels.defects.count(defect) for defect in types},
    }
    is_passed = all(check.is_passed for check in checks)
    return Verdict(is_passed, labels.kind, images, tuple(checks), differences)


def _differences(
    challenger: Evidence,
    champion: Evidence,
    labels: GoldenLabels,
    target_fpr: float,
    ranking: Ranking,
) -> Differences:
    ours = challenger.anomalous_scores > challenger.threshold_at(target_fpr)
    theirs = champion.anomalous_scores > champion.threshold_at(target_fpr)
    is_lost = champion.anomalous_alarms & theirs & ~ours
    is_ordinary = challenger.ordinariness(challenger.anomalous_scores) > ORDINARY

    def names(chosen: NDArray[np.bool_]) -> tuple[str, ...]:
        found = [labels.anomalous[place] for place in np.flatnonzero(chosen)]
        more = len(found) - NAMED_IMAGES
        return (*found[:NAMED_IMAGES], f"and {more} more") if more > 0 else tuple(found)

    return Differences(
        auroc=ranking.value,
        auroc_interval=ranking.interval,
        misses=int((is_lost & is_ordinary).sum()),
        newly_missed=names(is_lost & is_ordinary),
        borderline=names(is_lost & ~is_ordinary),
        newly_found=names(challenger.anomalous_alarms & ours & ~theirs),
    )


def _scores_are_numbers(challenger: Evidence, champion: Evidence | None) -> Check:
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


def _maps_say_something(challenger: Evidence) -> Check:
    return Check(
        "map_spread",
        QUALITY,
        challenger.map_spread,
        MIN_MAP_SPREAD,
        challenger.map_spread > MIN_MAP_SPREAD,
        f"maps vary by {challenger.map_spread:.3g} of their mean (more than {MIN_MAP_SPREAD:g} "
        "wanted)",
    )


def _maps_mark_a_part(challenger: Evidence) -> Check:
    return Check(
        "map_coverage",
        QUALITY,
        challenger.map_coverage,
        MAX_MAP_COVERAGE,
        challenger.map_coverage <= MAX_MAP_COVERAGE,
        f"{challenger.map_coverage:.1%} of the pixels of normal images lie above half of what "
        f"anomalous images peak at (at most {MAX_MAP_COVERAGE:.0%} wanted)",
    )


def _false_alarms_bounded(challenger: Evidence, labels: GoldenLabels, target_fpr: float) -> Check:
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


def _finds_anomalies(
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


def _ranks_no_worse(challenger: Evidence, champion: Evidence, kind: str, ranking: Ranking) -> Check:
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


def _misses_no_more(recall: Recall, kind: str) -> Check:
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


def _sees_every_defect(differences: Differences, kind: str) -> Check:
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


def _is_quick(challenger: Evidence, champion: Evidence | None) -> Check:
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


def _is_small(challenger: Evidence, champion: Evidence | None) -> Check:
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


def _first_is_useful(challenger: Evidence, kind: str) -> Check:
    return Check(
        "first_version_auroc",
        QUALITY,
        challenger.auroc,
        FIRST_MIN_AUROC,
        challenger.auroc >= FIRST_MIN_AUROC,
        f"image_AUROC {challenger.auroc:.3f} on {kind} anomalies (at least {FIRST_MIN_AUROC:g} "
        "wanted of a first version)",
    )


def _is_better(
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
    lowest = ranking.value - beyond(LOSS_CHANCE, ranking)
    is_proven = lowest > -MAX_AUROC_LOSS
    sentence = (
        f"better in {' and '.join(name for name in gains if gains[name]) or 'nothing'}: of "
        f"{len(ours)} recent normal images {theirs.sum()} would alarm with the champion and "
        f"{ours.sum()} now, image_AUROC {ranking.value:+.3f}, recall at equal false alarms "
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
