"""What another threshold would reject and miss, from what is known."""

from dataclasses import replace

import numpy as np
import pytest

from reconad_plugin.errors import ObjectUnreadableError
from reconad_plugin.gate.threshold_trial import (
    GOLDEN,
    TRIAL_NIGHTS,
    gather_trial,
    score_missing,
    try_threshold,
)
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.night_record import DEFECT, NORMAL, REVIEW_COLUMNS
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.golden_images import GoldenImage, GoldenImages
from reconad_plugin.store.layout import ProductLayout
from tests.unit.test_ledger import by_night, day, ledger, manifest, scores

LAYOUT = ProductLayout("bolt")


def golden(tmp_path, *names, defect=None):
    """Golden images of these names."""
    images = [GoldenImage(f"bolt/golden/{name}", "", name, "", defect) for name in names]
    return GoldenImages(None, ContentCache(tmp_path), LAYOUT, tuple(images))


def reviewed(night, **decisions):
    """A review that names images by their number on the night."""
    rows = manifest(night).iloc[[int(name[1:]) for name in decisions]]
    rows = rows.reindex(columns=list(REVIEW_COLUMNS)).fillna("")
    said = [each.partition(":") for each in decisions.values()]
    return rows.assign(decision=[each[0] for each in said], defect=[each[2] for each in said])


@pytest.fixture
def told():
    """Ten nights; version 2 scored the last three, and persons decided on some images."""
    nights = range(1, 10)
    told = ledger(10, dict.fromkeys(nights, "none"))
    by = {
        day(n): scores(day(n)).assign(
            model_version="2" if n > 6 else "1", pred_score=np.arange(5) / 10
        )
        for n in nights
    }
    reviews = {
        day(1): reviewed(day(1), n4=f"{DEFECT}:pit", n3=NORMAL),
        day(9): reviewed(day(9), n4=DEFECT, n0=NORMAL),
    }
    return replace(told, scores=by_night(by), reviews=by_night(reviews))


def test_last_nights_and_all_known_defects_tell(told, tmp_path):
    """Of older nights the defects alone; golden ones but the normal; a score where the version
    gave it."""
    found = gather_trial(told, golden(tmp_path, "normal/a.png", "scratch/b.png", "c.png"), "2")

    defects, others = found[found["defect"] != ""], found[found["defect"] == ""]
    assert list(zip(defects["night"], defects["defect"], strict=True)) == [
        (day(1).isoformat(), "pit"),
        (day(9).isoformat(), DEFECT),
        (GOLDEN, "scratch"),
    ]
    assert defects["score"].isna().tolist() == [True, False, True]
    assert others["night"].nunique() == TRIAL_NIGHTS
    assert len(others) == 5 * TRIAL_NIGHTS - 1
    is_own = others["night"] >= day(7).isoformat()
    assert others["score"].notna().tolist() == is_own.tolist()


def test_a_golden_defect_that_came_as_an_image_stays_one(told, tmp_path):
    """Nobody was asked about it on its night; it counts once, as a defect."""
    name = f"{day(8)}/2.png"  # of an image, and its hash
    images = (GoldenImage("bolt/golden/scratch/a.png", "", name, ""),)
    found = gather_trial(told, replace(golden(tmp_path), images=images), "2")

    assert found.loc[found["sha256"] == name, "defect"].tolist() == ["scratch"]


def test_a_threshold_rejects_and_misses(told, tmp_path):
    """An image is rejected above it, a defect missed at or below."""
    known = gather_trial(told, golden(tmp_path), "2").dropna(subset="score")

    low, high = try_threshold(known, 0.15), try_threshold(known, 0.4)

    assert (low.images, low.rejected, low.defects, low.missed) == (14, 8, 1, 0)
    assert (high.rejected, high.missed) == (0, 1)


def test_what_the_version_did_not_score_is_scored_now(
    told, tmp_path, tiny_detector, make_normal, encode
):
    """And what cannot be read is left out."""
    pictures = iter(make_normal(40, 7).permute(0, 2, 3, 1).numpy())
    gone = f"{day(1)}/4.png"

    def read(sha256, key):
        if key == gone:
            raise ObjectUnreadableError(f"{key} is gone")
        return encode(next(pictures), "PNG")

    found = gather_trial(told, golden(tmp_path, "scratch/b.png"), "2")
    scored = score_missing(found, tiny_detector, read, ImageLimits())

    assert len(scored) == len(found) - 1
    assert scored["score"].notna().all()
    assert gone not in set(scored["key"])
    own = found.dropna(subset="score")
    assert set(own["score"]) <= set(scored["score"])


def test_a_product_without_nights_and_defects_has_nothing_to_tell(tmp_path):
    """No image, nothing rejected or missed."""
    found = gather_trial(ledger(0, {}), golden(tmp_path), "1")

    tried = try_threshold(found, 0.5)

    assert (tried.images, tried.defects, tried.missed) == (0, 0, 0)
