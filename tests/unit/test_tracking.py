"""The list of images that a training leaves, with MLflow made up."""

from types import SimpleNamespace

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from mlflow_models import tracking
from mlflow_models.tracking import filled_from, read_training_images, trained_on
from reconad_plugin.errors import ModelFormatError

VERSION = SimpleNamespace(uri="models:/reconad-bolts/1")
LIST = "uri,sha256,split\na.png,1f,train\nb.png,2e,calibration\nc.png,3d,filling\n"


@pytest.fixture
def run_with(monkeypatch):
    """Makes the version's run have these files, with this answer to whoever reads the list."""

    def make(files, read):
        listed = [SimpleNamespace(path=file) for file in files]
        client = SimpleNamespace(list_artifacts=lambda run_id: listed)
        monkeypatch.setattr(tracking, "run_of", lambda model_uri: "run")
        monkeypatch.setattr(tracking, "open_client", lambda: client)
        monkeypatch.setattr(mlflow.artifacts, "load_text", read)

    return make


def fails(error):
    """A function of any address that raises the error."""

    def read(address):
        raise error

    return read


def test_images_that_weights_were_fitted_to(run_with):
    """Those of the training side alone."""
    run_with(["images.csv", "loss.png"], lambda address: LIST)

    assert read_training_images(VERSION.uri)["sha256"].tolist() == ["1f", "2e", "3d"]
    assert trained_on(VERSION) == {"1f"}
    assert filled_from(VERSION)["uri"].tolist() == ["c.png"]


def test_version_without_a_list(run_with):
    """It cannot be fine-tuned, and no image is known to have trained it."""
    run_with(["loss.png"], fails(MlflowException("no such file")))

    with pytest.raises(ModelFormatError, match=r"reconad-bolts/1 has no images\.csv"):
        read_training_images(VERSION.uri)
    assert trained_on(VERSION) == frozenset()
    assert filled_from(VERSION).empty


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(MlflowException("API request failed"), id="MLflow does not answer"),
        pytest.param(ConnectionResetError("reset by peer"), id="its connection breaks"),
    ],
)
def test_list_that_cannot_be_read_is_not_taken_for_none(run_with, error):
    """Or a version would be judged by images that it was fitted to."""
    run_with(["images.csv"], fails(error))

    with pytest.raises(type(error), match=str(error)):
        read_training_images(VERSION.uri)
    with pytest.raises(type(error), match=str(error)):
        trained_on(VERSION)
    with pytest.raises(type(error), match=str(error)):
        filled_from(VERSION)
