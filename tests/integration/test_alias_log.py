"""Moves of the champion's alias beside one another and after one another, on a real registry."""

from typing import Any

import pytest
from mlflow import MlflowClient

from flows.runtime.locks import recover
from mlflow_models import alias_log, registry
from mlflow_models.alias_log import PROMOTION, AliasMove
from reconad_plugin.errors import PlatformError
from tests.factory import Factory

VERDICT = {"reason": "better"}
LATER = "2026-06-09"


@pytest.fixture
def product(factory: Factory) -> str:
    """A product with two registered versions; moves load nothing."""
    name = registry.model_name(factory.product)
    MlflowClient().create_registered_model(name)
    for _ in range(2):
        MlflowClient().create_model_version(name, "s3://factory/model")
    return factory.product


def put_into_service(product: str, number: str) -> None:
    alias_log.finish(product, alias_log.promote(product, number, f"2026-06-0{number}", VERDICT))


def aliases(product: str) -> tuple[str | None, str | None]:
    names = registry.CHAMPION, registry.PREVIOUS_CHAMPION
    champion, previous = (registry.number_by_alias(product, name) for name in names)
    return champion, previous


def test_promoters_of_one_version_leave_each_others_move(
    product: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second writes its note over the first's; who aborts deletes only its own."""
    put_into_service(product, "1")
    note = alias_log._note
    other = AliasMove(2, "2", "1", PROMOTION, "2026-06-08", "better")

    def note_and_be_overwritten(product: str, mine: AliasMove) -> None:
        note(product, mine)
        note(product, other)

    with monkeypatch.context() as patched:
        patched.setattr(alias_log, "_note", note_and_be_overwritten)
        with pytest.raises(PlatformError, match="run this again, which completes it first"):
            alias_log.promote(product, "2", LATER, VERDICT)

    assert aliases(product) == ("1", None)
    assert alias_log.recover(product) == [other]
    assert aliases(product) == ("2", "1")


def test_a_version_that_served_twice_is_not_gone_back_to(product: str) -> None:
    """What was rolled back is bad from its first service on; carrying it out twice changes
    nothing."""
    for number in ("1", "2", "1"):
        put_into_service(product, number)

    move = alias_log.roll_back(product, "1", LATER, "bad")

    assert aliases(product) == ("2", None)
    assert alias_log.apply(product, move)
    assert aliases(product) == ("2", None)


def test_recovering_nothing_asks_for_the_versions_once(
    product: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ordinary run hands on the one listing that recovery read; after a completed move the
    versions are as they are then."""
    listed = []
    search = MlflowClient.search_model_versions

    def count(*args: Any, **options: Any) -> Any:
        listed.append(1)
        return search(*args, **options)

    monkeypatch.setattr(MlflowClient, "search_model_versions", count)
    put_into_service(product, "1")
    listed.clear()

    ordinary = recover(product)

    assert (ordinary.moves, len(listed)) == ((), 1)
    assert [version.number for version in ordinary.versions] == ["1", "2"]
    alias_log.promote(product, "2", LATER, VERDICT)  # dies before its event
    completed = recover(product)
    assert [move.version for move in completed.moves] == ["2"]
    assert not alias_log.open_moves(completed.versions)
