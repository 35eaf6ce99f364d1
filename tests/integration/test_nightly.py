"""The nightly story on real servers, with a small network and made-up parts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flows.commands.review import review_night
from flows.finetune import finetune
from flows.ingest import ingest
from flows.jobs.judging import build_golden_set
from flows.jobs.ledger import open_ledger, read_history
from flows.jobs.nightly_training import TrainingSet, training_job
from flows.jobs.product import open_product
from flows.nightly import nightly
from mlflow_models import registry, version_tags
from mlflow_models.tracking import read_training_images
from reconad_plugin.config.event_names import NIGHT_ENDED
from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.errors import (
    ConfigError,
    NoChampionError,
    NotEnoughImagesError,
    StorageError,
)
from reconad_plugin.ledger.deciding import Decision
from reconad_plugin.ledger.glance import Glance, read_glance
from reconad_plugin.ledger.manifest import read_manifest
from reconad_plugin.ledger.night_record import NORMAL
from reconad_plugin.ledger.splits import BORROWED_LIGHT, CALIBRATION, JUDGE, TRAIN
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.lens import read_lens
from reconad_plugin.store.objects import ObjectStore
from tests.command_line import run
from tests.factory import Factory, normal_picture, to_png, with_scratch
from tests.lens_files import lens_file
from tests.world import (
    DIMMED,
    EMPTY_AFTER,
    EMPTY_BEFORE,
    FOUNDING_IMAGES,
    GATHERED,
    IMAGES,
    LAST_QUIET,
    LEARNT,
    NIGHTS,
    QUIET,
    QUIET_TOO,
    SCRATCHED,
    START,
    TRAINED,
    Story,
)


def test_first_nights_train_and_promote_then_stay_quiet(story: Story) -> None:
    """A product gathers first; the first version serves after its first training, ordinary nights
    raise nothing, and a night without images ends well."""
    action = {night: str(result.action) for night, result in story.results.items()}

    assert action[EMPTY_BEFORE] == "gathering: 0 of 2 nights"
    assert action[GATHERED] == "gathering: 1 of 2 nights"
    assert action[TRAINED] == "trained, promoted 1"
    assert [action[night] for night in (QUIET, QUIET_TOO, LAST_QUIET, LEARNT)] == ["none"] * 4
    assert action[EMPTY_AFTER] == "no images"


def test_nights_that_are_run_again_change_nothing(story: Story) -> None:
    """Their records and the versions stay, and nobody learns twice."""
    for night, again in story.again.items():
        assert again.record == story.results[night].record

    assert str(story.again[TRAINED].action) == "trained the first version"
    assert str(story.again[QUIET_TOO].action) == "none"
    assert str(story.again[DIMMED].action) == "fine-tuned, promoted 2"
    nights = [version.tags[version_tags.NIGHT_TAG] for version in registry.versions(story.product)]
    assert nights == [TRAINED.isoformat(), DIMMED.isoformat()]


def test_a_full_report_has_the_drawings_and_a_lean_one_the_rest(
    story: Story, forked: Callable[..., Factory]
) -> None:
    """``report = "lean"`` leaves out what takes long to draw; figures and tags are the same."""
    full = forked(LAST_QUIET, report="full")

    result = nightly(full.product, LAST_QUIET)

    assert result.record == story.results[LAST_QUIET].record
    drawn, lean = run_of(full.product, LAST_QUIET), run_of(story.product, LAST_QUIET)
    client = MlflowClient()
    files = {each.path for each in client.list_artifacts(drawn.info.run_id)}
    assert files == {"evidently.html", "maps.png", "scores.png"}
    assert client.list_artifacts(lean.info.run_id) == []
    assert drawn.data.metrics == lean.data.metrics
    names = {version_tags.CAUSE_TAG, "reconad.model_version", "reconad.evidence", "reconad.night"}
    assert names <= set(lean.data.tags)
    assert {name: drawn.data.tags[name] for name in names} == {
        name: lean.data.tags[name] for name in names
    }


def run_of(product: str, night: date) -> Run:
    """The newest run of a night's monitoring in MLflow."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(f"reconad/{product}")
    runs = client.search_runs([experiment.experiment_id], f"tags.`reconad.night` = '{night}'")
    return next(run for run in runs if run.info.run_name == f"night {night}")


