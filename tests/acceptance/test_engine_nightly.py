"""A product whose versions carry an exported graph, night after night."""

from collections.abc import Callable
from typing import Any

import pytest

from flows.ingest import ingest
from flows.monitor import monitor
from flows.nightly import nightly
from mlflow_models import registry
from mlflow_models.flavor import load_calibrated
from mlflow_models.version_tags import ENGINES_TAG
from reconad_plugin.detector.detector import TORCH
from reconad_plugin.detector.engine import OpenVinoGraph
from tests.factory import Factory
from tests.world import IMAGES, QUIET, TRAINED


def test_a_product_that_asks_for_an_engine_has_one_every_night(
    new_factory: Callable[..., Factory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version carries a graph with the thresholds of the network, and the graph scores the
    night that follows."""
    factory = new_factory(engine="openvino", retrain_every_nights=1)
    factory.train_for(steps=20)
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
    assert scored_by_graph >= IMAGES
    assert str(second.action).startswith("retrained, ")
    both = registry.versions(factory.product)
    assert len(both) == 2
    for version in both:
        by_graph, by_network = (load_calibrated(version.uri, name) for name in (None, TORCH))
        assert version.tags[ENGINES_TAG] == by_graph.engine.name == "openvino"
        assert by_graph.calibration.image_threshold == pytest.approx(
            by_network.calibration.image_threshold, rel=1e-4
        )
