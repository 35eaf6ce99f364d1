"""Prefect as `reconad deploy` makes it, and who is told what: one message of each kind."""

import io
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import mlflow
import numpy as np
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient
from PIL import Image
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows.deployment.changes import Verb
from flows.deployment.deploy import deploy
from flows.deployment.wanted import MADE, ON_DRIFT, SEND
from flows.doctor.platforms import check_deployments
from flows.messages import send
from flows.platform.servers import EmbeddedPlatform
from flows.runtime.events import emit
from mlflow_models.tracking import log_night
from reconad_plugin.config import event_names as events
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.config.settings import DeploySettings, Settings, load_settings
from reconad_plugin.errors import ConfigError, PlatformError
from tests.command_line import run
from tests.receivers import Received, receivers

SILENT_S = 10  # the least that Prefect waits for an event
NIGHT = "2026-05-07"
SETTINGS = """
[storage]
bucket = "factory"
[deploy]
work_pool = "told"
[notify.hook]
to = "webhook"
address_from = "TOLD_HOOK"
[notify.chat]
to = "slack"
address_from = "TOLD_CHAT"
[notify.cards]
to = "teams"
address_from = "TOLD_CARDS"
[notify.office]
to = "mail"
address_from = "TOLD_SMTP"
mail_from = "reconad@factory.example"
mail_to = ["shift@factory.example", "lab@factory.example"]
[products.told]
timezone = "Europe/Berlin"
nightly_at = "06:30"
[products.quiet]
"""
ALARM = {"night": NIGHT, "also": [], "since": NIGHT, "model_version": "1"}
SENTENCE = "The pictures are darker than on other nights. Fine-tuning <has> started."
EMITTED = {  # title that people read -> event and payload
    "told 2026-05-07: alarm, cause camera, held": (
        events.ALARM_OPENED,
        {**ALARM, "cause": "camera", "evidence": SENTENCE, "is_holding": True},
    ),
    "told 2026-05-07: held, cause camera": (
        events.NIGHT_HELD,
        {**ALARM, "cause": "camera", "evidence": SENTENCE, "is_holding": True},
    ),
    "told 2026-05-07: the alarm about light since 2026-05-07 has ended": (
        events.ALARM_ENDED,
        {**ALARM, "cause": "light", "evidence": SENTENCE},
    ),
    "told 2026-05-07: version 1 serves, which was trained for the alarm about light": (
        events.MODEL_PROMOTED,
        {"night": NIGHT, "version": "1", "cause": "light", "reason": "all rules pass"},
    ),
    "told 2026-05-07: version 1 was refused": (
        events.MODEL_REJECTED,
        {"night": NIGHT, "version": "1", "reason": "it sees less"},
    ),
    "told 2026-05-07: version 1 was rolled back, version 0 serves": (
        events.MODEL_ROLLED_BACK,
        {"night": NIGHT, "version": "1", "back_to": "0", "reason": "misses scratches"},
    ),
}
SILENCE = "told: no night has run"


@pytest.fixture(scope="module")
def received() -> Iterator[Received]:
    with receivers() as running:
        yield running


@pytest.fixture
def settings(
    platform: EmbeddedPlatform,
    received: Received,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Settings]:
    """Four who get messages; what is made in Prefect is removed at the end."""
    file = tmp_path / "reconad.toml"
    file.write_text(SETTINGS)
    monkeypatch.setenv("RECONAD_CONFIG", str(file))
    monkeypatch.delenv("RECONAD_HOME")
    for name, address in {
        "TOLD_HOOK": f"{received.web}/hook",
        "TOLD_CHAT": f"{received.web}/chat",
        "TOLD_CARDS": f"{received.web}/cards",
        "TOLD_SMTP": received.smtp,
    }.items():
        monkeypatch.setenv(name, address)
    yield load_settings()
    with get_client(sync_client=True) as client:
        for automation in client.read_automations():
            if MADE in automation.tags:
                client.delete_automation(automation.id)
        for deployment in client.read_deployments():
            if MADE in deployment.tags:
                client.delete_deployment(deployment.id)


