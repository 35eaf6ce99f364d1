"""DSR at night until it serves, with what it stands on from a flow of its own."""

from datetime import date

from flows.nightly import nightly
from flows.pretrain_vq import pretrain_vq
from mlflow_models import registry
from mlflow_models.foundation import URI_TAG
from tests.factory import Factory
from tests.world import NARROW

NIGHT = date(2026, 4, 1)


def test_nightly_run_trains_and_serves_dsr(factory: Factory) -> None:
    """A product's own flow pretrains, its first night trains on that and passes the gate, the next
    one is quiet."""
    settings = factory.settings.read_text().replace("steps = 250", "steps = 400")
    settings = settings.replace('model = "ae"', f'model = "dsr"\nvq = "{factory.product}"')
    settings = settings.replace(f'width = "{NARROW}"', "")
    for night in (NIGHT, NIGHT.replace(day=2)):
        factory.deliver(night)
    factory.settings.write_text(
        settings.replace("first_training_nights = 1", "first_training_nights = 9")
    )
    nightly(factory.product, NIGHT)

    uri = pretrain_vq([factory.product], factory.product, steps=200, image_size_px=32)
    factory.settings.write_text(settings)
    first = nightly(factory.product, NIGHT)
    second = nightly(factory.product, NIGHT.replace(day=2))

    assert str(first.action) == "trained, promoted 1"
    assert registry.champion(factory.product).tags[URI_TAG] == uri
    assert second.record.model_version == "1"
