"""Moves of the champion's alias: each happens once, or not at all.

Why a log, beside a lock? A lock keeps two promoters apart while both live. It says nothing of a
promoter that died between two of its ten writes: the lock becomes free again, and half of the
tags and aliases are old. So a move is written down before the first of these writes (``begin``),
carried out (``apply``) and closed (``finish``). Whoever finds it open carries it out again
(``recover``), or withdraws it where another version serves by now (``abort``).

The log also keeps apart promoters that hold no common lock, since they do not share a Prefect
server: after its own note each looks for the notes of others. MLflow has no compare-and-set, so
the registry is read again at three points, and nowhere else: after the note (``begin``), before
the aliases move (``apply``), and before a note is deleted (``abort``).

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
    PROMOTION,
    REASON_TAG,
    REJECTED,
    ROLLBACK,
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

MOVE_TAG: Final = "reconad.turn."  # and the number of the move


@dataclass(frozen=True)
class AliasMove:
    """One move of the champion's alias, noted on the version that it goes to."""

    number: int  # moves of a product count from 1
    version: str  # what serves from then on
    instead_of: str | None  # what served before; None for nothing
    by: str  # `promotion` or `rollback`
    night: str  # `YYYY-MM-DD`
    reason: str  # one sentence
    is_open: bool = True  # not yet carried out to its end


def moves(product: str) -> list[AliasMove]:
    """Read every move of the champion's alias, oldest first."""
    return moves_of(versions(product))


def moves_of(entries: Iterable[Version]) -> list[AliasMove]:
    """Return the moves that are noted on the versions of a product, oldest first."""
    found = [
        AliasMove(int(tag.removeprefix(MOVE_TAG)), entry.number, **json.loads(content))
        for entry in entries
        for tag, content in entry.tags.items()
        if tag.startswith(MOVE_TAG)
    ]
    return sorted(found, key=lambda move: move.number)


def open_moves(entries: Iterable[Version]) -> list[AliasMove]:
    """Return the moves that were begun and not finished: those of a run that died, or that is
    under way."""
    return [move for move in moves_of(entries) if move.is_open]


def serving_stack(moves: Iterable[AliasMove]) -> list[str]:
    """Return the versions as they stand behind one another: the last one serves, and a rollback
    goes to the one before.

    Example:
        >>> first = AliasMove(1, "1", None, PROMOTION, "2026-01-01", "")
        >>> second = AliasMove(2, "4", "1", PROMOTION, "2026-01-02", "")
        >>> serving_stack([first, second])
        ['1', '4']
        >>> serving_stack([first, second, AliasMove(3, "1", "4", ROLLBACK, "2026-01-03", "")])
        ['1']
    """
    stack: list[str] = []
    for move in moves:
        stack = _up_to(stack, move.instead_of)
        stack = [*stack, move.version] if move.by == PROMOTION else _up_to(stack, move.version)
    return stack


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
        raise _stale_verdict(product, number, judged_against, serving)
    client.set_model_version_tag(name, number, VERDICT_TAG, json.dumps(verdict))
    client.set_model_version_tag(name, number, JUDGED_AGAINST_TAG, judged_against or "none")
    client.set_model_version_tag(name, number, REASON_TAG, verdict["reason"])
    client.update_model_version(name, number, description=verdict["reason"])
    return judged_against


def reject(product: str, number: str) -> None:
    """Mark a challenger whose verdict is noted; it keeps its alias until the next one comes."""
    MlflowClient().set_model_version_tag(model_name(product), number, STATE_TAG, REJECTED)


def promote(product: str, number: str, night: str, verdict: Mapping[str, Any]) -> AliasMove:
    """Put a version into service: note the verdict, begin a move and apply it.

    Args:
        product: the product.
        number: of the version.
        night: ``YYYY-MM-DD``.
        verdict: see ``note_verdict``.

    Returns:
        The move, still open: emit its event, then ``finish`` it.

    Raises:
        PlatformError: another champion serves by now, or another move is open.
    """
    judged_against = note_verdict(product, number, verdict)
    wanted = AliasMove(0, number, judged_against, PROMOTION, night, verdict["reason"])
    return _begin_and_apply(product, wanted, versions(product))


