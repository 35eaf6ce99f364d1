"""How often new images are seen beside old ones in a fine-tuning."""

import pandas as pd
import pytest

from reconad_plugin.training.images import oversample


def rows(name, count):
    """Rows of images of one night."""
    return pd.DataFrame({"sha256": [f"{name}{number}" for number in range(count)], "night": name})


def test_new_images_are_repeated_until_they_weigh_as_much():
    """Six old images and two new: the new come three times each, the old once."""
    counts = oversample(rows("old", 6), rows("new", 2))["sha256"].value_counts()

    assert counts[["new0", "new1"]].tolist() == [3, 3]
    assert counts.drop(["new0", "new1"]).tolist() == [1] * 6


@pytest.mark.parametrize(
    ("old", "new", "repeats"),
    [
        pytest.param(2, 6, 1, id="more new than old"),
        pytest.param(5, 2, 2, id="two and a half times as many"),
        pytest.param(9, 2, 4, id="four and a half times as many"),
        pytest.param(4, 4, 1, id="as many"),
    ],
)
def test_repeats_are_rounded_and_never_none(old, new, repeats):
    """New images stand at least once, and old ones exactly once."""
    nights = oversample(rows("old", old), rows("new", new))["night"].value_counts()

    assert nights["old"] == old
    assert nights["new"] == repeats * new


def test_one_world_alone_is_not_repeated():
    """Without old images, or without new ones, there is nothing to balance."""
    some, none = rows("a", 2), rows("b", 0)

    pd.testing.assert_frame_equal(oversample(some, none), some)
    pd.testing.assert_frame_equal(oversample(none, some), some)
