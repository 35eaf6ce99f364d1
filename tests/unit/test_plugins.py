"""What MLflow and Prefect load of reconad by entry point, while they are imported themselves."""

import json
import os
import subprocess
import sys
from datetime import date
from types import SimpleNamespace

import mlflow
import mlflow.data
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking.context import registry as contexts
from prefect.context import FlowRunContext as Around

from flows.runtime.blocks import ReconadPlatform, ReconadProduct, ReconadStore
from flows.runtime.run_context import FlowRunContext
from mlflow_models.plugins.manifest_dataset import ReconadManifestSource, from_reconad_manifest
from reconad_plugin.config.settings import load_settings
from reconad_plugin.errors import ConfigError

MANIFEST = "s3://factory/gear/_reconad/manifests/2026-05-01.parquet"
OURS = ("flows", "mlflow_models", "monitoring", "reconad_plugin")
HEAVY = ("torch", "torchvision", "prefect", "evidently", "boto3", "matplotlib", "openvino")
ASK = f"""
import json, sys
import mlflow, mlflow.data
from mlflow.data.dataset_source_registry import get_registered_sources
from mlflow.tracking.context.registry import _run_context_provider_registry as providers

loaded = [name for name in sys.modules if name.partition(".")[0] in {OURS}]
heavy = [name for name in {HEAVY} if name in sys.modules]
print(json.dumps({{
    "loaded": sorted(loaded),
    "heavy": heavy,
    "constructor": hasattr(mlflow.data, "from_reconad_manifest"),
    "sources": [each.__name__ for each in get_registered_sources()],
    "contexts": [type(each).__name__ for each in providers],
}}))
"""


def test_plain_mlflow_loads_the_plugins_and_nothing_heavy():
    """A plugin that cannot be imported there is a warning that nobody reads: here it is an error.

    Where this fails after a change of entry points, install reconad again (`make setup`).
    """
    ended = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", ASK],
        capture_output=True, check=False, text=True, timeout=120,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    assert "reconad" not in ended.stderr
    said = json.loads(ended.stdout)
    assert said["heavy"] == []
    assert said["constructor"]
    assert "ReconadManifestSource" in said["sources"]
    assert "FlowRunContext" in said["contexts"]
    assert said["loaded"] == [
        "flows", "flows.runtime", "flows.runtime.run_context", "mlflow_models",
        "mlflow_models.password", "mlflow_models.plugins", "mlflow_models.plugins.manifest_dataset",
    ]  # fmt: skip


def test_prefect_loads_the_blocks_and_nothing_heavy():
    """Its server imports them when it starts."""
    ask = "import sys, flows.runtime.blocks; print([n for n in ('torch', 'mlflow', 'evidently') " \
          "if n in sys.modules])"  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, check=False, text=True, timeout=120
    )

    assert (ended.returncode, ended.stdout.strip()) == (0, "[]"), ended.stderr


def test_a_manifest_is_a_dataset_that_leads_to_object_versions():
    """Its source is the manifest, and its rows name the objects."""
    table = pd.DataFrame({"key": ["a.png"], "version_id": ["v1"], "etag": ["e1"], "width_px": [48]})

    dataset = mlflow.data.from_reconad_manifest(MANIFEST, table)

    assert dataset.name == "manifest-2026-05-01"
    assert json.loads(dataset.source.to_json()) == {
        "uri": MANIFEST, "product": "gear", "night": "2026-05-01",
    }  # fmt: skip
    assert {"key", "version_id", "etag"} <= {*dataset.schema.input_names()}
    entity = dataset._to_mlflow_entity()
    read = mlflow.data.get_source(entity)
    assert isinstance(read, ReconadManifestSource)
    assert (entity.source_type, read.uri) == ("s3", MANIFEST)


def test_an_address_of_a_manifest_is_recognised():
    """Whatever the dataset is made of."""
    with pytest.warns(UserWarning, match="ReconadManifestSource"):
        dataset = mlflow.data.from_pandas(pd.DataFrame({"key": ["a.png"]}), source=MANIFEST)

    assert isinstance(dataset.source, ReconadManifestSource)


