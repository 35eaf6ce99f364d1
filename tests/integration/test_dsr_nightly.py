"""DSR at night, with what it stands on from a flow of its own."""

from datetime import date

from flows.nightly import nightly
from flows.pretrain_vq import pretrain_vq
from mlflow_models import registry
from mlflow_models.foundation import URI_TAG
from tests.factory import Factory
from tests.world import IMAGES, NARROW

NIGHT = date(2026, 4, 1)


def test_nightly_run_trains_and_serves_dsr(factory: Factory) -> None:
    """A product's own flow pretrains, its first night trains on that, the next one is quiet."""
    settings = factory.settings.read_text()
    settings = settings.replace('model = "ae"', f'model = "dsr"\nvq = "{factory.product}"')
    for night in (NIGHT, NIGHT.replace(day=2)):
        factory.deliver(night, IMAGES)
    factory.settings.write_text(
        settings.replace("first_training_nights = 1", "first_training_nights = 9")
    )
    gathering = nightly(factory.product, NIGHT)
    arguments = {"steps": 200, "image_size_px": 32, "width": NARROW}

    uri = pretrain_vq([factory.product], factory.product, **arguments)
    again = pretrain_vq([factory.product], factory.product, **arguments)
    factory.settings.write_text(settings)
    first = nightly(factory.product, NIGHT)
    second = nightly(factory.product, NIGHT.replace(day=2))

    assert str(gathering.action) == "gathering: 1 of 9 nights"
    assert uri == again == f"models:/reconad-vq-{factory.product}/1"
    assert str(first.action) == "trained, promoted 1"
    champion = registry.champion(factory.product)
    assert champion.tags[URI_TAG] == uri
    assert second.record.model_version == "1"
