"""A product whose versions carry an exported graph, night after night."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flows.ingest import ingest
from flows.monitor import monitor
from flows.nightly import nightly
from mlflow_models import registry
from mlflow_models.flavor import load_calibrated
from mlflow_models.version_tags import ENGINES_TAG
from reconad_plugin.detector.detector import TORCH
from reconad_plugin.detector.engine import OpenVinoGraph
from tests.factory import Factory, to_png
from tests.world import QUIET, TRAINED

IMAGES = 60  # a fifth of them calibrates, ten at least


def test_a_product_that_asks_for_an_engine_has_one_every_night(
    new_factory: Callable[..., Factory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version carries a graph of each of its networks, here of two sizes and with a region,
    with the thresholds of PyTorch; and the graphs score the night that follows."""
    witness = {"witness": "fre", "features": "random", "witness_image_size_px": 64}
    factory = new_factory(engine="openvino", retrain_every_nights=1, **witness)
    factory.train_for(steps=20)
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[:40] = 255
    factory.put_key(f"{factory.product}/regions/region.png", to_png(mask))
    for night in (TRAINED, QUIET):
        factory.deliver(night, IMAGES)
    seen: list[int] = []
    run_graph = OpenVinoGraph.run

    def run_and_count(graph: OpenVinoGraph, *inputs: Any) -> Any:
        seen.append(len(inputs[0]))
        return run_graph(graph, *inputs)

    first = nightly(factory.product, TRAINED)
    monkeypatch.setattr(OpenVinoGraph, "run", run_and_count)
    ingest(factory.product, QUIET)
    scored = monitor(factory.product, QUIET)
    scored_by_graph = sum(seen)
    second = nightly(factory.product, QUIET)

    assert str(first.action) == "trained, promoted 1"
    assert scored is not None
    assert scored.model_version == "1"
    assert scored_by_graph >= 2 * IMAGES  # by either network
    assert str(second.action).startswith("retrained, ")
    both = registry.versions(factory.product)
    assert len(both) == 2
    for version in both:
        by_graph, by_network = (load_calibrated(version.uri, name) for name in (None, TORCH))
        assert version.tags[ENGINES_TAG] == by_graph.engine.name == "openvino"
        assert by_graph.witness is not None
        assert by_graph.witness.detector.engine.name == "openvino"
        assert by_graph.network_size_px.pixels < by_graph.image_size_px.pixels
        assert by_graph.region is not None
        assert by_graph.calibration.image_threshold == pytest.approx(
            by_network.calibration.image_threshold, rel=1e-4
        )
