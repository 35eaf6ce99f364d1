"""The flavor and the registry on a real MLflow server."""

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from flows.nightly import nightly
from flows.promote import promote
from mlflow_models import alias_log, flavor, registry, version_tags
from mlflow_models.tracking import sources_of
from reconad_plugin.detector.detector import Detector
from tests.factory import Factory, normal_picture, to_png, with_scratch
from tests.world import EMPTY_AFTER, GATHERED, QUIET, TRAINED, Story


def encoded(seed: int, is_scratched: bool = False) -> str:
    picture = normal_picture(np.random.default_rng(seed))
    picture = with_scratch(picture) if is_scratched else picture
    return base64.b64encode(to_png((picture.clip(0, 1) * 255).astype(np.uint8))).decode()


@pytest.fixture
def own(forked: Callable[..., Factory]) -> Factory:
    """A product whose first version is the champion, for a test that changes its versions."""
    return forked(TRAINED)


def champion_uri(product: Factory | Story) -> str:
    return f"models:/{registry.model_name(product.product)}@champion"


def first_uri(story: Story) -> str:
    return f"models:/{registry.model_name(story.product)}/1"


def test_pyfunc_and_native_answer_alike(story: Story) -> None:
    """The pyfunc's scores are the detector's own, with the version that answered."""
    pyfunc = mlflow.pyfunc.load_model(first_uri(story))
    detector = flavor.load_model(first_uri(story))
    picture = (normal_picture(np.random.default_rng(5)).clip(0, 1) * 255).astype(np.uint8)
    from reconad_plugin.images.geometry import stack_images

    answer = pyfunc.predict(pd.DataFrame({"image": [encoded(5)]})).iloc[0]

    native = detector.score(stack_images([picture], detector.image_size_px))
    assert answer["pred_score"] == pytest.approx(native.pred_score[0], abs=1e-6)
    assert answer["model_version"] == "1"
    assert answer["image_threshold"] == detector.calibration.image_threshold


def test_a_scratch_scores_above_the_threshold(story: Story) -> None:
    """The served model tells a damaged part, and gives its map only when asked."""
    pyfunc = mlflow.pyfunc.load_model(first_uri(story))
    rows = pd.DataFrame({"image": [encoded(6), encoded(6, is_scratched=True)]})

    plain = pyfunc.predict(rows)
    with_map = pyfunc.predict(rows, params={"anomaly_map": True})

    assert plain["pred_label"].tolist() == [False, True]
    assert plain["anomaly_map"].isna().all()
    assert base64.b64decode(with_map["anomaly_map"][1]).startswith(b"\x89PNG")


def test_one_bad_row_spoils_no_other(story: Story) -> None:
    """A row that is no picture has its error; the others have their scores."""
    pyfunc = mlflow.pyfunc.load_model(first_uri(story))

    answer = pyfunc.predict(pd.DataFrame({"image": [encoded(1), "@@@", encoded(2)]}))

    assert answer["error"].tolist()[::2] == [None, None]
    assert answer["error"][1].startswith("not_base64")
    assert answer["pred_score"][1] is None
    assert answer["pred_score"][0] is not None


def test_many_threads_get_the_same_answers(story: Story) -> None:
    """Servers call predict from several threads at once."""
    pyfunc = mlflow.pyfunc.load_model(first_uri(story))
    rows = pd.DataFrame({"image": [encoded(seed) for seed in range(6)]})
    expected = pyfunc.predict(rows)["pred_score"]

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: pyfunc.predict(rows)["pred_score"], range(8)))

    for answer in answers:
        pd.testing.assert_series_equal(answer, expected)


def test_a_wrong_column_is_refused_by_the_signature(story: Story) -> None:
    """The signature names the column that is missing."""
    pyfunc = mlflow.pyfunc.load_model(first_uri(story))

    with pytest.raises(MlflowException, match=r"missing inputs \['image'\]"):
        pyfunc.predict(pd.DataFrame({"picture": [encoded(1)]}))


