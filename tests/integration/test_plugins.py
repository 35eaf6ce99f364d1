"""Plugins of MLflow and Prefect on real servers."""

import mlflow
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.plugins import load_prefect_collections

from flows.platform.servers import EmbeddedPlatform
from flows.runtime.blocks import ReconadPlatform, ReconadProduct, ReconadStore
from mlflow_models import registry
from mlflow_models.plugins.manifest_dataset import ReconadManifestSource
from tests.factory import BUCKET
from tests.world import TRAINED, Story


def test_a_training_leads_to_its_flow_and_its_manifests(story: Story) -> None:
    """The run names the flow run, and each of its datasets is a manifest that can be read."""
    run = MlflowClient().get_run(registry.version(story.product, "1").run_id)

    assert run.data.tags["reconad.flow"] == "train"
    assert run.data.tags["reconad.product"] == story.product
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(run.data.tags["reconad.flow_run"]).name.startswith("train ")
    source = mlflow.data.get_source(run.inputs.dataset_inputs[-1])
    assert isinstance(source, ReconadManifestSource)
    table = source.load()
    assert (table["night"] == source.night).all()
    last = table.iloc[-1]
    there = story.factory.client.head_object(Bucket=BUCKET, Key=last["key"])
    assert there["ETag"].strip('"') == last["etag"]
    assert source.night <= str(TRAINED)


def test_blocks_are_kept_by_prefect_with_their_secrets_masked(
    platform: EmbeddedPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are registered by entry point; what comes back is what was saved."""
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    loaded = load_prefect_collections()["reconad"]
    assert loaded.__name__ == "flows.runtime.blocks"
    store = ReconadStore(bucket=BUCKET, access_key_id="me", secret_access_key="hush")
    store.save("factory")
    server = ReconadPlatform(mlflow_tracking_uri="http://mlflow")
    server.save("line")
    ReconadProduct(
        product="gear", store=store, platform=server, settings={"model": "fre"}
    ).save("gear")  # fmt: skip

    read = ReconadProduct.load("gear")

    assert (read.settings, read.store.bucket) == ({"model": "fre"}, BUCKET)
    assert read.store.environment()["AWS_SECRET_ACCESS_KEY"] == "hush"
    with get_client(sync_client=True) as client:
        shown = client.read_block_document_by_name("factory", "reconad-store", False)
        page = client.read_block_type_by_slug("reconad-product")
    assert "hush" not in str(shown.data)
    assert shown.data["bucket"] == BUCKET
    assert page.name == "Reconad Product"
