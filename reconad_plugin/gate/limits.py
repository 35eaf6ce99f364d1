"""All numbers of the gate: each with its unit, the rule that it belongs to, and its reason.

docs/gate.md shows the same table; docs/decisions/0013 says how often the gate errs with them.
"""

from dataclasses import dataclass, field
from typing import Any, Final


def _limit(value: float, unit: str, rule: str, why: str) -> Any:
    return field(default=value, metadata={"unit": unit, "rule": rule, "why": why})


@dataclass(frozen=True)
class GateLimits:
    """The numbers of the gate."""

    # fmt: off
    min_map_spread: float = _limit(1e-3, "of the mean", "map_spread",
        "a map that varies less says the same everywhere")
    max_map_coverage: float = _limit(0.5, "of the pixels", "map_coverage",
        "a map that marks more marks everything")
    marked_height: float = _limit(0.5, "of the median peak over anomalies", "map_coverage",
        "a pixel of a normal image that is as high counts as marked")
    recent_nights: int = _limit(7, "nights", "false_alarms, live_alarms",
        "over more nights a new light would be diluted")
    quality_rule_chance: float = _limit(0.01, "chance",
        "false_alarms, live_alarms, recall_no_worse, newly_missed",
        "that the rule refuses a challenger that is as good")
    first_min_recall: float = _limit(0.3, "recall", "recall",
        "a first version finds this share of the anomalies")
    min_share_of_recall: float = _limit(0.4, "of the champion's recall", "recall",
        "few calibration images move a threshold by much; a higher share refuses equal versions")
    max_recall_loss: float = _limit(0.3, "recall", "recall",
        "what a threshold set too high may cost, however few false alarms it gives")
    auroc_rule_chance: float = _limit(0.02, "chance", "auroc_no_worse",
        "that the rule refuses a challenger that is as good")
    auroc_margin: float = _limit(0.02, "image_AUROC", "auroc_no_worse, is_better",
        "a difference that does not matter")
    max_auroc_loss: float = _limit(0.05, "image_AUROC", "auroc_no_worse, is_better",
        "a loss that must not get through")
    recall_margin: float = _limit(0.1, "recall", "recall_no_worse, is_better",
        "few images swing by this much at equal false alarms")
    unseen_share: float = _limit(0.5, "of the normal images", "newly_missed",
        "a defect that this share outscores is not seen at all; with three quarters, borderline "
        "defects would refuse versions that are alike")
    first_min_auroc: float = _limit(0.6, "image_AUROC", "first_version_auroc",
        "less does not tell anomalies apart")
    fpr_gain: float = _limit(0.05, "of the recent normal images", "is_better",
        "fewer false alarms worth a change")
    gain_chance: float = _limit(0.1, "chance", "is_better",
        "that one figure seems better in a challenger that is as good")
    hidden_loss_chance: float = _limit(0.0025, "chance", "is_better",
        "that a challenger passes which is worse by max_auroc_loss, whatever it gains")
    max_cost_factor: float = _limit(2, "times the champion's", "latency, size",
        "a better version may cost this much more")
    free_seconds: float = _limit(1.0, "s an image", "latency",
        "any service bears it, whatever the champion takes")
    free_size_bytes: int = _limit(500_000_000, "bytes of weights", "size",
        "any service bears it, whatever the champion takes")
    enough_defects: int = _limit(60, "images", "golden set",
        "fewer cannot show that none of ten defects was lost")
    fewest_followed: int = _limit(10, "defects", "golden_floor",
        "of fewer, the image_AUROC of one version differs by tenths from one choice to the next")
    max_normal_a_night: int = _limit(60, "images", "golden set",
        "enough to see 5 % more false alarms over the recent nights")
    max_normal: int = _limit(500, "images", "golden set",
        "judging takes minutes, however many nights there are")
    max_simulated_an_image: int = _limit(4, "anomalies", "golden set",
        "more of one image would hardly be independent")
    max_simulated: int = _limit(400, "anomalies", "golden set",
        "judging takes minutes; one an image there is always")
    resamples: int = _limit(2000, "samples", "auroc_no_worse, recall_no_worse, is_better",
        "a chance of 0.01 is then known within a quarter of itself")
    timed_images: int = _limit(8, "images", "latency", "one batch, as a service would score it")
    timed_rounds: int = _limit(5, "rounds", "latency",
        "the quickest counts: a busy machine only slows down")
    named_images: int = _limit(30, "names", "verdict", "in each list; the rest is counted")
    named_in_a_sentence: int = _limit(3, "names", "newly_missed", "in its sentence")
    named_rules: int = _limit(8, "sentences", "verdict", "in the reason, which the registry shows")
    # fmt: on


LIMITS: Final = GateLimits()
