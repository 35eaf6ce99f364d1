"""Contexts have thresholds of their own, as multiples of that of all."""

import numpy as np
import pytest

from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.own_thresholds import OwnThresholds

LEFT, RIGHT = "left", "right"


def scattered(contexts, seed, farther=2.0):
    """(N,) scores of normal images; those of the right are so many times as high."""
    scores = np.random.default_rng(seed).gamma(20, 0.3, len(contexts))
    return scores * np.where(np.array(contexts) == RIGHT, farther, 1)


def test_a_context_whose_images_differ_more_has_a_higher_threshold():
    """By as much, once many images say so; with few it is drawn to that of all, and with three, or
    in one context, nothing is known."""

    def ratio(count):
        contexts = [LEFT, RIGHT, "third", "fourth"] * count
        own = OwnThresholds.fit(scattered(contexts, 7), contexts).of_contexts
        return own[RIGHT] / own[LEFT]

    assert ratio(100) == pytest.approx(2, rel=0.15)
    assert 1 < ratio(5) < ratio(100)
    for contexts in ([LEFT, RIGHT] * 3, [LEFT] * 8 + [""]):
        unknown = OwnThresholds.fit(scattered(contexts, 1), contexts)
        assert unknown.of_contexts == {}
        assert {*unknown.of_images.tolist()} == {1.0}


def test_contexts_that_chance_alone_tells_apart_share_one_threshold():
    """Mostly they do to the last digit, and never far from it."""
    contexts = [str(n % 6) for n in range(60)]

    found = [
        max(OwnThresholds.fit(scattered(contexts, seed, 1), contexts).of_contexts.values())
        for seed in range(50)
    ]

    assert np.median(found) == 1
    assert max(found) < 1.2


def test_one_odd_image_sets_no_threshold():
    """However far out it is."""
    contexts = [LEFT, RIGHT, "third"] * 8
    scores = scattered(contexts, 3, farther=1)
    scores[0] *= 100

    assert max(OwnThresholds.fit(scores, contexts).of_contexts.values()) < 1.1


def test_an_image_has_no_say_in_its_own_threshold():
    """Nor have others of its part: its own score may be anything."""
    contexts, parts = [LEFT, RIGHT] * 10, [str(n // 4) for n in range(20)]
    scores = scattered(contexts, 4, farther=3)
    others = np.array([part != "0" for part in parts])
    kept = [name for name, other in zip(contexts, others, strict=True) if other]

    with_own = OwnThresholds.fit(scores, contexts, parts)
    median = {name: np.median(np.log(scores[others][np.array(kept) == name])) for name in kept}

    assert with_own.of_images[1] == with_own.of_images[3]
    assert np.log(with_own.of_images[1] / with_own.of_images[0]) == pytest.approx(
        median[RIGHT] - median[LEFT], rel=0.2
    )


def test_each_context_alarms_as_often_as_all_do():
    """Over many draws new normal images of each are above the threshold at the rate that was asked;
    with one threshold those that differ more are alone."""
    contexts, above, above_one = [LEFT, RIGHT, "third"] * 30, [], []
    for seed in range(60):
        held_out, new = (scattered(contexts, 2 * seed + n, 1.5) for n in range(2))
        own = OwnThresholds.fit(held_out, contexts)
        threshold = calibrate(held_out / own.of_images, 0.1).image_threshold
        multiples = np.array([own.of_contexts[name] for name in contexts])
        above.append(new / multiples > threshold)
        above_one.append(new > calibrate(held_out, 0.1).image_threshold)

    def rates(above):
        return np.mean(above, 0).reshape(-1, 3).mean(0)  # (90,) -> of left, right and third

    np.testing.assert_allclose(rates(above), 0.1, atol=0.035)
    assert rates(above_one)[1] > 0.2
    assert max(rates(above_one)[[0, 2]]) < 0.05
