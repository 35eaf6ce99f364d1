"""A promotion or rollback happened or did not: on a real MLflow and Prefect, also when cut off."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from mlflow import MlflowClient

from flows.commands.status import read_status
from flows.nightly import nightly
from flows.platform.servers import EmbeddedPlatform
from flows.promote import judge_once, promote
from flows.rollback import rollback
from flows.runtime.locks import recover
from mlflow_models import alias_log, registry
from mlflow_models.alias_log import PROMOTION, ROLLBACK, AliasMove, serving_stack
from reconad_plugin.errors import NoChampionError, PlatformError
from tests.command_line import RECONAD, run
from tests.factory import Factory

NIGHT = date(2026, 6, 1)
LATER = date(2026, 6, 9)
VERDICT = {"reason": "better", "checks": []}
WRITES = (
    "set_model_version_tag",
    "delete_model_version_tag",
    "update_model_version",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)
READS = ("get_registered_model", "search_model_versions")


@pytest.fixture(scope="module")
def trained(shared_factory: Factory) -> Factory:
    """A product whose first version was trained and promoted; others copy its model."""
    shared_factory.deliver(NIGHT)
    assert str(nightly(shared_factory.product, NIGHT).action) == "trained, promoted 1"
    return shared_factory


@pytest.fixture
def copies(trained: Factory) -> Callable[..., list[str]]:
    """Adds versions with the trained model to a product; their numbers."""

    def add(product: str, count: int) -> list[str]:
        source, name = registry.version(trained.product, "1"), registry.model_name(product)
        client = MlflowClient()
        if not registry.versions(product):
            client.create_registered_model(name)
        entries = [
            client.create_model_version(
                name, source.uri, source.run_id, tags={registry.NIGHT_TAG: NIGHT.isoformat()}
            )
            for _ in range(count)
        ]
        return [str(entry.version) for entry in entries]

    return add


def put_into_service(product: str, *numbers: str) -> None:
    for number in numbers:
        move = alias_log.promote(product, number, f"2026-06-0{number}", VERDICT)
        alias_log.finish(product, move)


def aliases(product: str) -> dict[str, str]:
    found = MlflowClient().get_registered_model(registry.model_name(product)).aliases
    return {alias: str(number) for alias, number in found.items()}


def state(product: str, number: str) -> str | None:
    return registry.version(product, number).tags.get(registry.STATE_TAG)


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


def test_two_promoters_at_once_cannot_both_win(trained: Factory, copies: Callable) -> None:
    """Two commands promote two versions of a product that nothing serves: one wins, and the other
    is judged against it."""
    numbers = copies(trained.product, 2)
    MlflowClient().delete_registered_model_alias(
        registry.model_name(trained.product), registry.CHAMPION
    )
    files = {number: trained.settings.parent / f"{number}.json" for number in numbers}

    runs = [
        subprocess.Popen(
            [RECONAD, "promote", trained.product, "--version", number, "--json", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, file in files.items()
    ]
    printed = [run.communicate(timeout=180) for run in runs]

    assert [run.returncode for run in runs] == [0, 0], printed
    answers = {number: json.loads(file.read_text()) for number, file in files.items()}
    (winner,) = [number for number in numbers if answers[number]["outcome"] == "promoted"]
    (loser,) = set(numbers) - {winner}
    assert aliases(trained.product)[registry.CHAMPION] == winner
    assert answers[loser]["outcome"] == "rejected"
    assert answers[loser]["verdict"]["judged_against"] == winner
    assert answers[loser]["night"] == NIGHT.isoformat()  # the last one taken in
    assert "is_better" in "".join(output for output, _ in printed)
    assert not alias_log.open_moves(registry.versions(trained.product))


def test_without_a_common_lock_at_most_one_wins(factory: Factory, copies: Callable) -> None:
    """One promoter comes in before any call that another makes to the registry: at most one wins,
    and the loser is told to judge again or to try again."""
    put_into_service(factory.product, copies(factory.product, 3)[0])

    def compete(product: str, number: str) -> str | None:
        try:
            verdict = VERDICT | {"judged_against": "1"}
            won = alias_log.promote(product, number, LATER.isoformat(), verdict)
            alias_log.finish(product, won)
        except PlatformError as error:
            return str(error)
        return None

    for call in range(1, 60):
        product = f"{factory.product}-{call}"
        copy_product(factory.product, product)
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
    assert call > 20


def test_a_verdict_against_another_champion_is_refused(factory: Factory, copies: Callable) -> None:
    """The champion has changed since the verdict, so nothing moves and the message says so."""
    first, second, third = copies(factory.product, 3)
    put_into_service(factory.product, first, second)
    verdict = VERDICT | {"judged_against": first}

    with pytest.raises(PlatformError, match="judged against 1, and 2 serves by now: judge it"):
        alias_log.promote(factory.product, third, LATER.isoformat(), verdict)

    assert aliases(factory.product) == {"champion": second, "previous_champion": first}
    assert state(factory.product, third) is None


def test_naming_the_champion_leaves_a_waiting_challenger(
    factory: Factory, copies: Callable
) -> None:
    """It serves already; the version that waits to be judged goes on waiting."""
    product = factory.product
    versions = copies(product, 3)
    put_into_service(product, *versions[:2])
    registry.challenge(product, versions[2])

    assert str(promote(product, LATER, 2)) == "promoted 2"
    assert aliases(product) == {"champion": "2", "previous_champion": "1", "challenger": "3"}


def test_rollback_goes_back_step_by_step(
    factory: Factory, copies: Callable, platform: EmbeddedPlatform
) -> None:
    """Each rollback goes one further back, marks the bad version, and the last one says no."""
    product = factory.product
    put_into_service(product, *copies(product, 3))

    first = rollback(product, LATER, "scratches were missed")
    after_first = aliases(product)
    second = rollback(product, LATER, "these too")
    with pytest.raises(NoChampionError, match="has none before version 1"):
        rollback(product, LATER)

    assert (str(first), str(second)) == ("rolled_back 3", "rolled_back 2")
    assert after_first == {"champion": "2", "previous_champion": "1"}
    assert aliases(product) == {"champion": "1"}
    bad = registry.version(product, "3")
    assert bad.tags[registry.REASON_TAG] == "scratches were missed"
    assert bad.tags[registry.ROLLED_BACK_NIGHT_TAG] == LATER.isoformat()
    assert str(judge_once(product, LATER, bad)) == "rolled_back 3"  # never judged again by itself
    (later,) = copies(product, 1)
    put_into_service(product, later)
    assert aliases(product) == {"champion": "4", "previous_champion": "1"}
    told = events(platform, product, "reconad.model.rolled_back", count=2)
    assert [(each["version"], each["back_to"]) for each in told] == [("3", "2"), ("2", "1")]


def events(platform: EmbeddedPlatform, product: str, name: str, count: int) -> list[dict[str, Any]]:
    """Payloads of a product's events, oldest first; waits until there are so many."""
    wanted = {
        "event": {"name": [name]},
        "any_resource": {"id": [f"reconad.product.{product}"]},
        "order": "ASC",
    }
    request = urllib.request.Request(
        f"{platform.environment['PREFECT_API_URL']}/events/filter",
        json.dumps({"filter": wanted}).encode(),
        {"Content-Type": "application/json"},
    )
    deadline_s = time.monotonic() + 20
    while True:
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = [event["payload"] for event in json.loads(answer.read())["events"]]
        if len(found) >= count or time.monotonic() > deadline_s:
            return found
        time.sleep(0.5)


