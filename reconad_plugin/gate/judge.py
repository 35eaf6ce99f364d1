"""The gate: a challenger serves only when it is proven better, and the reasons are written down.

Pure: scored golden sets in, verdict out. docs/decisions/0013 says why the rules are these.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np

from reconad_plugin.gate import comparison, rules
from reconad_plugin.gate.comparison import Differences
from reconad_plugin.gate.golden import GoldenLabels
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.gate.rules import Check, LivePictures
from reconad_plugin.gate.scored_golden import ScoredGoldenSet


@dataclass(frozen=True)
class JudgedImages:
    """How many images a version was judged on."""

    normal: int  # held-out normal images
    recent: int  # those of the last nights, on which false alarms are counted
    anomalous: dict[str, int]  # anomalous images by type of defect


@dataclass(frozen=True)
class Verdict:
    """The decision and its reasons."""

    is_passed: bool
    golden_kind: str  # of the anomalies: `real`, `simulated` or `real and simulated`
    images: JudgedImages  # how many were judged on
    checks: tuple[Check, ...]  # one a rule
    differences: Differences | None = None  # from the champion; None for a first version

    @property
    def reason(self) -> str:
        """One sentence: what failed, or what made the challenger better."""
        failed = [check.sentence for check in self.checks if not check.is_passed]
        if len(failed) > LIMITS.named_rules:
            failed[LIMITS.named_rules :] = [f"{len(failed) - LIMITS.named_rules} more rules failed"]
        return "; ".join(failed) or self.checks[-1].sentence

    def passes(self, kind: str) -> bool:
        """Return whether no rule of a kind failed."""
        return all(check.is_passed for check in self.checks if check.kind == kind)

    def to_dict(self) -> dict[str, object]:
        """Return the verdict as JSON; what is not a number is null."""
        content = asdict(self) | {"reason": self.reason}
        for check in content["checks"]:
            for name in ("value", "limit"):
                check[name] = check[name] if math.isfinite(check[name]) else None
        return content


def judge(
    challenger: ScoredGoldenSet,
    champion: ScoredGoldenSet | None,
    labels: GoldenLabels,
    target_fpr: float,
    seed: int,
    live: LivePictures | None = None,
) -> Verdict:
    """Decide whether a challenger may serve in place of a champion; None for a first version.

    Both were scored on the same images, which ``labels`` describes; ``target_fpr`` is the share of
    normal images that the product wants above the threshold; the seed is of the resampling.
    ``live`` are pictures that both saw while the champion served, where there are some.

    Raises:
        UndefinedMetricError: there are no normal or no anomalous images.
    """
    finite = rules.scores_are_numbers(challenger, champion)
    if not finite.is_passed:  # the other figures do not exist
        return _verdict([finite], labels)
    checks = [
        finite,
        rules.maps_say_something(challenger),
        rules.maps_mark_a_part(challenger),
        rules.false_alarms_bounded(challenger, labels, target_fpr),
        rules.finds_anomalies(challenger, champion, labels.kind, target_fpr),
    ]
    differences = None
    if champion is None:
        last = [rules.first_is_useful(challenger, labels.kind)]
    else:
        random = np.random.default_rng(seed)
        ranking = comparison.bootstrap_auroc(challenger, champion, labels, random)
        recalls = comparison.swap_recalls(challenger, champion, labels, target_fpr, random)
        differences = comparison.find_differences(challenger, champion, labels, target_fpr, ranking)
        checks += [
            rules.ranks_no_worse(challenger, champion, labels.kind, ranking),
            *(rules.misses_no_more(each, labels.kind) for each in recalls),
            rules.sees_every_defect(differences),
        ]
        if live is not None and len(live.champion):
            checks.append(rules.live_alarms_bounded(live))
        last = [rules.is_better(challenger, champion, labels, ranking, recalls[0])]
    costs = [rules.is_quick(challenger, champion), rules.is_small(challenger, champion)]
    return _verdict([*checks, *costs, *last], labels, differences)


def _verdict(
    checks: list[Check], labels: GoldenLabels, differences: Differences | None = None
) -> Verdict:
    by_type = {defect: labels.defects.count(defect) for defect in sorted(set(labels.defects))}
    images = JudgedImages(len(labels.normal), int(labels.is_recent.sum()), by_type)
    is_passed = all(check.is_passed for check in checks)
    return Verdict(is_passed, labels.kind, images, tuple(checks), differences)
