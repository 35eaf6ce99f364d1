"""Golden images of the bucket, on real servers: when they judge, and how often they are read."""

from collections import Counter

import numpy as np
import pytest

from flows.ingest import ingest
from flows.jobs.product import open_product
from flows.nightly import nightly
from flows.promote import gather_golden
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.images.size import ImageSize
from reconad_plugin.store.objects import ObjectContent, ObjectStore
from tests.factory import Factory, normal_picture, to_png, with_scratch
from tests.world import IMAGES, TRAINED


def test_few_real_defects_do_not_judge_alone(factory: Factory) -> None:
    """Up to 59 have simulated anomalies beside them; from sixty on they are enough."""
    factory.deliver(TRAINED, IMAGES)
    ingest(factory.product, TRAINED)
    opened = open_product(factory.product)

    def golden_with(count: int) -> tuple[str, set[str]]:
        for number in range(count):
            picture = with_scratch(normal_picture(np.random.default_rng(number))).clip(0, 1)
            content = to_png((255 * picture).astype(np.uint8))
            factory.put_key(f"{factory.product}/golden/scratch/{number}.png", content)
        labels = gather_golden(opened, TRAINED, ImageSize.square(32), frozenset()).labels
        return labels.kind, set(labels.defects)

    assert golden_with(0) == ("simulated", {"simulated"})
    assert golden_with(1) == ("real and simulated", {"scratch", "simulated"})
    assert golden_with(LIMITS.enough_defects) == ("real", {"scratch"})


def test_a_night_that_trains_downloads_each_golden_image_once(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ingest, the choice of images and the gate share what the first of them downloaded."""
    factory.train_for(steps=20)
    factory.deliver(TRAINED)
    golden = [f"{factory.product}/golden/{name}.png" for name in ("normal/0", "dent/0", "dent/1")]
    for number, key in enumerate(golden):
        picture = normal_picture(np.random.default_rng(number)).clip(0, 1)
        factory.put_key(key, to_png((255 * picture).astype(np.uint8)))
    downloads, read = Counter(), ObjectStore.read

    def count(store: ObjectStore, key: str) -> ObjectContent:
        downloads[key] += "/golden/" in key
        return read(store, key)

    monkeypatch.setattr(ObjectStore, "read", count)

    result = nightly(factory.product, TRAINED)

    assert str(result.action).startswith("trained, ")
    assert +downloads == Counter(golden)