def test_deploying_again_changes_nothing_and_leaves_others_alone(
    settings: Settings, tmp_path: Path
) -> None:
    """The second run keeps all; a product that is gone is removed with its automation; what a
    person made or paused stays as it is."""
    trigger = EventTrigger(expect={"x"}, posture=Posture.Reactive, threshold=1)
    theirs = AutomationCore(name="theirs", trigger=trigger, actions=[DoNothing()])
    with get_client(sync_client=True) as client:
        kept = client.create_automation(theirs)

    said = run("deploy", "--dry-run").stdout
    first = list(deploy(settings, is_dry=False))
    with get_client(sync_client=True) as client:
        nightly = client.read_deployment_by_name("nightly/told")
        client.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=False)
    second = list(deploy(settings, is_dry=False))
    file = tmp_path / "reconad.toml"
    file.write_text(SETTINGS.replace("[products.quiet]", "").replace("06:30", "07:00"))
    third = run("deploy", "--json", str(tmp_path / "third.json"))

    with get_client(sync_client=True) as client:
        now = client.read_deployment_by_name("nightly/told")
        names = {each.name for each in client.read_automations()}
        client.delete_automation(kept)
    assert "would create deployment nightly/told" in said
    assert {change.verb for change in first} == {Verb.CREATE}
    assert {change.verb for change in second} == {Verb.KEEP}
    assert third.returncode == 0
    assert sorted(third.stdout.splitlines()[:-1]) == [
        "remove automation reconad: no night of quiet",
        *(
            f"remove deployment {flow}/quiet"
            for flow in ("nightly", "promote", "rollback", "train")
        ),
        "update deployment nightly/told (schedule)",
    ]
    assert {"theirs", ON_DRIFT, "reconad: no night of told"} <= names
    assert now.global_concurrency_limit is not None
    assert now.global_concurrency_limit.limit == 1
    (schedule,) = now.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("0 7 * * *", "Europe/Berlin")
    assert not schedule.active  # as the person left it
    assert now.pull_steps == [
        {"prefect.deployments.steps.set_working_directory": {"directory": str(tmp_path)}}
    ]


