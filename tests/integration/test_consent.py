"""What may be learnt and what judges, when nights are run again or a version was rolled back."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from flows.commands.review import review_night
from flows.finetune import finetune
from flows.ingest import ingest
from flows.jobs.ledger import open_ledger, sync_history
from flows.jobs.nightly_training import TrainingSet, training_job
from flows.jobs.product import open_product
from flows.jobs.training_job import TrainingJob
from flows.nightly import nightly, react
from flows.promote import gather_golden
from flows.runtime.locks import recover
from mlflow_models import alias_log, registry, version_tags
from mlflow_models.tracking import trained_on
from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.images.size import ImageSize
from reconad_plugin.ledger.deciding import Decision
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.manifest import read_manifest
from reconad_plugin.ledger.night_record import DEFECT, NORMAL
from reconad_plugin.store.golden_notes import GoldenNote, note_golden, read_golden_notes
from tests.command_line import run
from tests.factory import Factory, to_png, with_scratch
from tests.world import GATHERED, IMAGES, QUIET, SCRATCHED, TRAINED, Story, fork

LATER = SCRATCHED + timedelta(9)
FIRST, SECOND, THIRD = TRAINED, QUIET, SCRATCHED  # the third of the story is of another world
VERDICT = {"reason": "better", "checks": []}


@pytest.fixture(scope="module")
def world(
    narrow_widths: None, told: Story, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Factory]:
    """A product that version 1 has watched for a night."""
    with pytest.MonkeyPatch.context() as environment:
        yield fork(told, SECOND, tmp_path_factory.mktemp("world"), environment)


@pytest.fixture
def watched(world: Factory, monkeypatch: pytest.MonkeyPatch) -> Factory:
    """The same for tests that leave its nights as they are."""
    monkeypatch.setenv("RECONAD_CONFIG", str(world.settings))
    return world


def history(product: str) -> History:
    """What is kept of a product's versions, brought up to date."""
    return sync_history(open_product(product))


def learnt_nights(factory: Factory, night: date) -> set[str]:
    """Nights that a training would learn from."""
    opened = open_product(factory.product)
    return set(TrainingSet.read(opened, night).rows["night"])


def test_what_a_rolled_back_version_saw_vouches_for_nothing(
    forked: Callable[..., Factory],
) -> None:
    """Its nights teach neither a version nor the watch until the version that serves instead has
    scored them."""
    factory = forked(SECOND)
    founding = {GATHERED.isoformat(), FIRST.isoformat()}
    assert learnt_nights(factory, SECOND) == founding | {SECOND.isoformat()}
    client, name = MlflowClient(), registry.model_name(factory.product)
    first = registry.champion(factory.product)
    client.create_model_version(name, first.uri, first.run_id, tags=first.tags)
    client.set_registered_model_alias(name, registry.CHAMPION, "2")
    rejected = {version_tags.STATE_TAG: registry.REJECTED}  # judged again
    registry.set_tags(factory.product, "1", rejected)
    client.set_model_version_tag(name, "1", version_tags.ROLLED_BACK_NIGHT_TAG, SECOND.isoformat())

    assert learnt_nights(factory, SECOND) == founding
    with pytest.raises(ConfigError, match="scored by version 1, which was rolled back: run"):
        finetune(factory.product, SECOND)
    factory.deliver(THIRD, IMAGES)
    held_against = nightly(factory.product, THIRD).record.checks["luminance"].expected
    opened = open_product(factory.product)
    manifests = [read_manifest(opened.store, opened.layout, night) for night in (GATHERED, FIRST)]
    assert held_against == pytest.approx(pd.concat(manifests)["luminance"].mean())

    again = nightly(factory.product, SECOND)
    assert again.record.model_version == "2"
    assert learnt_nights(factory, SECOND) == founding | {SECOND.isoformat()}


