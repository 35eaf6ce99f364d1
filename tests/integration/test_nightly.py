"""The nightly story on real servers, with a small network and made-up parts."""

from datetime import date, timedelta

import numpy as np
import pytest
from mlflow import MlflowClient

from flows.commands.review import review_night
from flows.finetune import finetune
from flows.ingest import ingest
from flows.jobs.night_outcome import NightOutcome
from flows.jobs.nightly_training import TrainingSet, training_job
from flows.jobs.product import open_product
from flows.nightly import nightly
from mlflow_models import registry
from mlflow_models.tracking import read_training_images
from reconad_plugin.config import TrainingSettings
from reconad_plugin.errors import ConfigError, NoChampionError, NotEnoughImagesError
from reconad_plugin.ledger.manifest import read_manifest
from reconad_plugin.ledger.splits import CALIBRATION, JUDGE, LIGHT_ONLY, TRAIN
from tests.factory import Factory, normal_picture, to_png, under_dim_lamp, with_scratch

START = date(2026, 4, 1)


def nights(count: int) -> list[date]:
    return [START + timedelta(day) for day in range(count)]


def run_quiet_nights(factory: Factory, count: int) -> list[NightOutcome]:
    results = []
    for night in nights(count):
        factory.deliver(night)
        results.append(nightly(factory.product, night))
    return results


def test_first_nights_train_and_promote_then_stay_quiet(factory: Factory) -> None:
    """The first version serves after the first night, ordinary nights raise nothing, a night
    without images ends well, and running nights again changes nothing."""
    empty_before = nightly(factory.product, START - timedelta(1))
    results = run_quiet_nights(factory, 2)
    empty_after = nightly(factory.product, nights(3)[-1])
    again = [nightly(factory.product, night) for night in nights(2)]

    assert str(empty_before.action) == "gathering: 0 of 1 nights"
    assert str(results[0].action) == "trained, promoted 1"
    assert str(results[1].action) == "none"
    assert str(empty_after.action) == "no images"
    assert str(again[0].action) == "trained the first version"
    assert [result.record for result in again] == [result.record for result in results]
    (only,) = registry.versions(factory.product)
    assert only.tags[registry.NIGHT_TAG] == "2026-04-01"


def test_a_product_gathers_nights_before_its_first_training(new_factory) -> None:
    """With first_training_nights = 2 the first night only gathers."""
    factory = new_factory(first_training_nights=2)

    results = run_quiet_nights(factory, 2)

    assert str(results[0].action) == "gathering: 1 of 2 nights"
    assert str(results[1].action) == "trained, promoted 1"


def test_scheduled_retraining_comes_when_it_is_due(new_factory) -> None:
    """With retrain_every_nights = 2 a challenger is trained on the second night after."""
    factory = new_factory(retrain_every_nights=2)

    results = run_quiet_nights(factory, 3)

    assert str(results[1].action) == "none"
    assert str(results[2].action).startswith("retrained, ")
    assert len(registry.versions(factory.product)) == 2


def test_too_few_images_for_a_first_version_is_said(factory: Factory) -> None:
    """The message says how many are needed, how many came, and what to do."""
    factory.deliver(START, count=5)

    with pytest.raises(NotEnoughImagesError, match=r"at least 10 accepted normal images; got 5"):
        nightly(factory.product, START)


def test_defects_are_held_and_never_learnt_until_a_person_says_so(
    factory: Factory, capsys: pytest.CaptureFixture
) -> None:
    """A night of scratched parts is named defects, waits for a person, and cannot be learnt."""
    run_quiet_nights(factory, 2)
    bad_night = nights(3)[-1]
    factory.deliver(bad_night, change=with_scratch)

    result = nightly(factory.product, bad_night)

    assert (result.record.cause, str(result.action)) == ("defects", "hold for review")
    opened = open_product(factory.product)
    waiting = opened.records.review(bad_night)
    assert (len(waiting), set(waiting["decision"])) == (40, {"waiting"})
    with pytest.raises(ConfigError, match="has 'defects': review its images first"):
        finetune(factory.product, bad_night)
    assert len(registry.versions(factory.product)) == 1

    key = waiting["key"].iloc[0]
    review_night(factory.product, bad_night, normal=[key], defect=None)

    decided = opened.records.review(bad_night).set_index("key")["decision"]
    assert decided[key] == "normal"
    assert key in capsys.readouterr().out
    learnt = TrainingSet.read(opened, bad_night).rows
    assert learnt.loc[learnt["night"] == bad_night.isoformat(), "key"].tolist() == [key]
    with pytest.raises(ConfigError, match="'nowhere' is none"):
        review_night(factory.product, bad_night, normal=["nowhere"], defect=None)


