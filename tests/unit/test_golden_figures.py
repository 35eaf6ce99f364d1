"""The golden floor: figures on real golden defects, and when they lead to a training."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flows import monitor, nightly
from flows.jobs import golden_set
from flows.jobs.judging import PromotionOutcome
from reconad_plugin.errors import InvalidImageError, NotEnoughImagesError
from reconad_plugin.gate.golden import GoldenLabels, GoldenSet
from reconad_plugin.gate.golden_figures import count_defects, hash_golden, measure
from reconad_plugin.ledger.history import FINETUNE, VersionFacts
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.golden_images import GoldenImage, GoldenImages
from reconad_plugin.store.layout import ProductLayout
from tests.night_tables import GOLDEN, record
from tests.unit.test_ledger import FOUNDED, by_night, day, ledger

NORMALS = (0.1, 0.2, 0.3, 0.4)  # held-out scores of the version
LAYOUT = ProductLayout("bolt")


class Grey:
    """A version whose score is a picture's shade, in hundredths."""

    calibration = SimpleNamespace(normal_scores=NORMALS, image_threshold=0.35)
    image_size_px = 8

    def score(self, images):
        return SimpleNamespace(pred_score=images.mean((1, 2, 3)) / 100)


def pictures(*shades):
    """Pictures of one shade each."""
    return np.asarray(shades, np.uint8)[:, None, None, None] * np.ones((1, 3, 8, 8), np.uint8)


def golden(anomalous, normal=(), parts=()):
    """A golden set of pictures of these shades."""
    names = tuple(str(shade) for shade in anomalous)
    labels = GoldenLabels("real", (), (), names, ("pit",) * len(names), (), tuple(parts))
    return GoldenSet(pictures(*normal), pictures(*anomalous), labels)


def measured(*arguments, floor=0.95, **options):
    return measure(Grey(), golden(*arguments, **options), "d1", floor)


def test_figures_by_hand():
    """A defect above no, two and all of four normal images; one of three is above the threshold."""
    seen = measured([5, 25, 90])

    assert (seen.defects, seen.normals) == (3, 4)
    assert seen.auroc == pytest.approx((0 + 2 / 4 + 1) / 3)
    assert seen.auroc_but_one == pytest.approx((2 / 4 + 1) / 2)
    assert seen.recall == pytest.approx(1 / 3)
    assert seen.image_threshold == 0.35


def test_golden_normal_images_join_the_held_out_ones():
    """They are scored, and count as much."""
    seen = measured([25, 90], normal=[15, 95])

    assert seen.normals == 6
    assert seen.auroc == pytest.approx((3 / 6 + 5 / 6) / 2)


@pytest.mark.parametrize(
    ("shades", "parts", "floor", "is_below"),
    [
        pytest.param([5] + [90] * 9, (), 0.95, False, id="one of ten is missed"),
        pytest.param([5] * 2 + [90] * 8, (), 0.95, True, id="two of ten are missed"),
        pytest.param([5] * 2 + [90] * 8, (), None, False, id="no floor is set"),
        pytest.param([5] * 2 + [90] * 8, "aabcdefghi", 0.95, False, id="two pictures of one part"),
        pytest.param([90] * 10, (), 0.95, False, id="none is missed"),
    ],
)
def test_no_single_defect_leads_below_the_floor(shades, parts, floor, is_below):
    """The version is below it only if it is without the defect that lies lowest as well."""
    assert measured(shades, parts=parts, floor=floor).is_below is is_below


def bucket(tmp_path, *names, **facts):
    """Golden images of these names below ``golden/``; the first letters are their bytes."""
    images = [
        GoldenImage(f"bolt/golden/{name}", "", name.rpartition("/")[2][0], "") for name in names
    ]
    return GoldenImages(None, ContentCache(tmp_path), LAYOUT, tuple(images), **facts)


def test_golden_images_are_told_by_their_bytes_and_by_whether_they_are_normal(tmp_path):
    """Not by the file's name, nor by what a defect is called."""
    one = hash_golden(bucket(tmp_path, "pit/a.png", "normal/b.png"))

    assert hash_golden(bucket(tmp_path, "normal/b2.png", "scratch/a3.png")) == one
    assert hash_golden(bucket(tmp_path, "pit/a.png", "pit/b.png")) != one
    assert hash_golden(bucket(tmp_path, "pit/a.png")) != one


def test_defects_are_counted_by_their_bytes_or_parts(tmp_path):
    """A picture that lies there twice is one, and so are two of a part."""
    found = bucket(tmp_path, "pit/a.png", "dent/a.png", "pit/b.png", "pit/c.png", "normal/d.png")

    assert count_defects(found, None) == 3
    assert (
        count_defects(found, lambda key: "left" if key.endswith(("b.png", "c.png")) else key) == 3
    )
    with pytest.raises(InvalidImageError, match="move it"):
        count_defects(bucket(tmp_path, "a.png"), None)


