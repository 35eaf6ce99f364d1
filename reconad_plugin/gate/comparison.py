"""Two versions on the same images: where they differ, and what chance makes of the difference."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reconad_plugin.gate.golden import GoldenLabels
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.gate.scored_golden import ScoredGoldenSet, threshold_index


@dataclass(frozen=True)
class Ranking:
    """Difference of two image_AUROC on the same images, challenger less champion."""

    value: float  # seen
    deviation: float  # its standard error
    interval: tuple[float, float]  # 95 % confidence interval


def bootstrap_auroc(
    challenger: ScoredGoldenSet,
    champion: ScoredGoldenSet,
    labels: GoldenLabels,
    random: np.random.Generator,
) -> Ranking:
    """Estimate the difference in ranking by a bootstrap that is paired (both versions see the same
    resampled images), stratified (as many normal and anomalous ones as there are) and of whole
    parts, where parts are told.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 13.
    """
    gained = _wins(challenger) - _wins(champion)  # (M, N), its mean is the difference
    anomalous, normal = (
        _resampled_counts(random, parts)
        for parts in (labels.part_of_anomalous, labels.part_of_normal)
    )
    drawn = anomalous.sum(1) * normal.sum(1)  # pairs; parts differ in size
    values = ((anomalous @ gained) * normal).sum(1) / drawn  # (R,), R resamples
    low, high = np.quantile(values, (0.025, 0.975))
    return Ranking(float(gained.mean()), float(values.std()), (float(low), float(high)))


def _wins(scored: ScoredGoldenSet) -> NDArray[np.float32]:
    """Return (M, N): 1 where an anomalous image scores above a normal one, 0.5 where they tie."""
    anomalous, normal = scored.anomalous_scores[:, None], scored.normal_scores[None]
    return np.asarray(np.heaviside(anomalous - normal, 0.5), np.float32)


def _resampled_counts(random: np.random.Generator, parts: NDArray[np.intp]) -> NDArray[np.float32]:
    """Draw parts with replacement, and their images with them: (R, N) of (N,) numbers of parts, how
    often each image was drawn."""
    resamples, count = LIMITS.resamples, int(parts.max()) + 1
    drawn = random.integers(count, size=(resamples, count)) + count * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * count)
    return counts.reshape(resamples, count)[:, parts].astype(np.float32)


@dataclass(frozen=True)
class Recall:
    """Recall of two versions at equal false-positive rate, and what chance makes of it."""

    defect: str  # type of defect; empty for all together
    images: int  # anomalous images of it
    challenger: float
    champion: float
    difference: float  # challenger less champion
    chance_low: float  # versions that are alike differ by less than this in few cases
    chance_high: float  # or by more than this


def swap_recalls(
    challenger: ScoredGoldenSet,
    champion: ScoredGoldenSet,
    labels: GoldenLabels,
    target_fpr: float,
    random: np.random.Generator,
) -> list[Recall]:
    """Compare recall at equal false-positive rate: of all anomalies, then of each of several types.

    Chance is what comes of swapping the two versions' ranks of an image, for images drawn by a
    coin: alike versions might as well have been named the other way round. Exact for three
    images as for a hundred, and thresholds are set anew after each swap, since most of the
    chance is in them. Where parts are told a coin is thrown for each, and not for its images.

    Source: Venkatraman and Begg, "A distribution-free procedure for comparing receiver operating
    characteristic curves from a paired experiment", Biometrika 83, 1996.
    """
    normals = len(challenger.normal_scores)
    own, other = _ranks(challenger), _ranks(champion)
    normal_parts = labels.part_of_normal
    parts = np.concatenate([normal_parts, labels.part_of_anomalous + normal_parts.max() + 1])
    coins = random.integers(2, size=(LIMITS.resamples, parts.max() + 1), dtype=np.int8)
    is_swapped = coins.astype(bool)[:, parts]
    is_swapped[0] = False  # the first is what was seen
    found = _found(np.where(is_swapped, other, own), normals, target_fpr)
    found_by_other = _found(np.where(is_swapped, own, other), normals, target_fpr)
    types = sorted(set(labels.defects))
    recalls = []
    for name in ["", *types] if len(types) > 1 else [""]:
        group = np.array([name in ("", defect) for defect in labels.defects])
        ours, theirs = found[:, group].mean(1), found_by_other[:, group].mean(1)  # (R,) each
        values = ours - theirs
        chance = LIMITS.quality_rule_chance / (len(types) if name else 1)
        recalls.append(
            Recall(
                defect=name,
                images=int(group.sum()),
                challenger=float(ours[0]),
                champion=float(theirs[0]),
                difference=float(values[0]),
                chance_low=float(np.quantile(values, chance, method="lower")),
                chance_high=float(np.quantile(values, 1 - LIMITS.gain_chance, method="higher")),
            )
        )
    return recalls


def _ranks(scored: ScoredGoldenSet) -> NDArray[np.float32]:
    """Return (N + M,) ranks among all images, which two versions' scores can be swapped on."""
    scores = np.concatenate([scored.normal_scores, scored.anomalous_scores])
    return np.asarray(stats.rankdata(scores), np.float32)


