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

from mlflow_models import registry, version_tags
from mlflow_models.registry import CHAMPION, PROMOTION, ROLLBACK, Version, model_name, versions
from mlflow_models.server import open_client
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
    """Return the moves of a run that died before it finished them, or that is under way."""
    return [move for move in moves_of(entries) if move.is_open]


def serving_stack(moves: Iterable[AliasMove]) -> list[str]:
    """Stack up the versions: the last one serves, and a rollback goes to the one before.

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
    """Note what the gate said of a version; return the champion that it was judged against.

    ``judged_against`` in the verdict is the number of that champion, None for no champion. Without
    it the present champion is meant.

    Raises:
        PlatformError: another champion serves by now, so the verdict says nothing any more.
    """
    serving = registry.number_by_alias(product, CHAMPION)
    judged_against: str | None = verdict.get("judged_against", serving)
    if judged_against != serving:
        raise _stale_verdict(product, number, judged_against, serving)
    tags = {
        version_tags.VERDICT_TAG: json.dumps(verdict),
        version_tags.JUDGED_AGAINST_TAG: judged_against or "none",
        version_tags.REASON_TAG: verdict["reason"],
    }
    registry.set_tags(product, number, tags, description=verdict["reason"])
    return judged_against


def reject(product: str, number: str) -> None:
    """Mark a challenger whose verdict is noted; it keeps its alias until the next one comes."""
    registry.set_tags(product, number, {version_tags.STATE_TAG: registry.REJECTED})


def promote(product: str, number: str, night: str, verdict: Mapping[str, Any]) -> AliasMove:
    """Put a version into service: note the verdict, begin a move and apply it.

    It comes back still open: emit its event, then ``finish`` it.

    Raises:
        PlatformError: another champion serves by now, or another move is open.
    """
    judged_against = note_verdict(product, number, verdict)
    wanted = AliasMove(0, number, judged_against, PROMOTION, night, verdict["reason"])
    return _begin_and_apply(product, wanted, versions(product))


def roll_back(product: str, number: str, night: str, reason: str) -> AliasMove:
    """Put the version that served before back into service, and mark the bad one, which serves.

    The move comes back still open: emit its event, then ``finish`` it.

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
    after its own was the first to look; all others find that note when they look. The move comes
    back as it is noted, with its number; the same move that was cut off before is taken up again.

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
    serving = registry.number_by_alias(
        product, CHAMPION
    )  # read last: who finished by now moved it before
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
    whole version to another. The tags of both versions follow. Where another version serves by now,
    the move is aborted and False comes back.
    """
    if registry.number_by_alias(product, CHAMPION) not in (move.instead_of, move.version):
        abort(product, move)
        return False
    entries = versions(product)
    stack = serving_stack([*_finished(entries), move])
    if move.by == ROLLBACK:  # what it takes away is bad, though it may have served before, too
        entries = [entry for entry in entries if entry.number != move.instead_of]
    _point(product, registry.PREVIOUS_CHAMPION, _before(entries, stack))
    _point(product, CHAMPION, move.version)
    if registry.number_by_alias(product, CHAMPION) != move.version:  # aliases are the last writer's
        abort(product, move)
        return False
    _mark_versions(product, move)
    registry.withdraw_challenger(product, {move.version, move.instead_of})
    return True


def finish(product: str, move: AliasMove) -> None:
    """Note that a move was applied and its event emitted."""
    _note(product, replace(move, is_open=False))


def abort(product: str, move: AliasMove) -> None:
    """Delete the note of a move, unless another promoter of the same version has overwritten it."""
    if move in moves(product):
        _delete_tag(product, move.version, f"{MOVE_TAG}{move.number}")


def recover(
    product: str, emit: Callable[[AliasMove], object] = lambda move: None
) -> list[AliasMove]:
    """Apply the moves that were cut off, emit their events and finish them; return them."""
    completed = [move for move in open_moves(versions(product)) if apply(product, move)]
    for move in completed:
        emit(move)
        finish(product, move)
    return completed


def adopt_champion(product: str) -> bool:
    """Mark a champion that was put into service by hand in MLflow as one that served; one that
    was rolled back before, or was judged without a consequence, as promoted. Say whether it was."""
    serving = registry.version_by_alias(product, CHAMPION)
    if serving is None:
        return False
    is_unknown = serving.promoted_night is None
    is_undecided = version_tags.VERDICT_TAG in serving.tags and serving.state is None
    if is_unknown:
        registry.set_tags(product, serving.number, {version_tags.PROMOTED_NIGHT_TAG: serving.night})
    if serving.is_rolled_back:
        _delete_tag(product, serving.number, version_tags.ROLLED_BACK_NIGHT_TAG)
    if serving.is_rolled_back or is_undecided:
        registry.set_tags(product, serving.number, {version_tags.STATE_TAG: registry.PROMOTED})
    return is_unknown or serving.is_rolled_back or is_undecided


def _begin_and_apply(product: str, wanted: AliasMove, entries: Iterable[Version]) -> AliasMove:
    move = begin(product, wanted, entries)
    if not apply(product, move):
        raise _overtaken(product, move, registry.number_by_alias(product, CHAMPION))
    return move


def _mark_versions(product: str, move: AliasMove) -> None:
    """Write the state, reason and night on the version that comes, or on the one that goes."""
    if move.by == PROMOTION:
        _delete_tag(product, move.version, version_tags.ROLLED_BACK_NIGHT_TAG)
        tags = {
            version_tags.PROMOTED_NIGHT_TAG: move.night,
            version_tags.STATE_TAG: registry.PROMOTED,
        }
        registry.set_tags(product, move.version, tags)
    elif move.instead_of is not None:
        tags = {
            version_tags.REASON_TAG: move.reason,
            version_tags.ROLLED_BACK_NIGHT_TAG: move.night,
            version_tags.STATE_TAG: registry.ROLLED_BACK,
        }
        registry.set_tags(product, move.instead_of, tags, description=move.reason)


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
    content = asdict(move)
    del content["number"], content["version"]  # these stand in the tag's name and place
    registry.set_tags(product, move.version, {f"{MOVE_TAG}{move.number}": json.dumps(content)})


def _delete_tag(product: str, number: str, name: str) -> None:
    open_client().delete_model_version_tag(model_name(product), number, name)


def _finished(entries: Iterable[Version]) -> list[AliasMove]:
    return [move for move in moves_of(entries) if not move.is_open]


def _up_to(stack: list[str], number: str | None) -> list[str]:
    """Cut a stack above the last mention of a version; one put into service by hand comes last."""
    if number is None:
        return []
    return stack[: len(stack) - stack[::-1].index(number)] if number in stack else [*stack, number]


def _before(entries: Iterable[Version], stack: list[str]) -> str | None:
    """Return the version below the top of a stack that still exists and was not rolled back."""
    kept = {entry.number for entry in entries if not entry.is_rolled_back}
    sound = [number for number in stack[:-1] if number != stack[-1] and number in kept]
    return sound[-1] if sound else None


def _point(product: str, alias: str, number: str | None) -> None:
    client, name = open_client(), model_name(product)
    if number is None:
        client.delete_registered_model_alias(name, alias)
    else:
        client.set_registered_model_alias(name, alias, number)
