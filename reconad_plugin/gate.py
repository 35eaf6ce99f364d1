"""The gate: a challenger serves only when it is proven better, and the reasons are written down.

Pure: evidence in, verdict out. Every rule is stated positively, so that a figure that is not a
number fails it.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

AUROC_MARGIN: Final = 0.02  # a challenger may be this much worse in ranking, not more
FPR_GAIN: Final = 0.05  # false alarms must fall by this much to count as better
RECALL_MARGIN: Final = 0.1  # at equal false alarms, few images swing by this much
MIN_RECALL: Final = 0.3  # of golden anomalies above the threshold that would be in force
FIRST_MIN_AUROC: Final = 0.6  # a first version must at least tell simulated anomalies apart
MIN_ALARM_CHANCE: Final = 0.01  # rarer counts of false alarms are no bad luck of few images


@dataclass(frozen=True)
class Evidence:
    """How one version did on the judge's images, which no version was trained on.

    Attributes:
        image_auroc: on the golden set.
        recall: share of golden anomalies above the version's own threshold.
        recall_at_equal_fpr: the same above the threshold that lets the target share of the
            judge's own normal images through, so that two versions are compared alike.
        fpr: share of the judge's normal images above it.
        normal_images: how many normal images that share is of.
        fpr_chance: chance of so many above it, where the version's threshold is good.
        map_spread: standard deviation over mean of the maps' pixels; 0 is a map that says the
            same everywhere.
    """

    image_auroc: float
    recall: float
    recall_at_equal_fpr: float
    fpr: float
    normal_images: int
    fpr_chance: float
    map_spread: float


@dataclass(frozen=True)
class Check:
    """One rule with what it saw."""

    rule: str
    value: float
    limit: float
    is_passed: bool
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The decision and its reasons.

    Attributes:
        golden_kind: ``real`` or ``simulated`` anomalies.
    """

    is_passed: bool
    golden_kind: str
    checks: tuple[Check, ...]

    @property
    def reason(self) -> str:
        """One sentence: what failed, or what made the challenger better."""
        failed = [check.sentence for check in self.checks if not check.is_passed]
        return "; ".join(failed) if failed else self.checks[-1].sentence

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"reason": self.reason}


def judge(
    challenger: Evidence, champion: Evidence | None, target_fpr: float, golden_kind: str
) -> Verdict:
    """Decide whether a challenger may serve.

    Args:
        challenger: the new version's evidence.
        champion: the serving version's evidence on the same images; None for a first version.
        target_fpr: the product's wished-for false-positive rate.
        golden_kind: ``real`` or ``simulated``.
    """
    checks = [
        _maps_say_something(challenger),
        _false_alarms_bounded(challenger, target_fpr),
        _finds_anomalies(challenger, golden_kind),
    ]
    if champion is None:
        checks.append(_first_is_useful(challenger, golden_kind))
    else:
        checks.append(_ranks_no_worse(challenger, champion, golden_kind))
        checks.append(_misses_no_more(challenger, champion, golden_kind))
        checks.append(_is_better(challenger, champion))
    return Verdict(all(check.is_passed for check in checks), golden_kind, tuple(checks))


def _maps_say_something(challenger: Evidence) -> Check:
    limit = 1e-3
    return Check(
        "map_sanity",
        challenger.map_spread,
        limit,
        challenger.map_spread > limit,
        f"maps vary by {challenger.map_spread:.3g} of their mean (more than {limit:g} wanted)",
    )


def _false_alarms_bounded(challenger: Evidence, target_fpr: float) -> Check:
    chance = f"{challenger.fpr_chance:.2g}"
    seen = f"{challenger.fpr:.1%} of {challenger.normal_images} held-out normal images would alarm"
    wanted = f"at most {target_fpr:.1%}, or what chance gives in {MIN_ALARM_CHANCE:.0%} of cases"
    is_met = challenger.fpr <= target_fpr
    is_chance = challenger.fpr > target_fpr and challenger.fpr_chance >= MIN_ALARM_CHANCE
    return Check(
        "false_alarms",
        challenger.fpr,
        target_fpr,
        challenger.normal_images > 0 and (is_met or is_chance),
        f"{seen}, and so many are chance with {chance} (wanted: {wanted})",
    )


def _finds_anomalies(challenger: Evidence, golden_kind: str) -> Check:
    return Check(
        "recall",
        challenger.recall,
        MIN_RECALL,
        challenger.recall >= MIN_RECALL and challenger.recall_at_equal_fpr >= 0,
        f"{challenger.recall:.1%} of {golden_kind} anomalies lie above its threshold "
        f"(at least {MIN_RECALL:.0%} wanted)",
    )


def _misses_no_more(challenger: Evidence, champion: Evidence, golden_kind: str) -> Check:
    limit = champion.recall_at_equal_fpr - RECALL_MARGIN
    return Check(
        "recall_no_worse",
        challenger.recall_at_equal_fpr,
        limit,
        challenger.recall_at_equal_fpr >= limit,
        f"at equal false alarms it finds {challenger.recall_at_equal_fpr:.1%} of {golden_kind} "
        f"anomalies, the champion {champion.recall_at_equal_fpr:.1%} "
        f"(at least {limit:.1%} wanted)",
    )


def _first_is_useful(challenger: Evidence, golden_kind: str) -> Check:
    return Check(
        "first_version_auroc",
        challenger.image_auroc,
        FIRST_MIN_AUROC,
        challenger.image_auroc >= FIRST_MIN_AUROC,
        f"image_AUROC {challenger.image_auroc:.3f} on {golden_kind} anomalies "
        f"(at least {FIRST_MIN_AUROC:g} wanted of a first version)",
    )


def _ranks_no_worse(challenger: Evidence, champion: Evidence, golden_kind: str) -> Check:
    limit = champion.image_auroc - AUROC_MARGIN
    return Check(
        "auroc_no_worse",
        challenger.image_auroc,
        limit,
        challenger.image_auroc >= limit,
        f"image_AUROC {challenger.image_auroc:.3f} against the champion's "
        f"{champion.image_auroc:.3f} on the same {golden_kind} anomalies "
        f"(at least {limit:.3f} wanted)",
    )


def _is_better(challenger: Evidence, champion: Evidence) -> Check:
    """Fewer false alarms or a better ranking; the other rules see to it that nothing is lost."""
    fpr_gain = champion.fpr - challenger.fpr
    auroc_gain = challenger.image_auroc - champion.image_auroc
    fewer_alarms = fpr_gain >= FPR_GAIN
    better_ranking = auroc_gain > AUROC_MARGIN
    return Check(
        "is_better",
        max(fpr_gain, auroc_gain),
        FPR_GAIN,
        fewer_alarms or better_ranking,
        f"false alarms {champion.fpr:.1%} -> {challenger.fpr:.1%}, image_AUROC "
        f"{champion.image_auroc:.3f} -> {challenger.image_auroc:.3f} (wanted: alarms down by "
        f"{FPR_GAIN:.0%} or AUROC up by more than {AUROC_MARGIN:g})",
    )
