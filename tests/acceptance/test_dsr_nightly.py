"""DSR at night until it serves, with what it stands on from a flow of its own."""

from datetime import date
from pathlib import Path

import pytest

from flows.nightly import nightly
from flows.platform.servers import EmbeddedPlatform
from flows.pretrain_vq import pretrain_vq
from mlflow_models import registry
from mlflow_models.foundation import URI_TAG
from tests.world import NARROW, make_factory

NIGHT = date(2026, 4, 1)
IMAGES = 80  # enough that a threshold lets normal ones through
SIZE_PX = 64  # at 32 a map has four coarse cells a side, and marks half of a picture


@pytest.mark.usefixtures("narrow_widths")
def test_nightly_run_trains_and_serves_dsr(
    platform: EmbeddedPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product's own flow pretrains once, its first night trains on that and passes the gate, the
    next one is quiet."""
    factory = make_factory(platform, tmp_path, monkeypatch, model="dsr", image_size_px=SIZE_PX)
    product = factory.product
    settings = factory.settings.read_text().replace("\nmodel =", f'\nvq = "{product}"\nmodel =')
    # the budget is for the slowest of processors: what is learnt must not depend on it
    settings = settings.replace("steps = 250\nbudget_s = 60", "steps = 1600\nbudget_s = 1200")
    for night in (NIGHT, NIGHT.replace(day=2)):
        factory.deliver(night, IMAGES)
    factory.settings.write_text(
        settings.replace("first_training_nights = 1", "first_training_nights = 9")
    )
    nightly(product, NIGHT)

    asked = {"steps": 200, "image_size_px": SIZE_PX, "width": NARROW}
    uri = pretrain_vq([product], product, **asked)
    again = pretrain_vq([product], product, **asked)
    factory.settings.write_text(settings)
    first = nightly(product, NIGHT)
    second = nightly(product, NIGHT.replace(day=2))

    assert uri == again == f"models:/reconad-vq-{product}/1"
    reason = registry.versions(product)[0].tags.get("reconad.reason")
    assert str(first.action) == "trained, promoted 1", reason
    assert registry.champion(product).tags[URI_TAG] == uri
    assert second.record.model_version == "1"