def test_a_rollback_takes_back_what_a_version_was_promoted_for(
    factory: Factory, told: Story
) -> None:
    """The light it learnt is no new normal any more, and judged again it stays rolled back."""
    product, opened = factory.product, open_product(factory.product)

    def levels() -> frozenset[str]:
        return open_ledger(opened, sync_history(opened)).new_levels(THIRD)

    for night in (FIRST, SECOND):
        register_copy(told, product, night, {version_tags.PURPOSE_TAG: "finetune"})
    put_into_service(product, "1", FIRST)
    put_into_service(product, "2", SECOND)
    assert levels() == {FIRST.isoformat(), SECOND.isoformat()}

    alias_log.finish(product, alias_log.roll_back(product, "2", THIRD.isoformat(), "bad"))
    alias_log.note_verdict(product, "2", VERDICT)
    alias_log.reject(product, "2")

    assert levels() == {FIRST.isoformat()}
    assert sync_history(opened).rolled_back == {"2"}


def test_images_are_trusted_up_to_the_first_version_that_served_by_hand(
    factory: Factory, told: Story
) -> None:
    """The gate refused it and a person let it serve: it is the first, and not the next one."""
    product = factory.product
    for night in (FIRST, THIRD):
        register_copy(told, product, night)
    alias_log.note_verdict(product, "1", VERDICT)
    alias_log.reject(product, "1")
    name = registry.model_name(product)
    MlflowClient().set_registered_model_alias(name, registry.CHAMPION, "1")

    recover(product)
    history(product)
    put_into_service(product, "2", THIRD)

    assert history(product).founding_until == FIRST.isoformat()
    assert registry.version(product, "1").tags[version_tags.STATE_TAG] == registry.REJECTED


def test_a_rolled_back_version_that_a_person_puts_back_counts_again(
    factory: Factory, told: Story
) -> None:
    """By hand in MLflow, against the rollback: what it says of a night vouches for it again."""
    product = factory.product
    for night in (FIRST, SECOND):
        register_copy(told, product, night)
    put_into_service(product, "1", FIRST)
    put_into_service(product, "2", SECOND)
    alias_log.finish(product, alias_log.roll_back(product, "2", THIRD.isoformat(), "bad"))
    recover(product)
    assert history(product).rolled_back == {"2"}
    MlflowClient().set_registered_model_alias(registry.model_name(product), registry.CHAMPION, "2")

    recover(product)

    assert history(product).rolled_back == frozenset()
    assert registry.champion(product).tags[version_tags.STATE_TAG] == registry.PROMOTED


def test_what_is_deleted_in_the_registry_makes_no_image_more_trusted(
    forked: Callable[..., Factory],
) -> None:
    """Version 1 is deleted, then the whole registered model: the defects of a night that nobody
    watched stay out, and a night of the deleted version is scored by the one that serves."""
    factory = forked(SECOND)
    factory.deliver(THIRD, IMAGES, change=with_scratch)
    ingest(factory.product, THIRD)
    client, name = MlflowClient(), registry.model_name(factory.product)
    first = registry.champion(factory.product)
    tags = {version_tags.NIGHT_TAG: LATER.isoformat()}
    client.create_model_version(name, first.uri, first.run_id, tags=tags)
    put_into_service(factory.product, "2", LATER)
    before = learnt_nights(factory, LATER)

    client.delete_model_version(name, "1")
    after = learnt_nights(factory, LATER)
    again = nightly(factory.product, SECOND)
    client.delete_registered_model(name)

    assert before == after == {night.isoformat() for night in (GATHERED, FIRST, SECOND)}
    assert again.record is not None
    assert again.record.model_version == "2"
    assert learnt_nights(factory, LATER) == before


def register_copy(
    told: Story, product: str, night: date, tags: dict[str, str] | None = None
) -> None:
    """A version with a trained model, as if it were of this night."""
    source = registry.version(told.product, "1")
    client, name = MlflowClient(), registry.model_name(product)
    if not registry.versions(product):
        client.create_registered_model(name)
    tags = {version_tags.NIGHT_TAG: night.isoformat()} | (tags or {})
    client.create_model_version(name, source.uri, source.run_id, tags=tags)