def test_a_dimmed_lamp_is_named_and_learnt_once(factory: Factory) -> None:
    """The lamp loses half its light: cause light, fine-tuning on earlier images in that light,
    promotion, quiet again; and the night run again sends nobody to learn twice."""
    run_quiet_nights(factory, 5)
    dimmed, after = nights(7)[5:]
    factory.deliver(dimmed, change=under_dim_lamp)

    result = nightly(factory.product, dimmed)
    outcome = finetune(factory.product, dimmed)
    factory.deliver(after, change=under_dim_lamp)
    next_night = nightly(factory.product, after)
    again = nightly(factory.product, dimmed)

    assert (result.record.cause, str(result.action)) == ("light", "drift event sent")
    assert str(outcome) == "promoted 2"
    assert registry.version_by_alias(factory.product, "previous_champion").number == "1"
    learnt = read_training_images(registry.champion(factory.product).uri)
    of_dimmed = learnt.loc[learnt["uri"].str.contains(dimmed.isoformat()), "split"]
    assert set(of_dimmed) == {LIGHT_ONLY, CALIBRATION, JUDGE}
    opened = open_product(factory.product)
    pictures = training_job(opened, dimmed, TrainingSettings(), cause="light").load().train.float()
    before, relit = pictures.chunk(2)
    assert (relit / before.clamp(min=1)).median() == pytest.approx(0.5 ** (1 / 2.2), abs=0.03)
    run_id = registry.champion(factory.product).run_id
    shown_pictures = int(MlflowClient().get_run(run_id).data.params["images_train"])
    assert shown_pictures == 2 * (learnt["split"] == TRAIN).sum()
    shown = {each.path for each in MlflowClient().list_artifacts(run_id, "gate")}
    assert {"gate/disagreement.png", "gate/checks.csv", "gate/verdict.json"} <= shown
    assert next_night.record.model_version == "2"
    assert not next_night.record.is_alarm, next_night.record.explanation
    assert (str(again.action), again.record) == ("fine-tuned, promoted 2", result.record)
    assert len(registry.versions(factory.product)) == 2


def test_late_files_of_a_closed_night_train_nothing(factory: Factory) -> None:
    """What arrives after the first version was trained has no score to vouch for it."""
    run_quiet_nights(factory, 1)
    scratched = normal_picture(np.random.default_rng(77))
    late = (with_scratch(scratched).clip(0, 1) * 255).astype(np.uint8)
    late_key = factory.put(START, "late.png", to_png(late))

    result = nightly(factory.product, START)

    too_late = "1 came after it: neither scored nor learnt"
    assert (result.accepted, str(result.action)) == (41, f"trained the first version; {too_late}")
    opened = open_product(factory.product)
    manifest = read_manifest(opened.store, opened.layout, START)
    (row,) = manifest[manifest["key"] == late_key].to_dict("records")
    assert (row["verdict"], row["split"]) == ("accepted", "")
    with pytest.raises(ConfigError, match="is never learnt"):
        review_night(factory.product, START, normal=[late_key], defect=None)


def test_a_night_that_was_never_watched_teaches_nothing(new_factory) -> None:
    """A night whose watch died is not taken for one of the trusted first nights."""
    factory = new_factory(retrain_every_nights=2)
    run_quiet_nights(factory, 1)
    unwatched = nights(2)[-1]
    factory.deliver(unwatched, change=with_scratch)
    ingest(factory.product, unwatched)
    opened = open_product(factory.product)

    rows = TrainingSet.read(opened, unwatched).rows

    assert set(rows["night"]) == {"2026-04-01"}


def test_finetuning_without_a_champion_is_refused(factory: Factory) -> None:
    """A night that nothing scored has no cause, so nothing is learnt from it."""
    factory.deliver(START)

    with pytest.raises(ConfigError, match="has 'none'"):
        finetune(factory.product, START)
    with pytest.raises(NoChampionError, match="has no version with the alias 'champion'"):
        registry.champion(factory.product)
