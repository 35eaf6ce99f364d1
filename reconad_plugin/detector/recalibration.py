"""Thresholds of a detector that something else scores in than when they were set.

An engine moves the score of an image a little. By how much is measured on the held-out normal
images that the thresholds rest on, and each of their scores is moved so.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reconad_plugin.detector.calibration import Calibration, calibrate
from reconad_plugin.detector.calibration_groups import CalibrationGroups, luminances
from reconad_plugin.detector.detector import Detector, Scores, Witness
from reconad_plugin.detector.windows import Pictures
from reconad_plugin.errors import NotEnoughImagesError


def recalibrated(
    before: Detector, after: Detector, calibration_images: Pictures, learnt: Pictures
) -> Detector:
    """Return a detector with the thresholds that hold for how it scores now.

    Args:
        before: the detector as it was calibrated.
        after: the same with an engine in it and in its witness.
        calibration_images: (N, 3, H, W), the normal images that no training sees.
        learnt: (M, 3, H, W), those that it learnt from. Where few images train, a threshold
            rests on these too, as each was held out once.

    Raises:
        NotEnoughImagesError: they are not as many as its thresholds rest on.
    """
    held_out = calibration_images
    if len(held_out) < len(before.calibration.normal_scores) == len(held_out) + len(learnt):
        held_out = np.concatenate([held_out, learnt])
    if before.witness is not None and after.witness is not None:
        seen = before.as_seen(calibration_images), before.as_seen(learnt)
        second = recalibrated(before.witness.detector, after.witness.detector, *seen)
        alone = [replace(each, witness=None).score(held_out) for each in (before, after)]
        after = replace(
            after, witness=Witness(second, move_calibration(before.witness.first, *alone))
        )
    old, new = (each.score(held_out) for each in (before, after))
    matched = (each.score_matched(held_out) for each in (before, after))
    levels = before.light_levels
    if levels is not None:
        at = levels.levels(luminances(before.as_seen(held_out)))
        calibrations = [
            move_calibration(each, _only(old, at == level), _only(new, at == level))
            for level, each in enumerate(levels.calibrations)
        ]
        levels = CalibrationGroups(levels.edges, tuple(calibrations))
    return replace(
        after,
        calibration=move_calibration(before.calibration, old, new),
        matched_calibration=move_calibration(before.matched_calibration, *matched),
        light_levels=levels,
    )


def move_calibration(calibration: Calibration, before: Scores, after: Scores) -> Calibration:
    """Move each held-out score by what its image scores more or less than before.

    A held-out score need not be what the detector gives for that image: another network, or a
    normal map in which the image has no say, may have given it. So images are told from each other
    by their rank.

    Args:
        calibration: as it was set, on N images.
        before: what the detector gave for these images, in any order.
        after: what it gives for them now, in the same order.

    Raises:
        NotEnoughImagesError: there are not N of them.
    """
    count = len(calibration.normal_scores)
    if len(before.pred_score) != count:
        raise NotEnoughImagesError(
            f"the thresholds rest on {count} held-out normal images, and all are scored anew; got "
            f"{len(before.pred_score)}: bring those that are gone with --data"
        )
    order = np.argsort(before.pred_score, kind="stable")
    moved = np.array(calibration.normal_scores) + (after.pred_score - before.pred_score)[order]
    new = calibrate(moved, calibration.target_fpr, parts=calibration.parts)
    if calibration.pixel_threshold is None:
        return new
    thresholds = [_pixel_threshold(each, calibration) for each in (before, after)]
    pixel = calibration.pixel_threshold + thresholds[1] - thresholds[0]
    return replace(new, pixel_threshold=pixel)


def _pixel_threshold(scores: Scores, like: Calibration) -> float:
    return calibrate(scores.map_maxima, like.target_fpr, parts=like.parts).image_threshold


def _only(scores: Scores, chosen: Sequence[bool]) -> Scores:
    return Scores(scores.pred_score[chosen], scores.anomaly_map[chosen])