def below(nights, history=FOUNDED, **golden_of):
    """A ledger whose watched nights, by number, were below the floor."""
    known = ledger(10, dict.fromkeys(nights, "none"), history)
    records = {day(n): record(day(n), golden=golden_of.get(f"n{n}", GOLDEN)) for n in nights}
    return replace(known, records=by_night(records))


def version(number, night, purpose="train", serves=False):
    return VersionFacts(number, "run", day(night).isoformat(), purpose, serves=serves)


CHAMPION = version("3", 0, serves=True)


@pytest.mark.parametrize(
    ("nights", "versions", "earlier", "is_due"),
    [
        pytest.param([], [CHAMPION], GOLDEN, True, id="first night below"),
        pytest.param([5], [CHAMPION], GOLDEN, True, id="no training came of the night before"),
        pytest.param([5], [CHAMPION, version("4", 5)], GOLDEN, False, id="trained, and refused"),
        pytest.param(
            [5], [CHAMPION, version("4", 5, FINETUNE)], GOLDEN, True, id="fine-tuned alone"
        ),
        pytest.param(
            [5],
            [CHAMPION, version("4", 5)],
            replace(GOLDEN, images="d0"),
            True,
            id="other golden images by now",
        ),
        pytest.param(
            [5],
            [CHAMPION, version("4", 5)],
            replace(GOLDEN, auroc_but_one=0.96),
            True,
            id="it was above then",
        ),
        pytest.param([5], [CHAMPION, version("4", 4)], GOLDEN, True, id="trained before"),
        pytest.param([], [CHAMPION, version("4", 7)], GOLDEN, True, id="the night is run again"),
        pytest.param(
            [5], [replace(CHAMPION, serves=False), version("2", 0, serves=True)], GOLDEN, False,
            id="another version serves by now",
        ),
    ],
)  # fmt: skip
def test_each_champion_and_golden_set_lead_to_one_training(nights, versions, earlier, is_due):
    """Tonight is night 7, of version 3."""
    history = replace(FOUNDED, versions=tuple(versions))
    known = below(nights, history, **{f"n{n}": earlier for n in nights})

    assert known.is_floor_to_answer(record(day(7), golden=GOLDEN)) is is_due
    assert not known.is_floor_to_answer(record(day(7)))
    assert not known.is_floor_to_answer(record(day(7), golden=replace(GOLDEN, floor=None)))


def test_a_champion_that_was_trained_for_the_floor_leads_to_no_other_training():
    """The same golden images; after a rollback the version before has had its training too."""
    old, new = version("2", 0), version("3", 5, serves=True)
    known = below([5], replace(FOUNDED, versions=(old, new)))
    of_old = replace(known.records[day(5)], model_version="2")
    known = replace(known, records=by_night({day(5): of_old}))
    back = replace(old, serves=True), replace(new, serves=False)
    rolled_back = replace(known, history=replace(FOUNDED, versions=back))

    assert not known.is_floor_to_answer(record(day(7), golden=GOLDEN))
    tonight = replace(record(day(7), golden=GOLDEN), model_version="2")
    assert not rolled_back.is_floor_to_answer(tonight)


def test_the_night_trains_and_says_why(monkeypatch):
    """The cause is noted with the version; on a night with an alarm nothing is trained."""
    asked = []

    def train(*arguments):
        asked.append(arguments)
        return PromotionOutcome("rejected", "4")

    monkeypatch.setattr(nightly, "train", train)
    monkeypatch.setattr(nightly, "emit", lambda *_, **__: None)
    known = below([], replace(FOUNDED, versions=(CHAMPION,)))
    product = SimpleNamespace(name="bolt", settings=SimpleNamespace(retrain_every_nights=0))

    action = nightly.react(product, known, day(7), record(day(7), golden=GOLDEN))
    held = nightly.react(product, known, day(7), record(day(7), "camera", golden=GOLDEN))
    fine = nightly.react(product, known, day(7), record(day(7)))

    assert asked == [("bolt", day(7), "golden_floor")]
    assert str(action).startswith("retrained, rejected 4; champion 3: image_AUROC 0.900 on 12 ")
    assert [str(held), str(fine)] == ["hold for review", "none"]


