"""Promotions and rollbacks on a registry whose versions hold no model, disturbed and cut off."""

from collections.abc import Callable
from typing import Any

import pytest
from mlflow import MlflowClient

from mlflow_models import alias_log, registry, version_tags
from reconad_plugin.errors import PlatformError
from tests.world import aliases, copy_versions

NIGHT, LATER = "2026-06-01", "2026-06-09"
VERDICT = {"reason": "better", "checks": []}
WRITES = (
    "set_model_version_tag",
    "delete_model_version_tag",
    "update_model_version",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)
READS = ("get_registered_model", "search_model_versions")


def copies(product: str, count: int, like: registry.Version | None = None) -> list[str]:
    """Add versions to a product, with the model of another or with none to load; their numbers."""
    client, name = MlflowClient(), registry.model_name(product)
    if not registry.versions(product):
        client.create_registered_model(name)
    entries = [
        client.create_model_version(
            name,
            like.uri if like else "s3://factory/model",
            like.run_id if like else None,
            tags={version_tags.NIGHT_TAG: NIGHT},
        )
        for _ in range(count)
    ]
    return [str(entry.version) for entry in entries]


def put_into_service(product: str, *numbers: str) -> None:
    for number in numbers:
        move = alias_log.promote(product, number, f"2026-06-0{number}", VERDICT)
        alias_log.finish(product, move)


def state(product: str, number: str) -> str | None:
    return registry.version(product, number).tags.get(version_tags.STATE_TAG)


def before_call(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], number: int, act: Callable[[], None]
) -> None:
    """Do something just before the so-many-th call to the registry, once."""
    left = [number]
    for name in names:
        real = getattr(MlflowClient, name)

        def call(*args: Any, _real: Any = real, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                act()
            return _real(*args, **kwargs)

        monkeypatch.setattr(MlflowClient, name, call)


def die() -> None:
    raise KeyboardInterrupt


def bring_in(product: str) -> None:
    put_into_service(product, "3")


def take_back(product: str) -> None:
    move = alias_log.roll_back(product, "2", LATER, "bad")
    alias_log.finish(product, move)


PROMOTED = {"champion": "3", "previous_champion": "2"}, ["promoted", "promoted", "promoted"]
ROLLED_BACK = {"champion": "1"}, ["promoted", "rolled_back", None]


def cut_off_before_each_write(
    like: str, act: Callable[[str], None], wanted: dict[str, str], states: list[str | None]
) -> None:
    """Whichever write it dies before, a whole version serves, and all is as if it had not died."""
    put_into_service(like, *copies(like, 3)[:2])
    for write in range(1, 30):
        product = f"{like}-{write}"
        copy_versions(like, product)
        with pytest.MonkeyPatch.context() as monkeypatch:
            before_call(monkeypatch, WRITES, write, die)
            try:
                act(product)
                break
            except KeyboardInterrupt:
                pass
        assert aliases(product)["champion"] in ("2", wanted["champion"])

        completed = alias_log.recover(product)
        if not completed and aliases(product)["champion"] == "2":
            act(product)

        assert aliases(product) == wanted
        assert [state(product, number) for number in ("1", "2", "3")] == states
        assert [each.is_open for each in alias_log.moves(product)] == [False] * 3
    assert write > 8


def compete_before_calls(every: int) -> int:
    """One promoter comes in before a call that another makes to the registry: at most one wins, and
    the loser is told to judge again or to try again. How many calls there were, or a few more."""
    put_into_service("part", copies("part", 3)[0])

    def compete(product: str, number: str) -> str | None:
        try:
            verdict = VERDICT | {"judged_against": "1"}
            won = alias_log.promote(product, number, LATER, verdict)
            alias_log.finish(product, won)
        except PlatformError as error:
            return str(error)
        return None

    for call in range(1, 60, every):
        product = f"part-{call}"
        copy_versions("part", product)
        refusals: dict[str, str | None] = {}

        def come_in(product: str = product, refusals: dict = refusals) -> None:
            refusals["3"] = compete(product, "3")

        with pytest.MonkeyPatch.context() as monkeypatch:
            before_call(monkeypatch, (*WRITES, *READS), call, come_in)
            refusals["2"] = compete(product, "2")
        if "3" not in refusals:
            break
        winners = [number for number, refusal in refusals.items() if refusal is None]
        assert len(winners) <= 1, call
        assert aliases(product)[registry.CHAMPION] == (winners or ["1"])[0]
        assert [state(product, number) for number in "23"].count("promoted") == len(winners)
        assert not alias_log.open_moves(registry.versions(product))
        for refusal in filter(None, refusals.values()):
            assert "run this again" in refusal or "judge it again" in refusal
    return call
