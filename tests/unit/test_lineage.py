"""Which picture is meant, which objects a version learnt from, and how weights compare."""

from copy import deepcopy
from dataclasses import replace
from datetime import date
from hashlib import sha256
from io import BytesIO
from math import inf
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from flows.jobs import reproducing
from flows.jobs.learnt_objects import fetch_objects, learnt_objects
from mlflow_models.recorded import RecordedTraining
from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.detector.compared import compare_weights, learnt_arrays
from reconad_plugin.detector.torch_engine import TorchEngine, network_of
from reconad_plugin.ledger.lineage import find_hashes, rows_of
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.training.environment import describe_environment, precision_of
from tests.fake_s3 import FakeS3, store_of

A, B, PIXELS = "a" * 64, "b" * 64, "abcdef01" * 8
IMAGES = pd.DataFrame(
    [("p/incoming/2026-05-01/a.png", A, PIXELS), ("p/incoming/2026-05-02/b.png", B, "")],
    columns=["key", "sha256", "pixels_sha256"],
)
SERVED = pd.DataFrame(
    [("part 7", A, PIXELS), (None, B, "")], columns=["reference", "sha256", "pixels_sha256"]
)
KEY = "p/incoming/2026-05-01/a.png"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param(KEY, {A, PIXELS}, id="key"),
        pytest.param(A, {A, PIXELS}, id="hash"),
        pytest.param("BBBBBBBB", {B}, id="eight characters of one"),
        pytest.param("bbbbbbb", set(), id="seven are too few"),
        pytest.param("abcdef01", {A, PIXELS}, id="hash of pixels"),
        pytest.param("part 7", {A, PIXELS}, id="reference"),
        pytest.param("part 8", set(), id="nobody's"),
        pytest.param("", set(), id="nothing"),
    ],
)
def test_a_picture_is_named_by_key_hash_or_reference(asked, found):
    """What is not there is none."""
    assert find_hashes(asked, IMAGES, SERVED) == found


def test_an_empty_hash_is_nobodys():
    """A picture that was never decoded is not every other one."""
    assert rows_of(frozenset({B}), IMAGES)["sha256"].tolist() == [B]


def product_of(fake, tmp_path, manifest=None):
    """A product with this bucket, whose nights all have this manifest."""
    return SimpleNamespace(
        store=store_of(fake),
        cache=ContentCache(tmp_path),
        layout=ProductLayout("p"),
        manifest=lambda night: manifest if night == date(2026, 5, 1) else None,
    )


def test_object_versions_are_those_of_the_training(tmp_path):
    """The manifest may have been written anew since."""
    noted = {"version_id": "v1", "etag": "e1"}
    images = pd.DataFrame([{"uri": f"s3://factory/{KEY}", "sha256": A, "split": "train", **noted}])

    (found,) = learnt_objects(product_of(FakeS3({}), tmp_path), images).to_dict("records")

    assert found == {"key": KEY, "night": "2026-05-01", "split": "train", "sha256": A, **noted}


def test_an_older_version_has_those_of_its_manifests(tmp_path):
    """Of the same bytes alone; what was taken in under the key since is another object."""
    columns = ["key", "sha256", "version_id", "etag"]
    manifest = pd.DataFrame([(KEY, A, "v1", "e1")], columns=columns)
    uri = [f"s3://factory/{KEY}", f"s3://factory/{KEY}", "/elsewhere/c.png"]
    images = pd.DataFrame({"uri": uri, "sha256": [A, B, B], "split": "train"})

    found = learnt_objects(product_of(FakeS3({}), tmp_path, manifest), images)

    assert found["version_id"].tolist() == ["v1", "", ""]
    assert found["night"].tolist() == ["2026-05-01", "2026-05-01", ""]


class Versioned(FakeS3):
    """A bucket that keeps what was there before."""

    def get_object(self, Bucket, Key, VersionId=None):  # noqa: N803
        if VersionId is None:
            return super().get_object(Bucket, Key)
        return {"Body": BytesIO(self.objects[f"{Key}?{VersionId}"]), "VersionId": VersionId}


