"""The first images are checked: what stands out waits for a person, and the same every time."""

from datetime import date

import numpy as np
import pytest

from flows.jobs import first_images
from flows.jobs.first_images import WHY, hold_outliers
from flows.jobs.product import Product
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.images.geometry import decode_to_size, stack_images
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.ledger import read_ledger
from reconad_plugin.ledger.manifest import IntakeRules, build_manifest, write_manifest
from reconad_plugin.ledger.night_record import NORMAL, NightRecords
from reconad_plugin.networks.registry import RANDOM_FEATURES
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.training.first_images import SIZE, find_outliers, measure_deviations
from tests.factory import normal_picture, to_png, with_scratch
from tests.unit.test_manifest import Bucket

NIGHT = date(2026, 5, 1)
LAYOUT = ProductLayout("bolt")
SCRATCHED = (5, 23)


def pictures(count, scratched=(), seed=0):
    """Pictures as files, some of them with a clear defect."""
    source = np.random.default_rng(seed)
    made = [normal_picture(source) for _ in range(count)]
    made = [with_scratch(each) if index in scratched else each for index, each in enumerate(made)]
    return [to_png((each.clip(0, 1) * 255).astype(np.uint8)) for each in made]


def squares(files):
    """(N, 3, 128, 128) uint8 of files."""
    return stack_images([decode_to_size(each, SIZE, ImageLimits()) for each in files], SIZE)


@pytest.fixture
def product(tmp_path):
    """A product whose bucket is in memory, with random filters."""
    bucket = Bucket()
    return Product(
        name="bolt",
        settings=ProductSettings(model="fre", features=RANDOM_FEATURES),
        workspace="",
        report="lean",
        store=bucket,
        cache=ContentCache(tmp_path),
        layout=LAYOUT,
        records=NightRecords(bucket, LAYOUT),
    )


@pytest.fixture
def deliver(product, monkeypatch):
    """Ingests a night's files; no version has served until one is said to."""
    history = [History()]

    def read(of):
        return read_ledger(of.store, of.layout, of.records, history[0])

    monkeypatch.setattr(first_images, "open_ledger_to_train", read)

    def ingest(files, served=False):
        for number, content in enumerate(files):
            product.store[f"{LAYOUT.incoming(NIGHT)}{number:03}.png"] = content
        rules = IntakeRules(ImageLimits())
        table = build_manifest(product.store, product.cache, LAYOUT, NIGHT, rules)
        write_manifest(product.store, LAYOUT, NIGHT, table)
        history[0] = History(founding_until="2026-04-30") if served else History()

    return ingest


def learnable(product):
    """Names of the images that a training of the night may use."""
    rows = first_images.open_ledger_to_train(product).training_images(0.02)
    return {key[-7:-4] for key in rows["key"]}


def names(*numbers):
    """Names of pictures by their number."""
    return {f"{number:03}" for number in numbers}


@pytest.mark.parametrize(
    "features", [None, RANDOM_FEATURES], ids=["the wheel's, where it is", "random"]
)
def test_clear_defects_stand_out_and_nothing_else(features, recwarn):
    """Two of forty, and none of forty clean ones."""
    found = find_outliers(measure_deviations(squares(pictures(40, SCRATCHED)), features))
    clean = find_outliers(measure_deviations(squares(pictures(40, seed=1)), features))

    assert set(np.flatnonzero(found)) == set(SCRATCHED)
    assert not clean.any()


def test_few_images_tell_nothing_and_many_odd_ones_are_a_second_kind():
    """Nobody is asked about either."""
    few = measure_deviations(squares(pictures(12, SCRATCHED[:1])), RANDOM_FEATURES)

    assert (few == 0).all()
    assert not find_outliers(np.array([9.0, 9.0, *[0.0] * 10])).any()
    assert find_outliers(np.array([9.0, *[0.0] * 11])).sum() == 1


def test_a_part_is_held_against_other_parts():
    """Three pictures of one scratched part do not vouch for each other."""
    files = [*pictures(60), *pictures(3, (0, 1, 2), seed=9)]
    parts = [*(str(number // 2) for number in range(60)), *["odd"] * 3]

    found = measure_deviations(squares(files), RANDOM_FEATURES, parts)

    assert set(np.flatnonzero(find_outliers(found))) == {60, 61, 62}


def test_what_stands_out_waits_and_is_not_learnt(product, deliver):
    """All others keep their side, and the list says why and by how much."""
    deliver(pictures(40, SCRATCHED))
    before = first_images.open_ledger_to_train(product).training_images(0.02)

    held = hold_outliers(product, NIGHT)

    assert {key[-7:-4] for key in held.rows["key"]} == names(*SCRATCHED)
    assert held.remark == "; 2 images that are unlike the others of 2026-05-01 wait for review"
    assert learnable(product) == names(*range(40)) - names(*SCRATCHED)
    after = first_images.open_ledger_to_train(product).training_images(0.02)
    assert set(zip(after["key"], after["split"], strict=True)) < set(
        zip(before["key"], before["split"], strict=True)
    )
    review = product.records.review(NIGHT)
    assert set(review["why"]) == {WHY}
    assert (review["matched_score"] > 5).all()


def test_a_clean_night_holds_nothing(product, deliver):
    """Nor does it write a list, and all of it is learnt."""
    deliver(pictures(40, seed=1))

    held = hold_outliers(product, NIGHT)

    assert held.remark == ""
    assert learnable(product) == names(*range(40))
    assert product.records.reviewed_nights() == []


def test_the_same_images_have_the_same_answer(product, deliver, monkeypatch):
    """A run that was killed before the list was written writes it, without looking again, and what
    a person released stays so and is learnt."""
    deliver(pictures(40, SCRATCHED))
    write = NightRecords.change_review

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(NightRecords, "change_review", die)
    with pytest.raises(KeyboardInterrupt):
        hold_outliers(product, NIGHT)
    monkeypatch.setattr(NightRecords, "change_review", write)
    monkeypatch.setattr(first_images, "measure_deviations", None)

    again = hold_outliers(product, NIGHT)
    review = product.records.review(NIGHT)
    review.loc[review["key"].str.endswith("005.png"), "decision"] = NORMAL
    product.records.change_review(NIGHT, lambda _: review)
    released = hold_outliers(product, NIGHT)

    assert len(again.rows) == 2
    assert released.remark == "; 1 image that is unlike the others of 2026-05-01 wait for review"
    assert learnable(product) == names(*range(40)) - names(23)


def test_once_a_version_served_the_watch_looks(product, deliver):
    """Nothing is held here any more, and nothing is kept."""
    deliver(pictures(40, SCRATCHED), served=True)

    assert hold_outliers(product, NIGHT).remark == ""
    assert product.records.first_check() is None
