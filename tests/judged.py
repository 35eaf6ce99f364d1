"""Golden images and what a made-up version did on them, for the tests."""

from dataclasses import replace

import numpy as np

from reconad_plugin.gate.golden import REAL, SIMULATED, GoldenLabels
from reconad_plugin.gate.judge import judge
from reconad_plugin.gate.scored_golden import ScoredGoldenSet

TARGET_FPR = 0.02
THRESHOLD = 2.05
TYPES = ("crack", "dent", "scratch", "stain")


def label(normals=100, defects=TYPES * 25, night="2026-04-01"):
    """Names for so many images, all normal ones of one night."""
    return GoldenLabels(
        kind=SIMULATED if set(defects) == {SIMULATED} else REAL,
        normal=tuple(f"n{index}" for index in range(normals)),
        nights=(night,) * normals,
        anomalous=tuple(f"{defect}/{index}" for index, defect in enumerate(defects)),
        defects=tuple(defects),
    )


def see(normal, anomalous, threshold=THRESHOLD, **changes):
    """A golden set with these scores and this threshold of a version; the rest is in order."""
    normal, anomalous = np.asarray(normal, float), np.asarray(anomalous, float)
    return replace(
        ScoredGoldenSet(
            normal_scores=normal,
            normal_flagged=normal > threshold,
            anomalous_scores=anomalous,
            anomalous_flagged=anomalous > threshold,
            calibration_images=100,
            calibration_flagged=2,
            map_spread=0.4,
            map_coverage=0.02,
            seconds_per_image=0.01,
            size_bytes=5_000_000,
        ),
        **changes,
    )


LABELS = label()
NORMAL = np.linspace(-2.2, 2.0, 100)  # evenly spread, none above the threshold
ANOMALOUS = np.random.default_rng(5).normal(1.8, 1.0, 100)
CHAMPION = see(NORMAL, ANOMALOUS)
BETTER = see(NORMAL, ANOMALOUS + 0.6)


def verdict(challenger, champion=CHAMPION, labels=LABELS):
    """The gate's verdict."""
    return judge(challenger, champion, labels, TARGET_FPR, seed=0)


def failed(found):
    """The rules that failed."""
    return [check.rule for check in found.checks if not check.is_passed]


def check_of(found, rule):
    """One rule of a verdict."""
    (check,) = [each for each in found.checks if each.rule == rule]
    return check