def test_addresses_that_are_missing_are_all_named_and_nothing_changes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time each address must come; a wrong one is not quoted. A product that is new, or
    gone, is made or removed by the next run."""
    list(deploy(settings, is_dry=False))
    before = made()
    for name in ("TOLD_HOOK", "TOLD_CHAT"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("TOLD_CARDS", "secret-without-scheme")
    settings = settings.model_copy(
        update={
            "notify": {f"new-{name}": each for name, each in settings.notify.items()},
            "products": {"other": settings.products["told"]},
        }
    )

    with pytest.raises(ConfigError, match=r"new-hook: .*TOLD_HOOK.*new-chat: .*new-cards") as error:
        list(deploy(settings, is_dry=False))

    assert "secret-without-scheme" not in str(error.value)
    assert made() == before


def test_what_prefects_own_command_deploys_is_well(
    settings: Settings, platform: EmbeddedPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor finds it as the settings ask for, unless it starts at another time."""
    monkeypatch.chdir(Path(__file__).parents[2])
    environment = platform.environment | {"RECONAD_PRODUCT": "told"}
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="reconad", type="process"))
    command = ["prefect", "--no-prompt", "deploy", "--all"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    chosen = {"notify": {}, "deploy": DeploySettings()}
    same, later = (
        settings.model_copy(update=chosen | {"products": {"told": ProductSettings(nightly_at=at)}})
        for at in ("02:00", "03:00")
    )

    assert check_deployments(same) == "as the settings ask for"
    with pytest.raises(
        PlatformError, match=r"would update deployment nightly/told \(schedule\): r"
    ):
        check_deployments(later)

    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            client.delete_deployment(deployment.id)
        client.delete_work_pool("reconad")


@pytest.fixture(scope="module")
def pictures(platform: EmbeddedPlatform) -> None:
    """A night with its maps, and a version with what the gate saw, in MLflow."""
    run_id = log_night("told", NIGHT, {}, {}, {"maps.png": Figure((1, 1))}, {})
    client = MlflowClient()
    client.log_figure(run_id, Figure((1, 1)), "gate/golden_maps.png")
    client.create_registered_model("reconad-told")
    source = f"{mlflow.get_run(run_id).info.artifact_uri}/gate"
    client.create_model_version("reconad-told", source, run_id)


def test_everybody_gets_one_message_of_each_kind(
    settings: Settings, pictures: None, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's automations start what sends them, and Prefect's server itself says that no night
    has run; whoever does not answer at once is tried again."""
    monkeypatch.setattr(send, "hand_over", send.hand_over.with_options(retry_delay_seconds=0))
    quick = settings.deploy.model_copy(update={"silent_after_h": SILENT_S / 3600})
    list(deploy(settings.model_copy(update={"deploy": quick}), is_dry=False))
    for event, payload in EMITTED.values():
        emit(event, "told", payload)
    emit(events.NIGHT_ENDED, "quiet", {"night": NIGHT, "action": "none"})

    parameters = until(lambda: started(len(EMITTED)))
    received.refusals.append("/hook")
    for each in parameters:
        assert send.send_messages(**each) == ["hook", "chat", "cards", "office"]
    until(lambda: SILENCE in titles(received.at("/hook")))

    assert set(titles(received.at("/hook"))) - {"quiet: no night has run"} == {*EMITTED, SILENCE}
    until(lambda: {*EMITTED, SILENCE} <= {mail["Subject"] for mail in received.mails})
    until(lambda: all(title in str(received.at("/chat")) for title in (*EMITTED, SILENCE)))
    until(lambda: all(title in str(received.at("/cards")) for title in (*EMITTED, SILENCE)))
    check_parts(received)


def check_parts(received: Received) -> None:
    """Cause, sentence, picture and link are in each form."""
    opened = next(iter(EMITTED))
    (hook,) = (each for each in received.at("/hook") if each["title"] == opened)
    assert (hook["product"], hook["night"], hook["cause"]) == ("told", NIGHT, "camera")
    assert hook["kinds"] == ["alarm_opened", "held"]
    assert hook["sentence"] == SENTENCE
    assert "/#/experiments/" in hook["link"]
    version = next(each for each in received.at("/hook") if each["version"] == "1")
    assert version["link"].endswith("/#/models/reconad-told/versions/1")
    assert all(each["picture_png"] for each in received.at("/hook") if each["night"])
    (mail,) = (each for each in received.mails if each["Subject"] == opened)
    assert mail["To"] == "shift@factory.example, lab@factory.example"
    (picture,) = mail.iter_attachments()
    with Image.open(io.BytesIO(picture.get_content())) as shown:
        assert np.asarray(shown).size
    body = mail.get_body(("plain",))
    assert body is not None
    assert SENTENCE in body.get_content()
    assert hook["link"] in body.get_content()
    (chat,) = (each["text"] for each in received.at("/chat") if opened in each["text"])
    assert "Fine-tuning &lt;has&gt; started." in chat
    assert f"<{hook['picture_link']}|Picture>" in chat
    (card,) = (each for each in received.at("/cards") if opened in str(each))
    assert {"type": "Action.OpenUrl", "title": "Look", "url": hook["link"]} in card["attachments"][
        0
    ]["content"]["actions"]


def test_one_who_is_not_reached_stops_nobody_and_is_named(
    settings: Settings, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its last try the run fails, which is seen in Prefect; the address is not shown. A mail
    of which one receiver is refused reaches the other once."""
    monkeypatch.setenv("TOLD_CHAT", "http://127.0.0.1:9/services/secret")
    monkeypatch.setattr(received, "unknown", ["lab@factory.example"])
    list(deploy(settings, is_dry=False))
    monkeypatch.setattr(
        send, "hand_over", send.hand_over.with_options(retries=1, retry_delay_seconds=0)
    )
    before = len(received.mails)
    event, payload = EMITTED["told 2026-05-07: version 1 was refused"]

    with pytest.raises(PlatformError, match=r"chat: a message must reach 127\.0\.0\.1") as error:
        send.send_messages(event, {"product": "told", **payload})

    assert len(received.mails) == before + 1
    assert "refuses lab@factory.example, and took it for the others" in str(error.value)
    assert "secret" not in str(error.value)


def made() -> set[tuple[str, str | None, UUID]]:
    """What Prefect has."""
    with get_client(sync_client=True) as client:
        found = [
            *client.read_deployments(),
            *client.read_automations(),
            *client.read_block_documents(),
        ]
    return {(type(each).__name__, each.name, each.id) for each in found}


def titles(posted: list[dict[str, Any]]) -> list[str]:
    return [each["title"] for each in posted]


def started(count: int) -> list[dict[str, Any]]:
    """Parameters of the runs that the automation scheduled, once there are so many."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(SEND)
        ours = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
        runs = client.read_flow_runs(deployment_filter=ours)
    found = [each.parameters for each in runs if each.parameters["payload"]["product"] == "told"]
    return found if len(found) == count else []


def until(condition: Callable[[], Any], timeout_s: float = 60) -> Any:
    """Wait for something to be true; what it is."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s
        time.sleep(0.3)
    return found
