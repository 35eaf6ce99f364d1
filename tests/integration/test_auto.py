"""``model = "auto"`` over the nights of a product."""

from collections.abc import Callable
from datetime import date

from mlflow import MlflowClient

from flows.jobs import advising
from flows.jobs.nightly_training import training_job
from flows.jobs.product import open_product
from flows.nightly import nightly
from mlflow_models import registry, version_tags
from reconad_plugin.images.size import ImageSize
from tests.factory import Factory

NIGHT = date(2026, 7, 1)


def test_model_is_settled_by_the_first_training(
    new_factory: Callable[..., Factory], monkeypatch
) -> None:
    """The first version has the model that was advised and says why. Once it serves nobody asks
    again, and the same night is the same training."""
    factory = new_factory(model="auto", width=None)
    factory.deliver(NIGHT, 30)

    nightly(factory.product, NIGHT)

    version = registry.version(factory.product, "1")
    assert version.tags[version_tags.ADVICE_TAG].startswith("model fre: ")
    name = registry.model_name(factory.product)
    MlflowClient().set_registered_model_alias(name, registry.CHAMPION, "1")
    monkeypatch.setattr(advising, "advise", None)
    opened = open_product(factory.product)
    job = training_job(opened, NIGHT, opened.settings.train)
    settled = job.settings
    assert (settled.model, settled.width) == ("fre", "lite0")
    assert settled.image_size_px == ImageSize.square(32)
    assert version_tags.ADVICE_TAG not in job.tags
    assert job.fingerprint == version.tags[version_tags.FINGERPRINT_TAG]
