"""Moves of the champion's alias: each happens once, or not at all.

docs/decisions/0014 says in which order things are written, and why.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from mlflow import MlflowClient

from mlflow_models.registry import (
    CHAMPION,
    JUDGED_AGAINST_TAG,
    NIGHT_TAG,
    PREVIOUS_CHAMPION,
    PROMOTED,
    PROMOTED_NIGHT_TAG,
    REASON_TAG,
    REJECTED,
    ROLLED_BACK,
    ROLLED_BACK_NIGHT_TAG,
    STATE_TAG,
    VERDICT_TAG,
    Version,
    model_name,
    number_by_alias,
    version_by_alias,
    versions,
    withdraw_challenger,
)
from reconad_plugin.errors import NoChampionError, PlatformError

TURN_TAG: Final = "reconad.turn."  # and its number
PROMOTION, ROLLBACK = "promotion", "rollback"


@dataclass(frozen=True)
class Turn:
    """One move of the champion's alias, noted on the version that it goes to.

    It is noted before anything moves and closed when all is done, so whoever finds it open
    knows what was cut off.

    Attributes:
        number: turns of a product count from 1.
        version: what serves from then on.
        instead_of: what served before; None for nothing.
        by: ``promotion`` or ``rollback``.
        night: ``YYYY-MM-DD``.
        reason: one sentence.
        is_open: not yet carried out to its end.
    """

    number: int
    version: str
    instead_of: str | None
    by: str
    night: str
    reason: str
    is_open: bool = True


def turns(product: str) -> list[Turn]:
    """Every move of the champion's alias, oldest first."""
    return _turns(versions(product))


def open_turns(product: str) -> list[Turn]:
    """Moves that were begun and not ended: those of a run that died, or that is at it now."""
    return [turn for turn in turns(product) if turn.is_open]


def standing(turns: Iterable[Turn]) -> list[str]:
    """The versions of a history as they stand behind one another: the last one serves, and each
    rollback goes to the one before.

    Example:
        >>> first = Turn(1, "1", None, PROMOTION, "2026-01-01", "")
        >>> second = Turn(2, "4", "1", PROMOTION, "2026-01-02", "")
        >>> standing([first, second])
        ['1', '4']
        >>> standing([first, second, Turn(3, "1", "4", ROLLBACK, "2026-01-03", "")])
        ['1']
    """
    order: list[str] = []
    for turn in turns:
        order = _up_to(order, turn.instead_of)
        order = [*order, turn.version] if turn.by == PROMOTION else _up_to(order, turn.version)
    return order


def note_verdict(product: str, number: str, verdict: Mapping[str, Any]) -> str | None:
    """Note what the gate said of a version.

    Args:
        product: the product.
        number: of the version.
        verdict: of the gate; ``judged_against`` in it is the number of the champion that it was
            given against, None for no champion. Without it the present champion is meant.

    Returns:
        The number of the champion that it was given against.

    Raises:
        PlatformError: another champion serves by now, so the verdict says nothing any more.
    """
    client, name = MlflowClient(), model_name(product)
    serving = number_by_alias(product, CHAMPION)
    judged_against: str | None = verdict.get("judged_against", serving)
    if judged_against != serving:
        raise _overtaken(product, PROMOTION, number, judged_against, serving)
    client.set_model_version_tag(name, number, VERDICT_TAG, json.dumps(verdict))
    client.set_model_version_tag(name, number, JUDGED_AGAINST_TAG, judged_against or "none")
    client.set_model_version_tag(name, number, REASON_TAG, verdict["reason"])
    client.update_model_version(name, number, description=verdict["reason"])
    return judged_against


def reject(product: str, number: str) -> None:
    """Mark a challenger whose verdict is noted; it keeps its alias until the next one comes."""
    MlflowClient().set_model_version_tag(model_name(product), number, STATE_TAG, REJECTED)