def put_into_service(product: str, number: str, night: date) -> None:
    move = alias_log.promote(product, number, night.isoformat(), VERDICT)
    alias_log.finish(product, move)


def test_a_night_whose_cause_has_turned_is_told_of_again(forked: Callable[..., Factory]) -> None:
    """A version learnt the night's light; run again with defects it is held, not called learnt."""
    factory = forked(SCRATCHED)
    client, name = MlflowClient(), registry.model_name(factory.product)
    first = registry.champion(factory.product)
    learnt = {
        version_tags.PURPOSE_TAG: "finetune",
        version_tags.NIGHT_TAG: SCRATCHED.isoformat(),
        version_tags.CAUSE_TAG: "light",
        version_tags.STATE_TAG: registry.REJECTED,
    }
    client.create_model_version(name, first.uri, first.run_id, tags=learnt)

    result = nightly(factory.product, SCRATCHED)

    assert (result.record.cause, str(result.action)) == ("defects", "hold for review")
    opened = open_product(factory.product)
    ledger = open_ledger(opened, sync_history(opened))
    as_before = replace(result.record, cause="light")
    assert str(react(opened, ledger, SCRATCHED, as_before)) == "fine-tuned, rejected 2"
    client.delete_model_version(name, "2")  # what is gone stands for nothing: it is told of again
    assert str(react(opened, ledger, SCRATCHED, as_before)) == "hold for review"


@pytest.mark.parametrize("night", [FIRST, SECOND], ids=["before any version", "watched"])
def test_a_person_decides_on_images_that_no_list_asks_about(watched: Factory, night: date) -> None:
    """A defect that somebody finds among normal images is learnt no more, until taken back."""
    opened = open_product(watched.product)

    def keys() -> set[str]:
        return set(TrainingSet.read(opened, SECOND).rows["key"])

    before = keys()
    found = min(key for key in before if night.isoformat() in key)
    review_night(watched.product, night, [found], Decision(DEFECT))
    without = keys()
    review_night(watched.product, night, [found], Decision(NORMAL))

    assert without == before - {found}
    assert keys() == before


def test_a_decision_of_the_command_says_whose_it_is(watched: Factory) -> None:
    """As one of the page does; a name for a normal image is refused."""
    opened = open_product(watched.product)
    night, key = str(SECOND), max(TrainingSet.read(opened, SECOND).rows["key"])
    assert night in key

    said = run("review", watched.product, night, "--defect", key, "--named", "pit", "--by", "Ana")
    row = opened.records.review(SECOND).set_index("key").loc[key]
    wrong = run("review", watched.product, night, "--normal", key, "--named", "pit")
    note = GoldenNote(row["sha256"], row["pixels_sha256"], key, "pit", True, "Ana", row["at"])
    note_golden(opened.store, opened.layout, [note])
    run("review", watched.product, night, "--normal", key)

    assert not read_golden_notes(opened.store, opened.layout)[0].is_golden
    assert (said.returncode, wrong.returncode) == (0, 2)
    assert f"{key}  (defect, pit, by Ana)" in said.stdout
    assert row[["decision", "defect", "by"]].tolist() == [DEFECT, "pit", "Ana"]
    assert row["at"].endswith("+00:00")
    assert "a normal image none; got --named pit" in wrong.stderr


def test_a_night_that_nothing_is_known_of_is_not_learnt(watched: Factory) -> None:
    """A night without an image that may be looked at ends with what to do."""
    opened, night = open_product(watched.product), THIRD + timedelta(1)
    champion = registry.champion(watched.product)

    with pytest.raises(NotEnoughImagesError, match="at least one image of the night"):
        training_job(opened, night, TrainingSettings(), champion, "light")
    with pytest.raises(NotEnoughImagesError, match="at least one image of it"):
        training_job(opened, night, TrainingSettings(), champion, "process")


