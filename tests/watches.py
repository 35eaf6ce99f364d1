"""What the tests of a made-up night say, for the tests of the triage."""

import numpy as np

from reconad_plugin.watch.cause import find_cause
from reconad_plugin.watch.night_tests import Watch, chance_of
from reconad_plugin.watch.results import ContrastCheck, CountCheck, StatisticCheck
from reconad_plugin.watch.statistics import STATISTICS, Exceedances

# of 100 held-out images the threshold lets one through
FEW = Exceedances(above=0, images=30, calibration_images=100, calibration_above=1)
HINT = Exceedances(above=3, images=30, calibration_images=100, calibration_above=1)
SOME = Exceedances(above=12, images=30, calibration_images=100, calibration_above=1)
MANY = Exceedances(above=20, images=30, calibration_images=100, calibration_above=1)
ALL = Exceedances(above=30, images=30, calibration_images=100, calibration_above=1)
A_THIRD = Exceedances(above=10, images=30, calibration_images=12, calibration_above=1)
NOT_KNOWN = Exceedances(above=0, images=0, calibration_images=0, calibration_above=0)
LIMIT = 4e-4


def count(seen, limit=LIMIT):
    """The test of a count against the calibration alone."""
    return CountCheck(seen.above, seen.images, 0.01, chance_of(seen), limit)


def contrast(seen, limit=LIMIT):
    """The test of a contrast that is as rare as such a count."""
    return ContrastCheck(seen.above, seen.images, 0.01, chance_of(seen), limit)


def tonight(suspects=FEW, above_threshold=FEW, stand_out=NOT_KNOWN):
    """So many suspects, images above the threshold, and images that stand out from their cell."""
    return {
        "suspects": count(suspects),
        "above_threshold": count(above_threshold),
        "contrast": contrast(stand_out),
    }


def checks(*jumps, shifts=(), drifting=(), **moves):
    """A check of each statistic: some jump, some shift, some are not settled; ``moves`` tells how
    far a statistic is from what was expected, in its own unit."""
    return {
        name: StatisticCheck(
            statistic=name,
            value=0.42 + moves.get(name, -0.12 if name in (*jumps, *shifts) else 0.0),
            expected=0.42,
            effect=-6.0 if name in jumps else -2.5 if name in shifts else -0.5,
            score=-6.0 if name in jumps else -0.5,
            average=-5.0 if name in shifts else -3.2 if name in drifting else -0.1,
            jump_limit=4.1,
            average_limit=3.9,
        )
        for name in STATISTICS
    }


def watch(night, found):
    """What the tests say of a night."""
    return Watch(found, **night, ordinary_scores=np.zeros((0, 0)), autocorrelation=np.zeros(0))


def cause(night, found):
    """The cause, where no alarm was open."""
    return find_cause(watch(night, found))