def roll_back(product: str, number: str, night: str, reason: str) -> AliasMove:
    """Put the version that served before back into service, and mark the bad one.

    Args:
        product: the product.
        number: of the bad version, which serves.
        night: ``YYYY-MM-DD``.
        reason: why it is bad.

    Returns:
        The move, still open: emit its event, then ``finish`` it.

    Raises:
        NoChampionError: no version served before.
        PlatformError: another champion serves by now, or another move is open.
    """
    entries = versions(product)
    before = _before(entries, _up_to(serving_stack(_finished(entries)), number))
    if before is None:
        raise NoChampionError(
            f"a rollback needs a version that served before; {model_name(product)} has none "
            f"before version {number}: promote another one with "
            f"`reconad promote {product} --version N`"
        )
    wanted = AliasMove(0, before, number, ROLLBACK, night, reason)
    return _begin_and_apply(product, wanted, entries)


def begin(product: str, wanted: AliasMove, entries: Iterable[Version]) -> AliasMove:
    """Note a move as open, unless another one is open or another champion serves.

    Of several promoters that do this at once, at most one goes on. Whoever sees no other note
    after its own was the first to look; all others find that note when they look.

    Args:
        product: the product.
        wanted: the move; its number is given here.
        entries: the product's versions.

    Returns:
        The move as it is noted. The same move that was cut off before is taken up again.

    Raises:
        PlatformError: another move is open, or another champion serves by now.
    """
    known = moves_of(entries)
    for move in known:
        if move.is_open and move == replace(wanted, number=move.number):  # it was cut off
            return move
    mine = replace(wanted, number=1 + max((move.number for move in known), default=0))
    _note(product, mine)
    others = [move for move in open_moves(versions(product)) if move != mine]
    serving = number_by_alias(product, CHAMPION)  # read last: who finished by now moved it before
    if others:
        abort(product, mine)
        raise PlatformError(
            f"the champion of {model_name(product)} moves once at a time; the move to version "
            f"{others[0].version} is open: run this again, which completes it first"
        )
    if serving != mine.instead_of:
        abort(product, mine)
        raise _overtaken(product, mine, serving)
    return mine


def apply(product: str, move: AliasMove) -> bool:
    """Carry out an open move, from wherever it was cut off; doing it twice changes nothing.

    ``previous_champion`` is written first. The champion's alias then moves in one step from one
    whole version to another. The tags of both versions follow.

    Returns:
        Whether it is done; False where another version serves by now, and the move is aborted.
    """
    if number_by_alias(product, CHAMPION) not in (move.instead_of, move.version):
        abort(product, move)
        return False
    entries = versions(product)
    stack = serving_stack([*_finished(entries), move])
    if move.by == ROLLBACK:  # what it takes away is bad, though it may have served before, too
        entries = [entry for entry in entries if entry.number != move.instead_of]
    _point(product, PREVIOUS_CHAMPION, _before(entries, stack))
    _point(product, CHAMPION, move.version)
    if number_by_alias(product, CHAMPION) != move.version:  # aliases are the last writer's
        abort(product, move)
        return False
    _mark_versions(product, move)
    withdraw_challenger(product, {move.version, move.instead_of})
    return True


def finish(product: str, move: AliasMove) -> None:
    """Note that a move was applied and its event emitted."""
    _note(product, replace(move, is_open=False))


def abort(product: str, move: AliasMove) -> None:
    """Delete the note of a move, unless another promoter of the same version has written its own
    over it."""
    if move in moves(product):
        MlflowClient().delete_model_version_tag(
            model_name(product), move.version, f"{MOVE_TAG}{move.number}"
        )


def recover(
    product: str, emit: Callable[[AliasMove], object] = lambda move: None
) -> list[AliasMove]:
    """Apply the moves that were cut off, emit their events and finish them.

    Args:
        product: the product.
        emit: called with each move that was applied.

    Returns:
        The moves that were completed.
    """
    completed = [move for move in open_moves(versions(product)) if apply(product, move)]
    for move in completed:
        emit(move)
        finish(product, move)
    return completed


