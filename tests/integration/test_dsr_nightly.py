"""DSR at night, with what it stands on from a flow of its own."""

from datetime import date

from mlflow import MlflowClient

from flows.nightly import nightly
from flows.pretrain_vq import pretrain_vq
from mlflow_models import registry
from mlflow_models.foundation import URI_TAG
from tests.factory import Factory
from tests.world import IMAGES, NARROW

NIGHT = date(2026, 4, 1)


def test_nightly_run_trains_dsr_on_what_was_pretrained(factory: Factory) -> None:
    """A product's own flow pretrains once, its first night trains on that, and the version can
    score the next one. So short a training seldom passes the gate, so it serves by hand;
    acceptance has a longer one."""
    settings = factory.settings.read_text().replace("steps = 250", "steps = 30")
    settings = settings.replace('model = "ae"', f'model = "dsr"\nvq = "{factory.product}"')
    for night in (NIGHT, NIGHT.replace(day=2)):
        factory.deliver(night, IMAGES)
    factory.settings.write_text(
        settings.replace("first_training_nights = 1", "first_training_nights = 9")
    )
    gathering = nightly(factory.product, NIGHT)
    arguments = {"steps": 100, "image_size_px": 32, "width": NARROW}

    uri = pretrain_vq([factory.product], factory.product, **arguments)
    again = pretrain_vq([factory.product], factory.product, **arguments)
    factory.settings.write_text(settings)
    first = nightly(factory.product, NIGHT)
    name = registry.model_name(factory.product)
    MlflowClient().set_registered_model_alias(name, registry.CHAMPION, "1")
    second = nightly(factory.product, NIGHT.replace(day=2))

    assert str(gathering.action) == "gathering: 1 of 9 nights"
    assert uri == again == f"models:/reconad-vq-{factory.product}/1"
    assert str(first.action).startswith("trained, ")
    champion = registry.champion(factory.product)
    assert champion.tags[URI_TAG] == uri
    assert second.record.model_version == "1"