def test_other_objects_of_s3_stay_those_of_mlflow():
    """The type is the same, so that MLflow's page offers the address."""
    dataset = mlflow.data.from_pandas(pd.DataFrame({"a": [1.0]}), source="s3://lake/table.csv")

    read = mlflow.data.get_source(dataset._to_mlflow_entity())

    assert not isinstance(read, ReconadManifestSource)
    assert read.to_dict() == {"uri": "s3://lake/table.csv"}


@pytest.mark.parametrize("uri", ["s3://factory/gear/manifests/2026-05-01.parquet", "gear", ""])
def test_what_is_no_manifest_is_refused(uri):
    """The rule is said."""
    with pytest.raises(MlflowException, match=r"a manifest of reconad is at s3://bucket/product/"):
        from_reconad_manifest(uri)


def around(**parameters):
    """A flow run with these parameters, as Prefect has it."""
    return SimpleNamespace(
        flow=SimpleNamespace(name="nightly"),
        flow_run=SimpleNamespace(id="1f"),
        parameters=parameters,
    )


@pytest.mark.parametrize(
    ("flow_run", "tags"),
    [
        pytest.param(None, {}, id="no flow"),
        pytest.param(around(), {}, id="neither product nor night"),
        pytest.param(
            around(product="gear", night=date(2026, 5, 1)),
            {"reconad.product": "gear", "reconad.night": "2026-05-01"},
            id="both",
        ),
        pytest.param(around(product=["gear"], night=None), {}, id="something else of these names"),
    ],
)
def test_any_run_inside_a_flow_says_which(monkeypatch, flow_run, tags):
    """Tags that are given win over these."""
    monkeypatch.setattr(Around, "get", classmethod(lambda cls: flow_run))
    own = {} if flow_run is None else {"reconad.flow": "nightly", "reconad.flow_run": "1f"}

    assert FlowRunContext().in_context() == (flow_run is not None)
    assert FlowRunContext().tags() == own | tags
    resolved = contexts.resolve_tags({"reconad.night": "2026-04-30"})
    assert resolved["reconad.night"] == "2026-04-30"
    assert own.items() <= resolved.items()


@pytest.fixture
def block():
    """A product whose bucket and MLflow ask who reads."""
    store = ReconadStore(
        bucket="factory", endpoint_url="http://s3", access_key_id="me", secret_access_key="hush"
    )
    platform = ReconadPlatform(
        mlflow_tracking_uri="http://mlflow", mlflow_username="me", mlflow_password="hush"
    )
    settings = {
        "model": "ae",
        "options": {"light": "none"},
        "train": {"steps": 5, "budget_s": None},
        "regions": [{"x": 0.1, "y": 0, "width": 0.5, "height": 1}],
    }
    return ReconadProduct(product="gear", store=store, platform=platform, settings=settings)


def test_a_block_is_in_force_until_the_end(block, monkeypatch):
    """Settings and variables; and no secret stands in the file."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "before")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    monkeypatch.setenv("RECONAD_CONFIG", "before.toml")

    with block.in_force() as settings:
        assert settings == load_settings()
        product = settings.product("gear")
        assert (product.model, product.train.steps, product.options) == ("ae", 5, {"light": "none"})
        assert product.regions[0].width == 0.5
        assert settings.storage.endpoint_url == "http://s3"
        assert os.environ["AWS_SECRET_ACCESS_KEY"] == "hush"
        assert os.environ["MLFLOW_TRACKING_URI"] == "http://mlflow"

    assert (os.environ["AWS_ACCESS_KEY_ID"], os.environ["RECONAD_CONFIG"]) == (
        "before",
        "before.toml",
    )
    assert "MLFLOW_TRACKING_PASSWORD" not in os.environ
    assert "hush" not in block.to_toml() + repr(block)


def test_a_setting_that_breaks_a_rule_is_named(block):
    """As in a file; nothing is set."""
    wrong = block.model_copy(update={"settings": {"model": "magic"}})

    with pytest.raises(ConfigError, match="model"), wrong.in_force():
        pass