def test_models_hold_no_pickle(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model loads with unpickling forbidden, and none of its files is a pickle."""
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

    folder = Path(mlflow.artifacts.download_artifacts(first_uri(story)))
    mlflow.pyfunc.load_model(first_uri(story))

    names = {file.name for file in folder.rglob("*") if file.is_file()}
    assert {"weights.safetensors", "detector.json", "MLmodel"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]


def test_a_version_names_its_whole_lineage(story: Story) -> None:
    """From the version one finds the run, its manifests as dataset inputs, curve and pictures."""
    version = registry.version(story.product, "1")
    manifests = [
        f"s3://factory/{story.product}/_reconad/manifests/{night}.parquet"
        for night in (GATHERED, TRAINED)
    ]

    assert sources_of(version) == manifests
    in_short = json.loads(version.tags[version_tags.MANIFESTS_TAG])
    assert in_short == {"first": manifests[0], "last": manifests[1], "count": 2}
    artifacts = {entry.path for entry in MlflowClient().list_artifacts(version.run_id)}
    assert {"loss.png", "maps.png", "gate"} <= artifacts
    assert len(MlflowClient().get_metric_history(version.run_id, "held_out_loss")) >= 10
    assert "trained" not in version.tags[version_tags.REASON_TAG]
    assert json.loads(version.tags[version_tags.VERDICT_TAG])["golden_kind"] == "simulated"


def test_same_manifests_settings_and_seed_give_the_same_weights(
    own: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training again on the same night gives bit-equal weights."""
    first = flavor.load_model(champion_uri(own))
    monkeypatch.setattr(registry, "find_by_fingerprint", lambda product, *fingerprints: None)
    from flows.train import train

    number = str(train(own.product, TRAINED)).split()[1]

    second = flavor.load_model(f"models:/{registry.model_name(own.product)}/{number}")
    assert number == "2"
    assert_same_weights(first, second)


def assert_same_weights(one: Detector, other: Detector) -> None:
    others = other.engine.network.state_dict()
    for name, value in one.engine.network.state_dict().items():
        assert torch.equal(value, others[name]), name


def test_an_interrupted_promotion_is_completed_by_the_next(
    own: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two aliases, the champion is still whole; promoting again completes."""
    second = register_copy(own)
    real_set = MlflowClient.set_registered_model_alias
    verdict = {"reason": "better", "checks": []}

    def dies(self: MlflowClient, name: str, alias: str, version: str) -> None:
        if alias == registry.CHAMPION:
            raise KeyboardInterrupt
        real_set(self, name, alias, version)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", dies)
    with pytest.raises(KeyboardInterrupt):
        alias_log.promote(own.product, second, QUIET.isoformat(), verdict)
    monkeypatch.undo()

    assert registry.champion(own.product).number == "1"
    alias_log.promote(own.product, second, QUIET.isoformat(), verdict)
    assert registry.champion(own.product).number == second
    assert registry.version_by_alias(own.product, registry.PREVIOUS_CHAMPION).number == "1"


def test_the_next_night_completes_a_promotion_that_was_cut_off(own: Factory) -> None:
    """Killed between the alias and its tags, the version is marked promoted by the next night."""
    name = registry.model_name(own.product)
    MlflowClient().delete_model_version_tag(name, "1", version_tags.STATE_TAG)
    MlflowClient().delete_model_version_tag(name, "1", version_tags.PROMOTED_NIGHT_TAG)

    result = nightly(own.product, EMPTY_AFTER)

    assert str(result.action) == "no images"
    assert registry.champion(own.product).tags[version_tags.STATE_TAG] == "promoted"


def test_a_promotion_cut_off_at_its_end_is_completed(own: Factory) -> None:
    """The champion's alias has moved but the challenger's is still there: promoting completes."""
    registry.challenge(own.product, "1")

    outcome = promote(own.product, TRAINED)

    assert str(outcome) == "promoted 1"
    assert registry.version_by_alias(own.product, registry.CHALLENGER) is None
    assert registry.champion(own.product).tags[version_tags.STATE_TAG] == "promoted"


def register_copy(factory: Factory) -> str:
    """Another version with the champion's model; its number."""
    version = registry.champion(factory.product)
    entry = MlflowClient().create_model_version(
        registry.model_name(factory.product), version.uri, version.run_id, tags=version.tags
    )
    return str(entry.version)