@pytest.fixture
def followed(tmp_path, monkeypatch):
    """Asks for the figures of night 7, of version 3; what was scored for it."""
    scored_with = []

    def measure_once(detector, found, images, floor):
        scored_with.append(images)
        return replace(GOLDEN, images=images, floor=floor)

    def ask(found, known, floor=0.95, night=7, number="3", threshold=0.3):
        settings = SimpleNamespace(golden_floor=floor)
        product = SimpleNamespace(
            name="bolt", store=None, cache=None, layout=None, limits=None, intake_limits=None,
            part_of=None, settings=settings,
        )  # fmt: skip
        monkeypatch.setattr(golden_set, "read_golden_images", lambda *_: found)
        calibration = SimpleNamespace(image_threshold=threshold)
        detector = SimpleNamespace(image_size_px=8, calibration=calibration)
        scored = SimpleNamespace(version=SimpleNamespace(number=number), detector=detector)
        return golden_set.follow_golden(product, known, day(night), scored)

    monkeypatch.setattr(golden_set, "measure", measure_once)
    monkeypatch.setattr(golden_set, "read_golden", lambda *_, **__: golden([90]))
    nothing = pd.DataFrame({"sha256": []})
    monkeypatch.setattr(golden_set, "filled_from", lambda version: nothing)
    ask.scored_with = scored_with
    return ask


def test_golden_images_are_scored_when_something_changed_alone(followed, tmp_path):
    """The version, its threshold or the golden images; a floor that is set anew holds at once."""
    found = bucket(tmp_path, *(f"pit/{letter}.png" for letter in "abcdefghij"))
    more = replace(found, images=(*found.images, GoldenImage("bolt/golden/pit/k", "", "k", "")))
    before = below([6], n6=replace(GOLDEN, images=hash_golden(found)))

    same = followed(found, before, floor=0.8)
    assert followed.scored_with == []
    assert same == replace(GOLDEN, images=hash_golden(found), floor=0.8)

    followed(more, before)
    followed(found, before, number="4")
    followed(found, before, threshold=0.5)
    followed(found, below([]))
    assert followed.scored_with == [hash_golden(more), *[hash_golden(found)] * 3]


def test_a_defect_that_filled_is_not_followed(followed, tmp_path, monkeypatch):
    """The version learnt from it; with too few others there are no figures."""
    found = bucket(tmp_path, *(f"pit/{letter}.png" for letter in "abcdefghij"))
    monkeypatch.setattr(golden_set, "filled_from", lambda _: pd.DataFrame({"sha256": ["a"]}))

    with pytest.raises(NotEnoughImagesError, match="bolt has 1: put more in"):
        followed(found, below([]))
    assert followed.scored_with == []


def test_a_night_of_before_keeps_its_figures(followed, tmp_path):
    """The golden images have changed since; a night without figures gets none."""
    known = below([5, 6, 8], n5=None)

    assert followed(bucket(tmp_path), known, night=6) == GOLDEN
    assert followed(bucket(tmp_path), known, night=6, number="2") is None
    assert followed(bucket(tmp_path), known, night=5) is None
    assert followed(bucket(tmp_path), known, night=7) is None
    assert followed.scored_with == []


@pytest.mark.parametrize(
    ("error", "floor", "level"),
    [
        (NotEnoughImagesError("it has 3"), None, logging.INFO),
        (NotEnoughImagesError("it has 3"), 0.95, logging.WARNING),
        (InvalidImageError("truncated", "golden image a.png"), None, logging.WARNING),
    ],
    ids=["few", "few, but a floor is set", "cannot be read"],
)
def test_a_golden_set_that_has_no_figures_stops_no_night(monkeypatch, caplog, error, floor, level):
    """One line says why: a warning, where somebody has to do something."""

    def fail(*_):
        raise error

    monkeypatch.setattr(golden_set, "follow_golden", fail)
    monkeypatch.setattr(monitor, "get_run_logger", lambda: logging.getLogger("monitor"))
    product = SimpleNamespace(settings=SimpleNamespace(golden_floor=floor))

    with caplog.at_level(logging.INFO, "monitor"):
        assert monitor.follow_golden.__wrapped__(product, None, day(7), None) is None

    (said,) = caplog.records
    assert (said.levelno, said.getMessage()) == (level, f"no figures on the golden set: {error}")


def test_too_few_defects_are_said_with_what_to_do(followed, tmp_path):
    """Ten are enough; an image that the bucket does not hand out is an error of its own."""
    found = bucket(tmp_path, "pit/a.png")

    with pytest.raises(NotEnoughImagesError, match="from 10 real defects on; bolt has 1: put more"):
        followed(found, below([]))
    with pytest.raises(InvalidImageError, match="denied"):
        followed(replace(found, unreadable=(InvalidImageError("x", "denied"),)), below([]))