def promote(product: str, number: str, night: str, verdict: Mapping[str, Any]) -> Turn:
    """Put a version into service: note the verdict, open a turn and carry it out.

    Args:
        product: the product.
        number: of the version.
        night: ``YYYY-MM-DD``.
        verdict: see ``note_verdict``.

    Returns:
        The turn, still open: tell of it, then ``close_turn``.

    Raises:
        PlatformError: another champion serves by now, or another turn is open.
    """
    judged_against = note_verdict(product, number, verdict)
    turn = Turn(0, number, judged_against, PROMOTION, night, verdict["reason"])
    return _take(product, turn)


def roll_back(product: str, number: str, night: str, reason: str) -> Turn:
    """Put the version that served before back into service, and mark the bad one.

    Args:
        product: the product.
        number: of the bad version, which serves.
        night: ``YYYY-MM-DD``.
        reason: why it is bad.

    Returns:
        The turn, still open: tell of it, then ``close_turn``.

    Raises:
        NoChampionError: no version served before.
        PlatformError: another champion serves by now, or another turn is open.
    """
    entries = versions(product)
    before = _before(entries, _up_to(standing(_closed(entries)), number))
    if before is None:
        raise NoChampionError(
            f"a rollback needs a version that served before; {model_name(product)} has none "
            f"before version {number}: promote another one with "
            f"`reconad promote {product} --version N`"
        )
    return _take(product, Turn(0, before, number, ROLLBACK, night, reason))


def complete_turn(product: str, turn: Turn) -> bool:
    """Carry out an open turn, from wherever it was cut off; doing it twice changes nothing.

    ``previous_champion`` is written first, the champion's alias then moves in one step from one
    whole version to another, and what the versions are marked with follows.

    Returns:
        Whether it is done; False where another version serves by now, and the turn is dropped.
    """
    client, name = MlflowClient(), model_name(product)
    if number_by_alias(product, CHAMPION) not in (turn.instead_of, turn.version):
        _drop(product, turn)
        return False
    entries = versions(product)
    order = standing([*_closed(entries), turn])
    if turn.by == ROLLBACK:  # what it takes away is bad, though it may have served before, too
        entries = [entry for entry in entries if entry.number != turn.instead_of]
    _point(product, PREVIOUS_CHAMPION, _before(entries, order))
    _point(product, CHAMPION, turn.version)
    if number_by_alias(product, CHAMPION) != turn.version:  # aliases are the last writer's
        _drop(product, turn)
        return False
    if turn.by == PROMOTION:
        client.delete_model_version_tag(name, turn.version, ROLLED_BACK_NIGHT_TAG)
        client.set_model_version_tag(name, turn.version, PROMOTED_NIGHT_TAG, turn.night)
        client.set_model_version_tag(name, turn.version, STATE_TAG, PROMOTED)
    elif turn.instead_of is not None:
        client.set_model_version_tag(name, turn.instead_of, REASON_TAG, turn.reason)
        client.set_model_version_tag(name, turn.instead_of, ROLLED_BACK_NIGHT_TAG, turn.night)
        client.set_model_version_tag(name, turn.instead_of, STATE_TAG, ROLLED_BACK)
        client.update_model_version(name, turn.instead_of, description=turn.reason)
    withdraw_challenger(product, {turn.version, turn.instead_of})
    return True


def close_turn(product: str, turn: Turn) -> None:
    """Note that a turn was carried out and told of."""
    _note_turn(product, replace(turn, is_open=False))


def complete_open_turns(
    product: str, tell: Callable[[Turn], object] = lambda turn: None
) -> list[Turn]:
    """Carry out, tell of and close the turns that were cut off; these turns."""
    completed = [turn for turn in open_turns(product) if complete_turn(product, turn)]
    for turn in completed:
        tell(turn)
        close_turn(product, turn)
    return completed


def adopt_champion(product: str) -> None:
    """Mark a version as one that served which was put into service by hand in MLflow; where it
    was judged and nothing came of that yet, or it was rolled back before, as promoted."""
    serving = version_by_alias(product, CHAMPION)
    if serving is None:
        return
    client, name = MlflowClient(), model_name(product)
    if PROMOTED_NIGHT_TAG not in serving.tags:
        night = serving.tags.get(NIGHT_TAG, "")
        client.set_model_version_tag(name, serving.number, PROMOTED_NIGHT_TAG, night)
    if serving.is_rolled_back:
        client.delete_model_version_tag(name, serving.number, ROLLED_BACK_NIGHT_TAG)
    is_undecided = VERDICT_TAG in serving.tags and STATE_TAG not in serving.tags
    if serving.is_rolled_back or is_undecided:
        client.set_model_version_tag(name, serving.number, STATE_TAG, PROMOTED)