def copy_product(product: str, copy: str) -> None:
    """A registered model with the same versions, tags and aliases."""
    client, name = MlflowClient(), registry.model_name(copy)
    client.create_registered_model(name)
    for version in registry.versions(product):
        client.create_model_version(name, version.uri, version.run_id, tags=version.tags)
    for alias, number in aliases(product).items():
        client.set_registered_model_alias(name, alias, number)


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


@pytest.mark.parametrize(
    ("act", "wanted", "states"),
    [
        pytest.param(
            lambda product: put_into_service(product, "3"),
            {"champion": "3", "previous_champion": "2"},
            ["promoted", "promoted", "promoted"],
            id="promotion",
        ),
        pytest.param(
            lambda product: alias_log.finish(
                product, alias_log.roll_back(product, "2", LATER.isoformat(), "bad")
            ),
            {"champion": "1"},
            ["promoted", "rolled_back", None],
            id="rollback",
        ),
    ],
)
def test_cut_off_before_any_write_the_next_run_makes_it_whole(
    factory: Factory,
    copies: Callable,
    act: Callable[[str], None],
    wanted: dict[str, str],
    states: list[str | None],
) -> None:
    """Whichever write it dies before, a whole version serves, and all is as if it had not died."""
    put_into_service(factory.product, *copies(factory.product, 3)[:2])
    for write in range(1, 30):
        product = f"{factory.product}-{write}"
        copy_product(factory.product, product)
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


def test_a_rollback_that_was_cut_off_is_completed_by_the_next(
    factory: Factory, copies: Callable, platform: EmbeddedPlatform
) -> None:
    """The next run ends it, with the first one's reason, and goes no further back."""
    product = factory.product
    put_into_service(product, *copies(product, 3))
    alias_log.roll_back(product, "3", LATER.isoformat(), "scratches")  # dies before it is told

    outcome = rollback(product, LATER, "again")

    assert str(outcome) == "rolled_back 3"
    assert aliases(product) == {"champion": "2", "previous_champion": "1"}
    assert registry.version(product, "3").tags[registry.REASON_TAG] == "scratches"
    assert recover(product).moves == ()
    (told,) = events(platform, product, "reconad.model.rolled_back", count=1)
    assert told["reason"] == "scratches"


def test_the_commands_say_what_they_did(factory: Factory, copies: Callable) -> None:
    """Rollback and status print it and write JSON; wrong input ends with 2 and one line."""
    product, folder = factory.product, factory.settings.parent
    put_into_service(product, *copies(product, 2))
    night = ("--night", LATER.isoformat())

    back = run("rollback", product, *night, "--reason", "pits", "--json", str(folder / "back.json"))
    status = run("status", product, "--json", str(folder / "status.json"), COLUMNS="100")
    again = run("rollback", product, *night)
    absent = run("promote", product, *night, "--version", "9")

    assert back.returncode == 0, back.stderr
    assert "version 2 rolled back: pits\nversion 1 serves again" in back.stdout
    assert json.loads((folder / "back.json").read_text()) == {
        "product": product,
        "night": LATER.isoformat(),
        "outcome": "rolled_back",
        "version": "2",
        "reason": "pits",
        "champion": "1",
        "previous_champion": None,
    }
    assert "version 1 is the champion" in status.stdout
    assert max(len(line) for line in status.stdout.splitlines()) <= 100
    written = json.loads((folder / "status.json").read_text())
    assert written == read_status(product).to_dict()
    served = [(each["from"], each["to"], each["version"]) for each in written["history"]]
    assert served == [
        ("2026-06-01", "2026-06-02", "1"),
        ("2026-06-02", "2026-06-09", "2"),
        ("2026-06-09", None, "1"),
    ]
    assert [each["state"] for each in written["versions"]] == ["promoted", "rolled_back"]
    for ended, message in ((again, "has none before version 1"), (absent, "got 9: see")):
        assert ended.returncode == 2
        assert message in ended.stderr
        assert "Traceback" not in ended.stderr + ended.stdout