def test_bytes_are_those_of_the_object_version(tmp_path):
    """Also where others lie under the key by now; what nobody has is named."""
    fake = Versioned({"a": b"new", "a?v1": b"old", "b": b"new", "c": b"kept"})
    hashes = [sha256(content).hexdigest() for content in (b"old", b"old, too", b"kept")]
    objects = pd.DataFrame(
        {"key": ["a", "b", "c"], "sha256": hashes, "version_id": ["v1", "null", ""]}
    )
    product = product_of(fake, tmp_path)

    assert fetch_objects(product, objects) == ["b"]
    assert [product.cache.has(each) for each in hashes] == [True, False, True]


def test_equal_detectors_do_not_differ(tiny_detector):
    """Each tensor and each number is counted."""
    found = compare_weights(tiny_detector, tiny_detector)

    arrays = learnt_arrays(tiny_detector)
    assert (found.different, found.worst) == ({}, None)
    assert (found.tensors, found.numbers) == (
        len(arrays),
        sum(each.size for each in arrays.values()),
    )


def test_the_largest_difference_is_named(tiny_detector):
    """One number of one tensor is enough."""
    network = network_of(tiny_detector)
    name, weights = next(iter(network.state_dict().items()))
    changed = {each: value.clone() for each, value in network.state_dict().items()}
    changed[name][(0,) * changed[name].ndim] += 0.5
    other = _with_weights(tiny_detector, changed)

    found = compare_weights(tiny_detector, other)

    assert weights.numel() > 1
    assert found.worst == (name, pytest.approx(0.5))


def test_a_number_that_is_none_is_no_small_difference(tiny_detector):
    """NaN is never equal, and never close."""
    network = network_of(tiny_detector)
    changed = {each: value.clone() for each, value in network.state_dict().items()}
    name = next(iter(changed))
    changed[name][(0,) * changed[name].ndim] = np.nan

    assert compare_weights(tiny_detector, _with_weights(tiny_detector, changed)).worst == (
        name,
        inf,
    )


def _with_weights(detector, weights):
    network = deepcopy(network_of(detector))
    network.load_state_dict(weights)
    return replace(detector, engine=TorchEngine(network, detector.window_px))


@pytest.mark.parametrize(
    ("params", "is_base"),
    [
        pytest.param({"base_version": "1", "base_run": "r1"}, True, id="its run"),
        pytest.param({"base_version": "1", "base_run": "r9"}, False, id="another of the number"),
        pytest.param({"base_version": "1"}, True, id="before runs were noted"),
        pytest.param({"base_version": "none"}, False, id="from scratch"),
    ],
)
def test_a_base_is_known_by_its_run(params, is_base):
    """A number can be given twice, once a registered model was deleted."""
    version = SimpleNamespace(number="1", run_id="r1", uri="models:/reconad-p/1")

    assert RecordedTraining(params, {}, [], pd.DataFrame()).is_base(version) == is_base


@pytest.mark.parametrize(
    ("settings", "ended_by", "again"),
    [
        pytest.param({"steps": 300, "budget_s": 60}, "steps", (300, None), id="by steps"),
        pytest.param({"steps": 300, "budget_s": 60}, "budget", (40, None), id="its time was up"),
        pytest.param({"budget_s": 60}, "budget", (40, None), id="by minutes"),
        pytest.param({"budget_s": 60}, "early_stopping", (90, None), id="minutes, and stopped"),
        pytest.param({}, "steps", (None, None), id="by the number of images"),
    ],
)
def test_a_training_is_repeated_by_its_steps(settings, ended_by, again):
    """However long they take here."""
    params = {"ended_by": ended_by, "planned_steps": "90"}
    recorded = RecordedTraining(params, {"steps": 40.0}, [], pd.DataFrame())

    found = reproducing._by_steps(TrainingSettings(**settings), recorded)

    assert (found.steps, found.budget_s) == again


def test_what_is_not_known_of_an_older_version_is_said():
    """Minutes, libraries, and a fingerprint that is another."""
    params = {"ended_by": "budget", "steps": "None", "budget_s": "60.0"}
    recorded = RecordedTraining(params, {}, [], pd.DataFrame())

    said = " ".join(reproducing._reasons(recorded, is_proven=False))

    assert "its fingerprint is another" in said
    assert "it was trained by minutes" in said
    assert "libraries and processor were not noted" in said


def test_an_environment_names_what_weights_rest_on():
    """And its precision is read back."""
    found = describe_environment("cpu")

    assert torch.__version__.startswith(found["torch"].partition("+")[0])
    assert found["threads"] == str(torch.get_num_threads())
    assert precision_of(found) in (torch.float32, torch.bfloat16)
    assert precision_of({}) is None
