"""Two versions on the same images: what each did there, and what chance makes of the difference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reconad_plugin.metrics.image import image_auroc

REAL, SIMULATED = "real", "simulated"

RULE_CHANCE: Final = 0.01  # that one rule of quality refuses a challenger that is as good
GAIN_CHANCE: Final = 0.1  # that one figure seems better in a challenger that is as good
RECENT_NIGHTS: Final = 7  # false alarms are counted on these; longer, and a new light is diluted
RESAMPLES: Final = 2000  # of the images, to tell a difference from chance
ORDINARY: Final = 0.5  # a defect that this share of normal images outscores is not seen at all
NAMED_IMAGES: Final = 30  # in each list of a verdict


@dataclass(frozen=True)
class GoldenLabels:
    """What the images are that both versions are judged on.

    Attributes:
        kind: ``real`` or ``simulated`` anomalies.
        normal: name of each of the N normal images.
        nights: (N,) the night each of them arrived, ``YYYY-MM-DD``; empty for those of
            ``golden/normal/``.
        anomalous: name of each of the M anomalous images.
        defects: (M,) the type of each.
    """

    kind: str
    normal: tuple[str, ...]
    nights: tuple[str, ...]
    anomalous: tuple[str, ...]
    defects: tuple[str, ...]

    @property
    def recent_nights(self) -> list[str]:
        """The last nights that false alarms are counted on."""
        return sorted(set(self.nights) - {""})[-RECENT_NIGHTS:]

    @property
    def is_recent(self) -> NDArray[np.bool_]:
        """(N,) whether a normal image is of one of these nights."""
        return np.isin(self.nights, self.recent_nights)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one version did on the N normal and M anomalous images; it was trained on none.

    Attributes:
        normal_scores: (N,) higher is more anomalous.
        normal_alarms: (N,) bool, whether it lies above the version's own threshold.
        anomalous_scores: (M,).
        anomalous_alarms: (M,) bool.
        calibration_images: held-out normal images that the version's threshold came from.
        calibration_alarms: how many of them lie at or above it.
        map_spread: standard deviation over mean of a normal image's map; 0 is a map that says
            the same everywhere.
        map_coverage: share of normal pixels above half of what anomalous images peak at.
        seconds_per_image: of scoring.
        size_bytes: of the weights.
    """

    normal_scores: NDArray[np.float64]
    normal_alarms: NDArray[np.bool_]
    anomalous_scores: NDArray[np.float64]
    anomalous_alarms: NDArray[np.bool_]
    calibration_images: int
    calibration_alarms: int
    map_spread: float
    map_coverage: float
    seconds_per_image: float
    size_bytes: int

    @property
    def recall(self) -> float:
        """Share of anomalous images above the version's own threshold."""
        return float(self.anomalous_alarms.mean())

    @property
    def auroc(self) -> float:
        """Chance that an anomalous image scores above a normal one."""
        return image_auroc(self.normal_scores, self.anomalous_scores)

    def threshold_at(self, fpr: float) -> float:
        """The threshold that lets this share of these normal images through, so that two
        versions are compared alike."""
        return float(np.sort(self.normal_scores)[_place(len(self.normal_scores), fpr)])

    def ordinariness(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of these normal images that score at least this, the image itself counted."""
        normal = np.sort(self.normal_scores)
        at_least = len(normal) - np.searchsorted(normal, scores, side="left")
        return (1 + at_least) / (1 + len(normal))


@dataclass(frozen=True)
class Ranking:
    """Difference of two image_AUROC on the same images, challenger less champion.

    Attributes:
        value: seen.
        deviation: its standard error.
        interval: 95 % confidence interval.
    """

    value: float
    deviation: float
    interval: tuple[float, float]


def bootstrap_auroc(
    challenger: Evidence, champion: Evidence, random: np.random.Generator
) -> Ranking:
    """Paired bootstrap, stratified: both versions see the same resampled images, and as many
    normal and anomalous ones as there are.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 13.
    """
    gained = _wins(challenger) - _wins(champion)  # (M, N), its mean is the difference
    anomalous, normal = (_resampled_counts(random, count) for count in gained.shape)
    values = ((anomalous @ gained) * normal).sum(1) / gained.size  # (RESAMPLES,)
    low, high = np.quantile(values, (0.025, 0.975))
    return Ranking(float(gained.mean()), float(values.std()), (float(low), float(high)))


def _wins(evidence: Evidence) -> NDArray[np.float32]:
    """(M, N): 1 where an anomalous image scores above a normal one, 0.5 where they tie."""
    anomalous, normal = evidence.anomalous_scores[:, None], evidence.normal_scores[None]
    wins: NDArray[np.float32] = np.heaviside(anomalous - normal, 0.5).astype(np.float32)
    return wins


def _resampled_counts(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    """(RESAMPLES, count): how often each image was drawn."""
    drawn = random.integers(count, size=(RESAMPLES, count)) + count * np.arange(RESAMPLES)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=RESAMPLES * count)
    return counts.reshape(RESAMPLES, count).astype(np.float32)


@dataclass(frozen=True)
class Recall:
    """Recall of two versions at equal false-positive rate, and what chance makes of it.

    Attributes:
        defect: type of defect; empty for all together.
        images: anomalous images of it.
        challenger: recall.
        champion: recall.
        difference: challenger less champion.
        chance_low: versions that are alike differ by less than this in few cases.
        chance_high: or by more than this.
    """

    defect: str
    images: int
    challenger: float
    champion: float
    difference: float
    chance_low: float
    chance_high: float


def swap_recalls(
    challenger: Evidence,
    champion: Evidence,
    defects: Sequence[str],
    target_fpr: float,
    random: np.random.Generator,
) -> list[Recall]:
    """Recall at equal false-positive rate: of all anomalous images, then of each type where
    there are several.

    Chance is what comes of swapping the two versions' ranks of an image, for images drawn by a
    coin: alike versions might as well have been named the other way round. Exact for three
    images as for a hundred, and thresholds are set anew after each swap, since most of the
    chance is in them.

    Source: Venkatraman and Begg, "A distribution-free procedure for comparing receiver operating
    characteristic curves from a paired experiment", Biometrika 83, 1996.
    """
    normals = len(challenger.normal_scores)
    ours, theirs = _ranks(challenger), _ranks(champion)
    is_swapped = random.integers(2, size=(RESAMPLES, len(ours)), dtype=np.int8).astype(bool)
    is_swapped[0] = False  # the first is what was seen
    found = _found(np.where(is_swapped, theirs, ours), normals, target_fpr)
    found_by_other = _found(np.where(is_swapped, ours, theirs), normals, target_fpr)
    types = sorted(set(defects))
    recalls = []
    for name in ["", *types] if len(types) > 1 else [""]:
        group = np.array([name in ("", defect) for defect in defects])
        shares = found[:, group].mean(1), found_by_other[:, group].mean(1)  # (RESAMPLES,) each
        values = shares[0] - shares[1]
        chance = RULE_CHANCE / len(types) if name else RULE_CHANCE
        recalls.append(
            Recall(
                defect=name,
                images=int(group.sum()),
                challenger=float(shares[0][0]),
                champion=float(shares[1][0]),
                difference=float(values[0]),
                chance_low=float(np.quantile(values, chance, method="lower")),
                chance_high=float(np.quantile(values, 1 - GAIN_CHANCE, method="higher")),
            )
        )
    return recalls


def _place(normals: int, fpr: float) -> int:
    """Of the threshold among the normal images, the lowest first."""
    return math.ceil((normals - 1) * (1 - fpr))


def _ranks(evidence: Evidence) -> NDArray[np.float32]:
    """(N + M,) ranks among all images, which two versions' scores can be swapped on."""
    scores = np.concatenate([evidence.normal_scores, evidence.anomalous_scores])
    ranks: NDArray[np.float32] = stats.rankdata(scores).astype(np.float32)
    return ranks


def _found(ranks: NDArray[np.float32], normals: int, fpr: float) -> NDArray[np.bool_]:
    """(R, N + M) -> (R, M): which anomalous images lie above the threshold of their row."""
    place = _place(normals, fpr)
    threshold = np.partition(ranks[:, :normals], place, axis=1)[:, place : place + 1]
    is_above: NDArray[np.bool_] = ranks[:, normals:] > threshold
    return is_above


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


def find_differences(
    challenger: Evidence,
    champion: Evidence,
    labels: GoldenLabels,
    target_fpr: float,
    ranking: Ranking,
) -> Differences:
    """Which anomalies one version finds and the other does not, at equal false alarms."""
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


def unseen(chance: float, images: int) -> float:
    """The image_AUROC that a version may have lost while so many anomalous images show none of it.

    One that is blind to a share p of the anomalies loses p / 2, and none of M images is of that
    share with a chance of (1 - p)^M.
    """
    return 0.5 * (1.0 - math.exp(math.log(chance) / images))


def beyond(chance: float, ranking: Ranking) -> float:
    """What versions that are alike differ by at most, but for such a chance."""
    return float(stats.norm.isf(chance)) * ranking.deviation