def adopt_champion(product: str) -> bool:
    """Mark a champion that was put into service by hand in MLflow as one that served; one that
    was rolled back before, or was judged without a consequence, as promoted.

    Returns:
        Whether anything was marked.
    """
    serving = version_by_alias(product, CHAMPION)
    if serving is None:
        return False
    client, name = MlflowClient(), model_name(product)
    is_unknown = PROMOTED_NIGHT_TAG not in serving.tags
    is_undecided = VERDICT_TAG in serving.tags and STATE_TAG not in serving.tags
    if is_unknown:
        night = serving.tags.get(NIGHT_TAG, "")
        client.set_model_version_tag(name, serving.number, PROMOTED_NIGHT_TAG, night)
    if serving.is_rolled_back:
        client.delete_model_version_tag(name, serving.number, ROLLED_BACK_NIGHT_TAG)
    if serving.is_rolled_back or is_undecided:
        client.set_model_version_tag(name, serving.number, STATE_TAG, PROMOTED)
    return is_unknown or serving.is_rolled_back or is_undecided


def _begin_and_apply(product: str, wanted: AliasMove, entries: Iterable[Version]) -> AliasMove:
    move = begin(product, wanted, entries)
    if not apply(product, move):
        raise _overtaken(product, move, number_by_alias(product, CHAMPION))
    return move


def _mark_versions(product: str, move: AliasMove) -> None:
    """Write the state, reason and night on the version that comes, or on the one that goes."""
    client, name = MlflowClient(), model_name(product)
    if move.by == PROMOTION:
        client.delete_model_version_tag(name, move.version, ROLLED_BACK_NIGHT_TAG)
        client.set_model_version_tag(name, move.version, PROMOTED_NIGHT_TAG, move.night)
        client.set_model_version_tag(name, move.version, STATE_TAG, PROMOTED)
    elif move.instead_of is not None:
        client.set_model_version_tag(name, move.instead_of, REASON_TAG, move.reason)
        client.set_model_version_tag(name, move.instead_of, ROLLED_BACK_NIGHT_TAG, move.night)
        client.set_model_version_tag(name, move.instead_of, STATE_TAG, ROLLED_BACK)
        client.update_model_version(name, move.instead_of, description=move.reason)


def _overtaken(product: str, move: AliasMove, serving: str | None) -> PlatformError:
    if move.by == PROMOTION:
        return _stale_verdict(product, move.version, move.instead_of, serving)
    return PlatformError(
        f"a rollback is of the version that served when it began, {move.instead_of}; "
        f"{serving or 'none'} serves by now: see `reconad status {product}` and roll back again"
    )


def _stale_verdict(
    product: str, number: str, judged_against: str | None, serving: str | None
) -> PlatformError:
    return PlatformError(
        f"a verdict counts while the champion it was given against serves; version {number} was "
        f"judged against {judged_against or 'none'}, and {serving or 'none'} serves by now: judge "
        f"it again with `reconad promote {product} --version {number}`"
    )


def _note(product: str, move: AliasMove) -> None:
    content = {
        name: value for name, value in asdict(move).items() if name not in ("number", "version")
    }
    MlflowClient().set_model_version_tag(
        model_name(product), move.version, f"{MOVE_TAG}{move.number}", json.dumps(content)
    )


def _finished(entries: Iterable[Version]) -> list[AliasMove]:
    return [move for move in moves_of(entries) if not move.is_open]


def _up_to(stack: list[str], number: str | None) -> list[str]:
    """Cut a stack above the last mention of a version; one that was put into service by hand
    comes on top."""
    if number is None:
        return []
    if number not in stack:
        return [*stack, number]
    return stack[: len(stack) - stack[::-1].index(number)]


def _before(entries: Iterable[Version], stack: list[str]) -> str | None:
    """Return the version below the top of a stack that still exists and was not rolled back."""
    kept = {entry.number for entry in entries if not entry.is_rolled_back}
    sound = [number for number in stack[:-1] if number != stack[-1] and number in kept]
    return sound[-1] if sound else None


def _point(product: str, alias: str, number: str | None) -> None:
    client, name = MlflowClient(), model_name(product)
    if number is None:
        client.delete_registered_model_alias(name, alias)
    else:
        client.set_registered_model_alias(name, alias, number)
