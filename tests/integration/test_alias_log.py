"""Moves of the champion's alias beside one another, after one another and cut off, on a real
registry in a file."""

from collections.abc import Callable

import pytest
from mlflow import MlflowClient

from mlflow_models import alias_log, registry
from mlflow_models.alias_log import PROMOTION, ROLLBACK, AliasMove, serving_stack
from reconad_plugin.errors import PlatformError
from tests.alias_moves import (
    LATER,
    PROMOTED,
    ROLLED_BACK,
    VERDICT,
    before_call,
    bring_in,
    compete_before_calls,
    copies,
    cut_off_before_each_write,
    die,
    put_into_service,
    state,
    take_back,
)
from tests.world import aliases

pytestmark = pytest.mark.usefixtures("mlflow_in_a_file")


@pytest.fixture
def product(mlflow_in_a_file: None) -> str:
    """A product with two registered versions; turns move aliases and load nothing."""
    copies("part", 2)
    return "part"


def test_promoters_of_one_version_leave_each_others_turn(
    product: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second writes its turn over the first's; who withdraws takes only its own away."""
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

    assert aliases(product) == {"champion": "1"}
    assert alias_log.recover(product) == [other]
    assert aliases(product) == {"champion": "2", "previous_champion": "1"}


def test_a_version_that_served_twice_is_not_gone_back_to(product: str) -> None:
    """What was rolled back is bad from its first service on; carrying it out twice changes
    nothing."""
    for number in ("1", "2", "1"):
        put_into_service(product, number)

    move = alias_log.roll_back(product, "1", LATER, "bad")

    assert aliases(product) == {"champion": "2"}
    assert alias_log.apply(product, move)
    assert aliases(product) == {"champion": "2"}


def move(number: int, version: str, instead_of: str | None, by: str = PROMOTION) -> AliasMove:
    return AliasMove(number, version, instead_of, by, "2026-06-01", "")


@pytest.mark.parametrize(
    ("history", "order"),
    [
        pytest.param([], [], id="nothing yet"),
        pytest.param([move(1, "1", None), move(2, "3", "1")], ["1", "3"], id="two promotions"),
        pytest.param(
            [move(1, "1", None), move(2, "2", "1"), move(3, "1", "2", ROLLBACK), move(4, "3", "1")],
            ["1", "3"],
            id="a version that was rolled back is out",
        ),
        pytest.param(
            [move(1, "1", None), move(2, "2", "1"), move(3, "4", "1")],
            ["1", "4"],
            id="back to the first by hand in between",
        ),
        pytest.param([move(1, "2", "1")], ["1", "2"], id="the first was put there by hand"),
    ],
)
def test_versions_stand_behind_one_another(history: list[AliasMove], order: list[str]) -> None:
    """The history says what a rollback goes back to."""
    assert serving_stack(history) == order


def test_without_a_common_lock_at_most_one_wins() -> None:
    """One promoter comes in before a call that another makes to the registry: at most one wins,
    and the loser is told to judge again or to try again. Acceptance takes every call."""
    assert compete_before_calls(every=7) > 20


def test_a_verdict_against_another_champion_is_refused() -> None:
    """The champion has changed since the verdict, so nothing moves and the message says so."""
    first, second, third = copies("part", 3)
    put_into_service("part", first, second)
    verdict = VERDICT | {"judged_against": first}

    with pytest.raises(PlatformError, match="judged against 1, and 2 serves by now: judge it"):
        alias_log.promote("part", third, LATER, verdict)

    assert aliases("part") == {"champion": second, "previous_champion": first}
    assert state("part", third) is None


@pytest.mark.parametrize(
    ("act", "goal"),
    [
        pytest.param(bring_in, PROMOTED, id="promotion"),
        pytest.param(take_back, ROLLED_BACK, id="rollback"),
    ],
)
def test_cut_off_before_any_write_the_next_run_makes_it_whole(
    act: Callable[[str], None], goal: tuple[dict[str, str], list[str | None]]
) -> None:
    """Whichever write it dies before, a whole version serves, and all is as if it had not died."""
    cut_off_before_each_write("part", act, *goal)


def test_a_champion_that_a_person_put_in_meanwhile_stays(product: str) -> None:
    """A promotion was cut off before it moved the alias; it is given up, and no more open."""
    copies(product, 1)
    put_into_service(product, "1", "2")
    with pytest.MonkeyPatch.context() as monkeypatch:
        before_call(monkeypatch, ("set_registered_model_alias",), 1, die)
        with pytest.raises(KeyboardInterrupt):
            bring_in(product)
    client, name = MlflowClient(), registry.model_name(product)
    client.set_registered_model_alias(name, registry.CHAMPION, "1")

    completed = alias_log.recover(product)

    assert completed == []
    assert aliases(product)["champion"] == "1"
    assert state(product, "3") is None
    assert not any(each.is_open for each in alias_log.moves(product))
