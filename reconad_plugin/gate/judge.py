"""The gate: a challenger serves only when it is proven better, and the reasons are written down.

Pure: scored golden sets in, verdict out. docs/decisions/0013 says why the rules are these.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np

from reconad_plugin.gate.comparison import (
    Differences,
    bootstrap_auroc,
    find_differences,
    swap_recalls,
)
from reconad_plugin.gate.golden import GoldenLabels
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.gate.rules import (
    Check,
    false_alarms_bounded,
    finds_anomalies,
    first_is_useful,
    is_better,
    is_quick,
    is_small,
    maps_mark_a_part,
    maps_say_something,
    misses_no_more,
    ranks_no_worse,
    scores_are_numbers,
    sees_every_defect,
)
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
    golden_kind: str  # `real` or `simulated` anomalies
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
    seed: int = 0,
) -> Verdict:
    """Decide whether a challenger may serve.

    Args:
        challenger: the new version's scores on the golden set.
        champion: the serving version's on the same images; None for a first version.
        labels: what these images are.
        target_fpr: the product's wished-for false-positive rate.
        seed: of the resampling.

    Raises:
        UndefinedMetricError: there are no normal or no anomalous images.
    """
    finite = scores_are_numbers(challenger, champion)
    if not finite.is_passed:  # the other figures do not exist
        return _verdict([finite], labels)
    checks = [
        finite,
        maps_say_something(challenger),
        maps_mark_a_part(challenger),
        false_alarms_bounded(challenger, labels, target_fpr),
        finds_anomalies(challenger, champion, labels.kind, target_fpr),
    ]
    differences = None
    if champion is None:
        last = [first_is_useful(challenger, labels.kind)]
    else:
        random = np.random.default_rng(seed)
        ranking = bootstrap_auroc(challenger, champion, random)
        recalls = swap_recalls(challenger, champion, labels.defects, target_fpr, random)
        differences = find_differences(challenger, champion, labels, target_fpr, ranking)
        checks += [
            ranks_no_worse(challenger, champion, labels.kind, ranking),
            *(misses_no_more(each, labels.kind) for each in recalls),
            sees_every_defect(differences, labels.kind),
        ]
        last = [is_better(challenger, champion, labels, ranking, recalls[0])]
    costs = [is_quick(challenger, champion), is_small(challenger, champion)]
    return _verdict([*checks, *costs, *last], labels, differences)


def _verdict(
    checks: list[Check], labels: GoldenLabels, differences: Differences | None = None
) -> Verdict:
    types = sorted(set(labels.defects))
    images = JudgedImages(
        normal=len(labels.normal),
        recent=int(labels.is_recent.sum()),
        anomalous={defect: labels.defects.count(defect) for defect in types},
    )
    is_passed = all(check.is_passed for check in checks)
    return Verdict(is_passed, labels.kind, images, tuple(checks), differences)