def test_other_textures_are_another_job(watched: Factory, tmp_path: Path) -> None:
    """What simulated anomalies look like decides the weights: the pictures, not the folder."""
    opened = open_product(watched.product)
    settings = TrainingSettings(textures=str(tmp_path))

    def fingerprint(shade: int) -> str:
        (tmp_path / "cloth.png").write_bytes(to_png(np.full((8, 8, 3), shade, np.uint8)))
        return training_job(opened, SECOND, settings).fingerprint

    assert fingerprint(10) == fingerprint(10)
    assert fingerprint(10) != fingerprint(200)


def test_confirmed_defects_fill_until_they_are_taken_back_or_golden(watched: Factory) -> None:
    """Where the product allows it: the same defects are the same job, others are another, and what
    is cut out of them reaches the simulated anomalies."""
    usual = open_product(watched.product)
    allowed = usual.settings.model_copy(update={"defects_as_fillings": True})
    opened = replace(usual, settings=allowed)
    found = min(key for key in TrainingSet.read(opened, SECOND).rows["key"] if str(SECOND) in key)

    def job() -> TrainingJob:
        return training_job(opened, SECOND, TrainingSettings())

    without = job().fingerprint
    review_night(watched.product, SECOND, [found], Decision(DEFECT))
    filled, forbidden = job(), training_job(usual, SECOND, TrainingSettings())
    row = filled.fillings.iloc[0]
    of_it = row["sha256"], row["pixels_sha256"], found
    put = [GoldenNote(*of_it, "dent", golden, "Ana", "") for golden in (True, False)]
    note_golden(opened.store, opened.layout, put[:1])
    golden = job()
    judging = [
        set(gather_golden(opened, SECOND, ImageSize.square(32), frozenset(), seen).labels.defects)
        for seen in (frozenset(), frozenset({row["sha256"]}))
    ]
    note_golden(opened.store, opened.layout, put[1:])
    review_night(watched.product, SECOND, [found], Decision(NORMAL))

    assert filled.fillings["key"].tolist() == [found]
    assert filled.load().defects is not None
    assert forbidden.load().defects is None
    assert golden.fillings.empty
    assert judging == [{"dent", "simulated"}, {"simulated"}]  # not a version that it has filled
    assert len({without, filled.fingerprint, golden.fingerprint}) == 3
    assert golden.fingerprint == forbidden.fingerprint
    assert job().fingerprint == without


def test_nights_of_broken_pictures_do_not_count_towards_the_first_training(new_factory) -> None:
    """A night counts when it has an image."""
    factory = new_factory(first_training_nights=2)
    factory.put(FIRST, "cut-off.png", b"\x89PNG")
    factory.deliver(SECOND, IMAGES)

    actions = [str(nightly(factory.product, night).action) for night in (FIRST, SECOND)]

    assert actions == ["gathering: 0 of 2 nights", "gathering: 1 of 2 nights"]


def test_the_newest_nights_judge_whatever_night_is_run(watched: Factory) -> None:
    """An older night that is run late is judged on the world of today, by images that neither
    version was fitted to, at the size asked for."""
    opened = open_product(watched.product)

    golden = gather_golden(opened, FIRST, ImageSize.square(32), frozenset())
    fitted = trained_on(registry.champion(watched.product))
    hashes = TrainingSet.read(opened, SECOND).rows.set_index("key")
    judges = hashes.loc[list(golden.labels.normal), "sha256"]
    without_one = gather_golden(opened, FIRST, ImageSize.square(32), frozenset(judges.iloc[:1]))

    nights = {GATHERED.isoformat(), FIRST.isoformat(), SECOND.isoformat()}
    assert set(golden.labels.nights) == nights
    assert golden.normal.shape[-1] == 32
    assert fitted
    assert not fitted & set(judges)
    assert len(without_one.normal) == len(golden.normal) - 1