def _take(product: str, turn: Turn) -> Turn:
    """Open a turn and carry it out."""
    turn = _open(product, turn)
    if not complete_turn(product, turn):
        raise _overtaken(
            product, turn.by, turn.version, turn.instead_of, number_by_alias(product, CHAMPION)
        )
    return turn


def _open(product: str, wanted: Turn) -> Turn:
    """Note a turn, then look around: of several that do so at once, at most one goes on.

    Whoever is alone after its own note was first, and all others see that note when they look.
    """
    known = turns(product)
    for turn in known:
        if turn.is_open and turn == replace(wanted, number=turn.number):  # it was cut off
            return turn
    mine = replace(wanted, number=1 + max((turn.number for turn in known), default=0))
    _note_turn(product, mine)
    others = [turn for turn in open_turns(product) if turn != mine]
    serving = number_by_alias(
        product, CHAMPION
    )  # after the others: who has closed by now has moved it before
    if others:
        _drop(product, mine)
        raise PlatformError(
            f"one turn of {model_name(product)} is taken at a time; that of version "
            f"{others[0].version} is open: run this again, which completes it first"
        )
    if serving != mine.instead_of:
        _drop(product, mine)
        raise _overtaken(product, mine.by, mine.version, mine.instead_of, serving)
    return mine


def _overtaken(
    product: str, by: str, number: str, expected: str | None, serving: str | None
) -> PlatformError:
    if by == ROLLBACK:
        return PlatformError(
            f"a rollback is of the version that served when it began, {expected}; "
            f"{serving or 'none'} serves by now: see `reconad status {product}` and roll back again"
        )
    return PlatformError(
        f"a verdict counts while the champion it was given against serves; version {number} was "
        f"judged against {expected or 'none'}, and {serving or 'none'} serves by now: judge it "
        f"again with `reconad promote {product} --version {number}`"
    )


def _note_turn(product: str, turn: Turn) -> None:
    content = {
        name: value for name, value in asdict(turn).items() if name not in ("number", "version")
    }
    MlflowClient().set_model_version_tag(
        model_name(product), turn.version, f"{TURN_TAG}{turn.number}", json.dumps(content)
    )


def _drop(product: str, turn: Turn) -> None:
    """Unless another promoter of the same version has noted its own in the same place."""
    if turn in turns(product):
        MlflowClient().delete_model_version_tag(
            model_name(product), turn.version, f"{TURN_TAG}{turn.number}"
        )


def _turns(entries: Iterable[Version]) -> list[Turn]:
    found = [
        Turn(int(tag.removeprefix(TURN_TAG)), entry.number, **json.loads(content))
        for entry in entries
        for tag, content in entry.tags.items()
        if tag.startswith(TURN_TAG)
    ]
    return sorted(found, key=lambda turn: turn.number)


def _closed(entries: Iterable[Version]) -> list[Turn]:
    return [turn for turn in _turns(entries) if not turn.is_open]


def _up_to(order: list[str], number: str | None) -> list[str]:
    """The order up to the last place of a version; one that was put there by hand comes on top."""
    if number is None:
        return []
    if number not in order:
        return [*order, number]
    return order[: len(order) - order[::-1].index(number)]


def _before(entries: Iterable[Version], order: list[str]) -> str | None:
    """The version before the last of an order that is still there and was not rolled back."""
    kept = {entry.number for entry in entries if not entry.is_rolled_back}
    sound = [number for number in order[:-1] if number != order[-1] and number in kept]
    return sound[-1] if sound else None


def _point(product: str, alias: str, number: str | None) -> None:
    client, name = MlflowClient(), model_name(product)
    if number is None:
        client.delete_registered_model_alias(name, alias)
    else:
        client.set_registered_model_alias(name, alias, number)
