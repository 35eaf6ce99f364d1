"""A promotion or rollback happened or did not: on a real MLflow and Prefect, also when cut off."""

import json
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, date, datetime, time, timedelta
from time import monotonic, sleep
from typing import Any

import pyarrow as pa
import pytest
from mlflow import MlflowClient

from flows.commands.product_status import read_status
from flows.jobs.ledger import read_history
from flows.jobs.product import open_product
from flows.platform.servers import EmbeddedPlatform
from flows.promote import judge_once, promote
from flows.rollback import rollback
from flows.runtime.locks import recover
from mlflow_models import alias_log, registry, version_tags
from reconad_plugin.errors import NoChampionError, StorageUnreachableError
from reconad_plugin.ledger.night_record import NightRecords
from reconad_plugin.ledger.served import SERVED_SCHEMA, to_part
from reconad_plugin.store.layout import ProductLayout
from tests.alias_moves import (
    PROMOTED,
    VERDICT,
    bring_in,
    copies,
    cut_off_before_each_write,
    put_into_service,
)
from tests.command_line import run
from tests.factory import Factory
from tests.served import served_row
from tests.world import QUIET, aliases

LATER = date(2026, 6, 9)
SERVED, FLAGGED = 60, 20  # pictures, and those that a shadow flags


def test_two_promoters_at_once_cannot_both_win(forked: Callable[..., Factory]) -> None:
    """Two promote two versions of a product that nothing serves: one wins, and the other is judged
    against it, and by what it said as a shadow of what was served."""
    factory = forked(QUIET)
    product = factory.product
    numbers = copies(product, 2, like=registry.version(product, "1"))
    MlflowClient().delete_registered_model_alias(registry.model_name(product), registry.CHAMPION)

    with ThreadPoolExecutor(2) as threads:  # which know Prefect's address by its context
        promoted = {
            number: threads.submit(copy_context().run, promote, product, LATER, int(number))
            for number in numbers
        }
        outcomes = {number: str(outcome.result()) for number, outcome in promoted.items()}

    (winner,) = [number for number in numbers if outcomes[number] == f"promoted {number}"]
    (loser,) = set(numbers) - {winner}
    assert aliases(product)[registry.CHAMPION] == winner
    assert outcomes[loser] == f"rejected {loser}"
    serve_with_shadow(factory, QUIET, winner, loser)
    file = factory.settings.parent / "promoted.json"
    judged = run("promote", product, "--version", loser, "--json", file)
    assert judged.returncode == 0, judged.stderr
    answer = json.loads(file.read_text())
    assert (answer["outcome"], answer["champion"]) == ("rejected", winner)
    assert answer["verdict"]["judged_against"] == winner
    assert answer["night"] == QUIET.isoformat()  # the last one taken in
    assert "is_better" in judged.stdout
    (live,) = [each for each in answer["verdict"]["checks"] if each["rule"] == "live_alarms"]
    assert not live["is_passed"]
    assert f"of {SERVED} pictures that it saw as a shadow, {FLAGGED} lie" in live["sentence"]
    assert not [each for each in alias_log.moves(product) if each.is_open]


def serve_with_shadow(factory: Factory, night: date, version: str, shadow: str) -> None:
    """Log what a server said on a night, and what a shadow would have."""
    noon = datetime.combine(night, time(12), UTC)
    rows = [
        served_row(
            index,
            time=noon + timedelta(minutes=index),
            model_version=version,
            shadow_version=shadow,
            shadow_score=0.5,
            shadow_label=index < FLAGGED,
        )
        for index in range(SERVED)
    ]
    key = ProductLayout(factory.product).served_part(night, "server-000001")
    batch = pa.RecordBatch.from_pylist([row.to_record() for row in rows], SERVED_SCHEMA)
    factory.put_key(key, to_part([batch]))


def test_naming_the_champion_leaves_a_waiting_challenger(factory: Factory) -> None:
    """It serves already; the version that waits to be judged goes on waiting."""
    product = factory.product
    versions = copies(product, 3)
    put_into_service(product, *versions[:2])
    registry.challenge(product, versions[2])

    assert str(promote(product, LATER, 2)) == "promoted 2"
    assert aliases(product) == {"champion": "2", "previous_champion": "1", "challenger": "3"}


def test_rollback_goes_back_step_by_step(factory: Factory, platform: EmbeddedPlatform) -> None:
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
    assert bad.tags[version_tags.REASON_TAG] == "scratches were missed"
    assert bad.tags[version_tags.ROLLED_BACK_NIGHT_TAG] == LATER.isoformat()
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
    deadline_s = monotonic() + 20
    while True:
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = [event["payload"] for event in json.loads(answer.read())["events"]]
        if len(found) >= count or monotonic() > deadline_s:
            return found
        sleep(0.5)


def test_cut_off_on_a_server_the_next_run_makes_it_whole(factory: Factory) -> None:
    """A promotion, with MLflow behind HTTP."""
    cut_off_before_each_write(factory.product, bring_in, *PROMOTED)


def test_a_rollback_that_was_cut_off_is_completed_by_the_next(
    factory: Factory, platform: EmbeddedPlatform
) -> None:
    """The next run ends it, with the first one's reason, and goes no further back."""
    product = factory.product
    put_into_service(product, *copies(product, 3))
    alias_log.roll_back(product, "3", LATER.isoformat(), "scratches")  # dies before it is told

    outcome = rollback(product, LATER, "again")

    assert str(outcome) == "rolled_back 3"
    assert aliases(product) == {"champion": "2", "previous_champion": "1"}
    assert registry.version(product, "3").tags[version_tags.REASON_TAG] == "scratches"
    assert recover(product).moves == ()
    (told,) = events(platform, product, "reconad.model.rolled_back", count=1)
    assert told["reason"] == "scratches"


def test_a_rollback_that_the_bucket_stopped_is_completed_by_the_next(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history is written before the move is finished, so a second try goes no further back."""
    product = factory.product
    put_into_service(product, *copies(product, 3))

    def refuse(*_: object) -> None:
        raise StorageUnreachableError("no S3 service answers")

    with monkeypatch.context() as outage:
        outage.setattr(NightRecords, "write_history", refuse)
        with pytest.raises(StorageUnreachableError):
            rollback(product, LATER, "scratches")
    outcome = rollback(product, LATER, "again")

    assert str(outcome) == "rolled_back 3"
    assert aliases(product) == {"champion": "2", "previous_champion": "1"}
    assert read_history(open_product(product)).rolled_back == {"3"}


def test_the_commands_say_what_they_did(factory: Factory) -> None:
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


def test_recovering_nothing_asks_for_the_versions_once(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ordinary run hands on the one listing that recovery read; after a completed move the
    versions are as they are then."""
    product, listed = factory.product, []
    copies(product, 2)
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
    alias_log.promote(product, "2", LATER.isoformat(), VERDICT)  # dies before its event
    completed = recover(product)
    assert [move.version for move in completed.moves] == ["2"]
    assert not alias_log.open_moves(completed.versions)