def _found(ranks: NDArray[np.float32], normals: int, fpr: float) -> NDArray[np.bool_]:
    """Find, (R, N + M) -> (R, M), which anomalous images lie above the threshold of their row."""
    index = threshold_index(normals, fpr)
    threshold = np.partition(ranks[:, :normals], index, axis=1)[:, index : index + 1]
    return np.asarray(ranks[:, normals:] > threshold)


@dataclass(frozen=True)
class Differences:
    """Where challenger and champion part; a list longer than 30 names says how many more."""

    auroc: float  # challenger less champion, on the same images
    auroc_interval: tuple[float, float]  # 95 % confidence interval of it
    misses: int  # how many real defects the champion finds and look normal to the challenger
    simulated_misses: int  # how many simulated anomalies
    simulated_gains: int  # how many of these the other way round
    # chance of so many misses among both, where versions are alike, counted by parts
    simulated_chance: float
    newly_missed: tuple[str, ...]  # what is missed, real and simulated
    borderline: tuple[str, ...]  # other defects that the champion finds and the challenger does not
    newly_found: tuple[str, ...]  # defects that the challenger finds and the champion does not


def find_differences(
    challenger: ScoredGoldenSet,
    champion: ScoredGoldenSet,
    labels: GoldenLabels,
    target_fpr: float,
    ranking: Ranking,
) -> Differences:
    """Find the anomalies that one version finds and the other does not, at equal false alarms."""
    ours = challenger.anomalous_scores > challenger.threshold_at(target_fpr)
    theirs = champion.anomalous_scores > champion.threshold_at(target_fpr)
    is_lost = champion.anomalous_flagged & theirs & ~ours
    is_found = challenger.anomalous_flagged & ours & ~theirs
    is_unseen, was_unseen = (
        each.normal_share_above(each.anomalous_scores) > LIMITS.unseen_share
        for each in (challenger, champion)
    )
    is_missed = is_lost & is_unseen
    is_simulated = labels.is_simulated
    is_gained = is_found & was_unseen & is_simulated

    def names(chosen: NDArray[np.bool_]) -> tuple[str, ...]:
        found = [labels.anomalous[index] for index in np.flatnonzero(chosen)]
        more = len(found) - LIMITS.named_images
        return (*found[: LIMITS.named_images], f"and {more} more") if more > 0 else tuple(found)

    return Differences(
        auroc=ranking.value,
        auroc_interval=ranking.interval,
        misses=int((is_missed & ~is_simulated).sum()),
        simulated_misses=int((is_missed & is_simulated).sum()),
        simulated_gains=int(is_gained.sum()),
        simulated_chance=sign_test(is_missed & is_simulated, is_gained, labels.part_of_anomalous),
        newly_missed=names(is_missed),
        borderline=names(is_lost & ~is_unseen),
        newly_found=names(is_found),
    )


def disagreements(
    challenger: ScoredGoldenSet, champion: ScoredGoldenSet, most: int
) -> NDArray[np.intp]:
    """Return the indices, among normal and then anomalous images, of those that two versions see
    most differently: first where only one flags the image, then by how normal it ranks in each."""
    ours, theirs = (
        each.normal_share_above(np.concatenate([each.normal_scores, each.anomalous_scores]))
        for each in (challenger, champion)
    )
    our_flags, their_flags = (
        np.concatenate([each.normal_flagged, each.anomalous_flagged])
        for each in (challenger, champion)
    )
    apart = (our_flags != their_flags) + np.abs(ours - theirs)
    return np.argsort(-apart, kind="stable")[:most]


def sign_test(more: NDArray[np.bool_], less: NDArray[np.bool_], parts: NDArray[np.intp]) -> float:
    """Return the chance that, of the parts which have more images of one kind than of the other,
    at least so many have more of the first, where both are alike: (N,) bool and (N,) numbers."""
    balance = np.sign(np.bincount(parts, more) - np.bincount(parts, less))
    first, second = int((balance > 0).sum()), int((balance < 0).sum())
    return float(stats.binom.sf(first - 1, first + second, 0.5))


def unseen(chance: float, images: int) -> float:
    """Return the image_AUROC that may be lost while so many anomalous images show none of it: who
    is blind to a share p of the anomalies loses p / 2, and none of M images is of that share with a
    chance of (1 - p)^M."""
    return 0.5 * (1.0 - math.exp(math.log(chance) / images))


def beyond(chance: float, ranking: Ranking) -> float:
    """Return what versions that are alike differ by at most, but for such a chance."""
    return float(stats.norm.isf(chance)) * ranking.deviation
