"""A night that asks for its training in place of training, as many products share a night."""

from collections.abc import Callable
from typing import Any

import pytest

from flows.commands.product_status import read_status
from flows.jobs.product import open_product
from flows.jobs.wanted_trainings import read_open_training, want_training
from flows.nightly import nightly
from mlflow_models import registry
from reconad_plugin.config.event_names import DRIFT_DETECTED
from reconad_plugin.ledger.wanted_training import Need, WantedTraining
from tests.factory import Factory, under_dim_lamp
from tests.world import DIMMED, FOUNDING_IMAGES, IMAGES, LAST_QUIET, QUIET, START, TRAINED


def test_a_night_that_is_told_to_ask_trains_nothing_and_notes_what_it_needs(
    forked: Callable[..., Factory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has turns to give starts it. No automation may fine-tune meanwhile, so the event does
    not carry the label that starts one. What a quiet night needs no more is taken back."""
    factory = forked(LAST_QUIET)
    opened = open_product(factory.product)
    want_training(opened, QUIET, Need.DUE)
    emitted: list[tuple[str, Any]] = []
    monkeypatch.setattr(
        "flows.nightly.emit",
        lambda event, product, payload, cause=None: emitted.append((event, cause)),
    )
    factory.deliver(DIMMED, IMAGES, change=under_dim_lamp, parts_of=TRAINED)

    quiet = nightly(factory.product, LAST_QUIET, asks=True)
    needed = read_open_training(opened)
    dimmed = nightly(factory.product, DIMMED, asks=True)

    assert (str(quiet.action), needed) == ("none", None)
    assert (dimmed.record.cause, str(dimmed.action)) == ("light", "training wanted: drift")
    assert (DRIFT_DETECTED, None) in emitted
    wanted = read_open_training(opened)
    assert wanted == WantedTraining(Need.DRIFT, str(DIMMED), str(DIMMED), 3.0)
    assert read_status(factory.product).to_dict()["training"]["since"] == str(DIMMED)
    assert len(registry.versions(factory.product)) == 1


def test_a_first_version_is_asked_for(factory: Factory) -> None:
    """Nothing is trained before its turn comes."""
    factory.deliver(START, FOUNDING_IMAGES)

    result = nightly(factory.product, START, asks=True)

    assert str(result.action) == "training wanted: first version"
    assert read_open_training(open_product(factory.product)).need is Need.FIRST
    assert registry.versions(factory.product) == []
