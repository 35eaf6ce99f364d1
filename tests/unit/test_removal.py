"""Whose files a version's are: what another registered model leads to is never removed."""

import mlflow
import pytest
from mlflow import MlflowClient

from mlflow_models import flavor, registry, removal


@pytest.fixture
def version(mlflow_in_a_file, tmp_path, monkeypatch, tiny_detector):
    """A registered version, in an experiment of its own."""
    monkeypatch.chdir(tmp_path)
    experiment = mlflow.create_experiment("reconad/bolt", (tmp_path / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment):
        logged = flavor.log_model(tiny_detector)
    return registry.register("bolt", logged, {})


def test_a_version_by_itself_is_nobody_elses(version):
    """Not even where other models are registered."""
    MlflowClient().create_registered_model("other")
    MlflowClient().create_model_version("other", "s3://elsewhere/model")

    assert not removal.is_shared("bolt", version)


@pytest.mark.parametrize("by", ["its version", "its model", "its files", "a folder of them"])
def test_what_another_model_leads_to_is_shared(version, by):
    """By whatever address it was registered, also without the run."""
    entry = MlflowClient().get_model_version("reconad-bolt", version.number)
    files = MlflowClient().get_model_version_download_uri("reconad-bolt", version.number)
    address = {
        "its version": version.uri,
        "its model": entry.source,
        "its files": files,
        "a folder of them": f"{files}/detector",
    }[by]
    MlflowClient().create_registered_model("other")
    MlflowClient().create_model_version("other", address)

    assert removal.is_shared("bolt", version)
