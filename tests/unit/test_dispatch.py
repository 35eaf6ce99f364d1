"""Which products share a night, and how long a run of it is waited for."""

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
from prefect.states import Completed, Failed, Pending, Running, Scheduled

from flows.deployment.wanted import DISPATCH, wanted_deployments
from flows.runtime import runs
from flows.runtime.runs import FINETUNE, HANGS_AFTER, Started
from reconad_plugin.config.settings import Settings, load_settings
from reconad_plugin.errors import ConfigError

PRODUCTS = {
    "axle": {},
    "bolt": {"nightly_at": "03:00"},
    "cone": {"timezone": "Asia/Tokyo"},
    "disk": {"model": "fre"},
}
ALONE = {"storage": {"bucket": "factory"}, "products": PRODUCTS}


def test_products_without_a_time_of_their_own_share_the_night():
    """Either setting is one; without the section each has a schedule of its own."""
    shared = Settings.model_validate(ALONE | {"night": {"nightly_at": "04:00"}})
    alone = Settings.model_validate(ALONE)

    assert shared.dispatched == ["axle", "disk"]
    assert shared.clock_of("disk") == ("04:00", "UTC")
    assert shared.clock_of("cone") == alone.clock_of("cone") == ("02:00", "Asia/Tokyo")
    assert (alone.dispatched, alone.clock_of("axle")) == ([], ("02:00", "UTC"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("at_once = 0", "night.at_once: Input should be greater than or equal to 1"),
        ("at_once = 500", "night.at_once: Input should be less than or equal to 100"),
        ("training_minutes = -1", "night.training_minutes: Input should be greater than 0"),
        ("trainings_at_once = 1.5", "night.trainings_at_once: Input should be a valid integer"),
        ("nightly_at = '00:30'", "night.nightly_at: String should match"),
        ("timezone = 'Berlin'", "timezone must be one such as 'Europe/Berlin'; got 'Berlin'"),
        ("minutes = 5", "night.minutes: Extra inputs are not permitted"),
    ],
)
def test_a_night_that_breaks_a_rule_is_named(write_settings, line, said):
    """With its setting and what it may be."""
    file = write_settings(f"[storage]\nbucket = 'factory'\n[night]\n{line}\n[products.axle]\n")

    with pytest.raises(ConfigError) as error:
        load_settings(file)

    assert said in str(error.value)


def test_deployments_of_a_file_without_the_section_are_as_ever():
    """Each nightly has its schedule; no dispatcher, no queue."""
    found = {each.name: each for each in wanted_deployments(Settings.model_validate(ALONE))}

    assert [found[f"nightly/{name}"].cron for name in PRODUCTS] == [
        "0 2 * * *",
        "0 3 * * *",
        "0 2 * * *",
        "0 2 * * *",
    ]
    assert DISPATCH not in found
    assert {each.queue for each in found.values()} == {None}


def test_a_night_that_no_product_shares_has_no_dispatcher():
    """All have a time of their own."""
    content = ALONE | {"night": {}, "products": {"bolt": PRODUCTS["bolt"]}}

    names = [each.name for each in wanted_deployments(Settings.model_validate(content))]

    assert names == [f"{flow}/bolt" for flow in ("nightly", "train", "promote", "rollback")] + [
        FINETUNE
    ]


def ago(state, since):
    """A run that has been in a state for so long."""
    return SimpleNamespace(
        name="nightly axle",
        state=state.model_copy(update={"timestamp": datetime.now(UTC) - since}),
    )


@pytest.mark.parametrize(
    ("state", "since", "is_over", "said"),
    [
        (Completed(), timedelta(0), True, "Completed: "),
        (Failed(message="too few\nlines"), timedelta(0), True, "Failed: too few"),
        (Running(), HANGS_AFTER, False, None),
        (Running(), HANGS_AFTER + timedelta(minutes=11), True, "it hangs, .* nightly axle"),
        (Pending(), HANGS_AFTER + timedelta(minutes=11), True, "it hangs"),
        (Scheduled(), timedelta(days=1), False, None),
    ],
)
def test_a_run_is_waited_for_until_it_ends_or_hangs(state, since, is_over, said):
    """That is three hours beyond what it may last; one that no worker took does not hang."""
    run, started = ago(state, since), Started("axle", UUID(int=1), timedelta(minutes=10))

    assert runs._is_over(run, started) is is_over
    if is_over:
        assert re.match(said, runs.describe_end(run))


def test_a_run_that_somebody_deleted_is_over():
    """It did not do well."""
    assert runs._is_over(None, Started("axle", UUID(int=1)))
    assert not runs.has_done_well(None)
    assert runs.describe_end(None) == "somebody deleted its run"