def test_scheduled_retraining_comes_when_it_is_due(forked: Callable[..., Factory]) -> None:
    """With retrain_every_nights = 4 a challenger is trained on the fourth night after one with
    images, and not before."""
    factory = forked(QUIET_TOO, retrain_every_nights=4)
    factory.train_for(steps=20)
    factory.deliver(LAST_QUIET, IMAGES)
    opened = open_product(factory.product)
    ledger = open_ledger(opened, read_history(opened))

    due = [ledger.is_retraining_due(night, 4) for night in (QUIET, SCRATCHED, QUIET_TOO)]
    result = nightly(factory.product, LAST_QUIET)

    assert due == [False] * 3
    assert str(result.action).startswith("retrained, ")
    assert len(registry.versions(factory.product)) == 2


def test_a_scheduled_run_catches_up_and_looks_beside(
    forked: Callable[..., Factory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nights that were never run come first, one that fails stops no other; older ones are left
    alone; and a night without images says what lies where nobody looks."""
    factory = forked(TRAINED)
    opened = open_product(factory.product)
    factory.deliver(EMPTY_BEFORE, 1)
    factory.deliver(QUIET, IMAGES)
    factory.deliver(SCRATCHED, 1)
    factory.deliver(QUIET_TOO, IMAGES)
    broken = opened.layout.manifest(SCRATCHED)
    written = ObjectStore.write

    def write(self: ObjectStore, key: str, content: bytes, content_type: str) -> None:
        if key == broken:
            raise StorageError("the disk of the bucket is full")
        written(self, key, content, content_type)

    monkeypatch.setattr(ObjectStore, "write", write)
    factory.put_key(f"{factory.product}/incoming/20260508/000.png", b"")
    monkeypatch.setattr("flows.nightly.night_before_run", lambda: LEARNT)
    emitted: list[tuple[str, Any]] = []
    monkeypatch.setattr(
        "flows.nightly.emit",
        lambda event, product, payload, **_: emitted.append((event, payload["night"])),
    )

    result = nightly(factory.product)

    beside = f"{factory.product}/incoming/YYYY-MM-DD/, where nobody looks, lie 1 under"
    assert result.night == LEARNT
    assert str(result.action).startswith(f"no images; beside {beside}")
    assert str(result.action).endswith("/incoming/20260508/")
    assert opened.known_nights() == [GATHERED, TRAINED, QUIET, QUIET_TOO]
    assert opened.records.watched_nights() == [QUIET, QUIET_TOO]
    assert emitted == [(NIGHT_ENDED, LEARNT.isoformat())]  # of the scheduled run alone


def test_too_few_images_for_a_first_version_is_said(factory: Factory) -> None:
    """The message says how many are needed, how many came, and what to do."""
    factory.deliver(START, count=5)

    with pytest.raises(NotEnoughImagesError, match=r"at least 10 accepted normal images; got 5"):
        nightly(factory.product, START)


def test_defects_are_held_and_never_learnt_until_a_person_says_so(
    story: Story, forked: Callable[..., Factory], capsys: pytest.CaptureFixture
) -> None:
    """A night of scratched parts is named defects, waits for a person, and cannot be learnt."""
    result = story.results[SCRATCHED]
    factory = forked(SCRATCHED)
    opened = open_product(factory.product)

    assert (result.record.cause, str(result.action)) == ("defects", "hold for review")
    waiting = opened.records.review(SCRATCHED)
    assert (len(waiting), set(waiting["decision"])) == (IMAGES, {"waiting"})
    with pytest.raises(ConfigError, match="has 'defects': review its images first"):
        finetune(factory.product, SCRATCHED)
    assert len(registry.versions(factory.product)) == 1

    key = waiting["key"].iloc[0]
    review_night(factory.product, SCRATCHED, [key], Decision(NORMAL))

    decided = opened.records.review(SCRATCHED).set_index("key")["decision"]
    assert decided[key] == "normal"
    assert key in capsys.readouterr().out
    learnt = TrainingSet.read(opened, SCRATCHED).rows
    assert learnt.loc[learnt["night"] == SCRATCHED.isoformat(), "key"].tolist() == [key]
    with pytest.raises(ConfigError, match="'nowhere' is none"):
        review_night(factory.product, SCRATCHED, ["nowhere"], Decision(NORMAL))


def test_a_night_that_fails_after_the_watch_shows_what_waits(
    forked: Callable[..., Factory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of all products does not say that nobody is needed."""
    factory = forked(SCRATCHED)
    opened = open_product(factory.product)
    opened.store.write(opened.layout.glance, Glance(factory.product).to_json(), "application/json")
    monkeypatch.setattr("flows.monitor.publish", None)  # whatever comes after the decision

    with pytest.raises(TypeError):
        nightly(factory.product, SCRATCHED)

    assert read_glance(opened.store, opened.layout).waiting[str(SCRATCHED)] == IMAGES


def test_a_dimmed_lamp_is_named_and_learnt(story: Story) -> None:
    """The lamp loses half its light: cause light, fine-tuning on earlier images in that light,
    promotion, and quiet again."""
    result, next_night = story.results[DIMMED], story.results[LEARNT]

    assert (result.record.cause, str(result.action)) == ("light", "drift event sent")
    assert story.learnt == "promoted 2"
    champion = registry.champion(story.product)
    assert champion.number == next_night.record.model_version == "2"
    assert registry.version_by_alias(story.product, "previous_champion").number == "1"
    assert not next_night.record.is_alarm, next_night.record.explanation
    learnt = read_training_images(champion.uri)
    of_dimmed = learnt.loc[learnt["uri"].str.contains(DIMMED.isoformat()), "split"]
    assert set(of_dimmed) == {BORROWED_LIGHT, CALIBRATION, JUDGE}
    shown_pictures = int(MlflowClient().get_run(champion.run_id).data.params["images_train"])
    assert shown_pictures == 2 * (learnt["split"] == TRAIN).sum()
    shown = {each.path for each in MlflowClient().list_artifacts(champion.run_id, "gate")}
    assert {"gate/disagreement.png", "gate/checks.csv", "gate/verdict.json"} <= shown


def test_a_change_of_light_is_learnt_on_earlier_images_in_that_light(story: Story) -> None:
    """Each is learnt as it is, and once more as darker as the dimmed lamp makes it."""
    opened = open_product(story.product)

    job = training_job(opened, DIMMED, TrainingSettings(), cause="light")
    before, relit = job.load().train.float().chunk(2)

    assert (relit / before.clamp(min=1)).median() == pytest.approx(0.5 ** (1 / 2.2), abs=0.03)


def test_a_version_is_of_the_last_night_that_it_learnt_from(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    """A night without images, such as one that was typed wrong, closes none before it. Images that
    a rule of the bucket removed are named and left out."""
    opened = open_product(story.product)
    elsewhere = replace(opened, cache=ContentCache(opened.cache.folder / "empty"))
    there = elsewhere.store.list_objects
    kept = [info for info in there(opened.layout.arrivals) if TRAINED.isoformat() not in info.key]
    elsewhere.store.list_objects = lambda prefix: (  # type: ignore[method-assign]
        iter(kept) if prefix == opened.layout.arrivals else there(prefix)
    )

    job = training_job(elsewhere, date(2062, 1, 1), TrainingSettings())

    assert job.tags[version_tags.NIGHT_TAG] == LEARNT.isoformat()
    assert TRAINED.isoformat() not in set(job.images["night"])
    assert f"{FOUNDING_IMAGES} of " in caplog.text
    assert "are gone from the bucket" in caplog.text


def test_a_region_of_the_bucket_is_learnt_and_judged_in(
    forked: Callable[..., Factory], tmp_path: Path
) -> None:
    """It decides the training, and where the gate simulates; a command draws it."""
    factory = forked(TRAINED)
    opened = open_product(factory.product)
    before = training_job(opened, TRAINED, TrainingSettings())
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[:24] = 255
    factory.put_key(f"{factory.product}/regions/region.png", to_png(mask))

    job = training_job(opened, TRAINED, TrainingSettings())
    golden = build_golden_set(opened, job.images, job.settled.image_size, frozenset())
    ended = run("regions", factory.product, "--out", tmp_path)

    assert before.region is None
    assert job.region is not None
    assert job.region.share == 0.5
    assert job.fingerprint != before.fingerprint
    repeats = len(golden.anomalous) // len(golden.normal)
    changed = golden.anomalous != np.repeat(golden.normal, repeats, 0)
    middle = changed.shape[-2] // 2
    assert changed[..., :middle, :].any()
    assert not changed[..., middle:, :].any()
    assert ended.stdout.splitlines() == ["50.0 % of the picture count", f"{tmp_path}/regions.png"]
    assert not opened.objects_beside()
    (tmp_path / "camera.yml").write_text(lens_file(640, 480))
    settings = opened.settings.model_copy(update={"lens": str(tmp_path / "camera.yml")})
    through = training_job(replace(opened, settings=settings), TRAINED, TrainingSettings())
    assert through.lens == read_lens(settings.lens)
    assert through.fingerprint not in (job.fingerprint, before.fingerprint)


def test_a_training_takes_so_many_images_of_so_many_nights(story: Story) -> None:
    """The newest nights, evenly; what it takes is what it loads and what its version names."""
    opened = open_product(story.product)
    bounds = {"training_nights": 2, "max_training_images": 30}
    bound = replace(opened, settings=opened.settings.model_copy(update=bounds))

    rows = training_job(bound, LAST_QUIET, TrainingSettings()).images

    taken = rows["night"].value_counts().to_dict()
    assert set(taken) == {QUIET_TOO.isoformat(), LAST_QUIET.isoformat()}
    assert rows["split"].value_counts().to_dict() == {TRAIN: 18, CALIBRATION: 6, JUDGE: 6}
    assert len(TrainingSet.read(opened, LAST_QUIET).rows) > 100


def test_late_files_of_a_closed_night_train_nothing(forked: Callable[..., Factory]) -> None:
    """What arrives after the first version was trained has no score to vouch for it."""
    factory = forked(TRAINED)
    scratched = normal_picture(np.random.default_rng(77))
    late = (with_scratch(scratched).clip(0, 1) * 255).astype(np.uint8)
    late_key = factory.put(TRAINED, "late.png", to_png(late))

    result = nightly(factory.product, TRAINED)

    too_late = "1 came after it: neither scored nor learnt"
    assert result.accepted == FOUNDING_IMAGES + 1
    assert str(result.action) == f"trained the first version; {too_late}"
    opened = open_product(factory.product)
    manifest = read_manifest(opened.store, opened.layout, TRAINED)
    (row,) = manifest[manifest["key"] == late_key].to_dict("records")
    assert (row["verdict"], row["split"]) == ("accepted", "")
    with pytest.raises(ConfigError, match="is never learnt"):
        review_night(factory.product, TRAINED, [late_key], Decision(NORMAL))


def test_a_night_that_was_never_watched_teaches_nothing(forked: Callable[..., Factory]) -> None:
    """A night whose watch died is not taken for one of the trusted first nights."""
    factory = forked(TRAINED)
    factory.deliver(QUIET, change=with_scratch)
    ingest(factory.product, QUIET)
    opened = open_product(factory.product)

    rows = TrainingSet.read(opened, QUIET).rows

    assert set(rows["night"]) == {night.isoformat() for night in NIGHTS[:2]}


def test_finetuning_without_a_champion_is_refused(factory: Factory) -> None:
    """A night that nothing scored has no cause, so nothing is learnt from it."""
    factory.deliver(START)

    with pytest.raises(ConfigError, match="was not watched: run `reconad nightly"):
        finetune(factory.product, START)
    with pytest.raises(NoChampionError, match="has no version with the alias 'champion'"):
        registry.champion(factory.product)
