"""What people are told, in which form, and what is said where a message is not taken."""

import re
import tomllib
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest
from prefect.exceptions import ObjectNotFound
from prefect.states import Failed

from flows import nightly as module
from flows.deployment.changes import Verb
from flows.deployment.targets import block_changes
from flows.jobs import message_delivery
from flows.jobs.message import compose
from flows.jobs.message_address import apprise_address, check_address
from flows.jobs.message_delivery import deliver
from flows.messages import send
from flows.nightly import emit_alarm
from reconad_plugin.config import event_names as events
from reconad_plugin.config.base import one_line
from reconad_plugin.config.notify import MESSAGE_KINDS, NotifySettings
from reconad_plugin.config.settings import DeploySettings, Settings
from reconad_plugin.errors import ConfigError, PlatformError
from reconad_plugin.ledger.ledger import OpenAlarm
from tests.receivers import receivers

NIGHT = date(2026, 5, 7)
PAGE = Path(__file__).parents[2] / "docs" / "operate.md"
MAIL = {
    "to": "mail",
    "address_from": "SMTP",
    "mail_from": "r@x.example",
    "mail_to": ("a@x.example",),
}


MESSAGE = compose(
    events.MODEL_REJECTED,
    {"product": "gear", "night": "2026-05-07", "version": "1", "reason": "r"},
)


def record(is_alarm=True, is_new=True, is_holding=False):
    """What the watch said of the night."""
    content = dict.fromkeys(module.DRIFT_PAYLOAD, "x") | {"is_holding": is_holding}
    return SimpleNamespace(
        night=NIGHT.isoformat(),
        is_alarm=is_alarm,
        is_new=is_new,
        is_holding=is_holding,
        to_dict=lambda: content,
    )


@pytest.mark.parametrize(
    ("tonight", "before", "emitted"),
    [
        pytest.param(record(), None, [events.ALARM_OPENED], id="a new alarm"),
        pytest.param(record(is_holding=True), None, [events.ALARM_OPENED], id="new and held: once"),
        pytest.param(
            record(is_new=False, is_holding=True), "camera", [events.NIGHT_HELD], id="held again"
        ),
        pytest.param(record(is_new=False), "light", [], id="still open, not held"),
        pytest.param(record(is_alarm=False), "light", [events.ALARM_ENDED], id="as before again"),
        pytest.param(record(is_alarm=False), None, [], id="a quiet night"),
        pytest.param(None, "light", [], id="no images"),
    ],
)
def test_each_turn_of_an_alarm_is_emitted_once(monkeypatch, tonight, before, emitted):
    """People hear that it opened, that a night is held, and that it ended."""
    said = []
    monkeypatch.setattr(module, "emit", lambda event, product, payload: said.append(event))
    opened = None if before is None else OpenAlarm(before, "2026-05-06")

    emit_alarm("gear", SimpleNamespace(open_alarm=lambda night: opened), NIGHT, tonight)

    assert said == emitted


def test_an_event_of_another_kind_is_refused():
    """It is named, with those that there are."""
    with pytest.raises(ConfigError, match=r"got 'reconad.images.held'"):
        compose("reconad.images.held", {})


def test_a_product_or_a_kind_can_be_left_out():
    """A target gets what it wants."""
    target = NotifySettings(to="slack", address_from="X", messages=("held",), products=("gear",))

    assert target.wants(("alarm_opened", "held"), "gear")
    assert not target.wants(("promoted",), "gear")
    assert not target.wants(("held",), "bolt")
    assert NotifySettings(to="slack", address_from="X").messages == MESSAGE_KINDS


@pytest.mark.parametrize(
    ("target", "said"),
    [
        pytest.param(
            {"to": "slack", "address_from": "https://hooks.example/x"},
            r"notify.shift.address_from: address_from must name the environment variable",
            id="the address itself",
        ),
        pytest.param(
            MAIL | {"mail_to": ()}, "mail_from and mail_to belong to a mail", id="mail to nobody"
        ),
        pytest.param(
            {"to": "slack", "address_from": "X", "mail_from": "a@b.example"},
            "got to = 'slack' with 1 of them",
            id="mail addresses elsewhere",
        ),
        pytest.param(
            {"to": "slack", "address_from": "X", "products": ("bolt",)},
            "notify.shift.products must be products of this file; got 'bolt'",
            id="unknown product",
        ),
    ],
)
def test_wrong_targets_say_what_to_do(target, said):
    """The rule and the place, and never the address."""
    with pytest.raises(ValueError, match="notify") as error:
        Settings.model_validate(
            {
                "storage": {"bucket": "factory"},
                "notify": {"shift": target},
                "products": {"gear": {}},
            }
        )

    line = one_line(error.value)
    assert "hooks.example" not in line
    assert said.replace("\\", "") in line


@pytest.mark.parametrize(
    ("address", "apprise"),
    [
        pytest.param("smtp://mail.x:25", "mailto://mail.x:25/?", id="no user, no secrecy needed"),
        pytest.param(
            "smtp://u%40x:p%2Fw@mail.x", "mailtos://u%40x:p%2Fw@mail.x:587/?", id="with a password"
        ),
        pytest.param("smtps://mail.x", "mailtos://mail.x:465/?", id="TLS from the start"),
    ],
)
def test_a_mail_server_is_written_as_apprise_takes_it(address, apprise):
    """A password goes with TLS alone."""
    written = apprise_address(NotifySettings(**MAIL), address)

    assert written.startswith(apprise)
    assert ("mode=insecure" in written) == apprise.startswith("mailto:")


@pytest.mark.parametrize(
    ("to", "address"),
    [
        ("slack", "smtp://secret"),
        ("mail", "https://secret"),
        ("teams", "https:///secret"),
        ("webhook", "secret"),
        ("webhook", "https://secret:secret"),
    ],
)
def test_an_address_of_another_kind_is_refused_unquoted(to, address):
    """What came may be a secret."""
    with pytest.raises(ConfigError, match=f"an address for {to} must be") as error:
        check_address(to, address)

    assert "secret" not in str(error.value)


def test_refusals_are_named_without_the_address_and_no_password_goes_in_plain():
    """The host and the status are enough to mend it."""
    hook = NotifySettings(to="webhook", address_from="X")
    with receivers() as received:
        received.refusals.append("/secret")
        with pytest.raises(PlatformError, match=r"^127\.0\.0\.1 must take a message; .* 503"):
            deliver(MESSAGE, hook, f"{received.web}/secret")
        with pytest.raises(PlatformError, match=r"with TLS alone; 127\.0\.0\.1 offers none"):
            deliver(MESSAGE, NotifySettings(**MAIL), received.smtp.replace("//", "//user:secret@"))

    assert received.posts == received.mails == []


def test_a_refused_receiver_of_a_mail_is_named_and_the_others_get_it_once():
    """A further try would bring it to the others again."""
    mail = NotifySettings(**MAIL | {"mail_to": ("a@x.example", "gone@x.example")})
    with receivers() as received:
        received.unknown.append("gone@x.example")
        with pytest.raises(ConfigError, match=r"refuses gone@x\.example, and took it") as error:
            deliver(MESSAGE, mail, received.smtp)

    assert len(received.mails) == 1
    state = Failed(data=error.value)
    assert not send.hand_over.retry_condition_fn(None, None, state)
    assert send.hand_over.retry_condition_fn(None, None, Failed(data=PlatformError("busy")))


def test_a_password_that_smtp_cannot_send_is_not_quoted(monkeypatch):
    """It is one clear error."""
    monkeypatch.setattr(message_delivery, "_check_secrecy", lambda connection, host: None)
    with receivers() as received:
        address = received.smtp.replace("//", "//user:geheim%C3%A4@")
        with pytest.raises(ConfigError, match="must be ASCII") as error:
            deliver(MESSAGE, NotifySettings(**MAIL), address)

    assert "geheim" not in str(error.value)
    assert error.value.__suppress_context__


@pytest.fixture
def blocks():
    """The blocks of a Prefect by type and name, behind its client."""
    kept = {}

    def read(name, slug, include_secrets):
        if (slug, name) not in kept:
            raise ObjectNotFound(Exception())
        return SimpleNamespace(id=UUID(int=1), data=kept[slug, name])

    return kept, SimpleNamespace(read_block_document_by_name=read)


def test_other_receivers_reach_prefect_without_the_address(blocks):
    """Prefect's server keeps them beside the address; what it kept of that is enough."""
    kept, client = blocks
    before, after = (NotifySettings(**MAIL | {"mail_to": (to,)}) for to in ("a@x.x", "b@x.x"))
    server = "smtp://user:secret@mail.x"
    kept["secret", "reconad-office"] = {"value": server}
    kept["slack-webhook", "reconad-office"] = {"url": apprise_address(before, server)}

    same, changed = (
        block_changes(client, SimpleNamespace(notify={"office": target}), {})["office"]
        for target in (before, after)
    )

    assert [each.verb for each in same] == [Verb.KEEP, Verb.KEEP]
    assert [str(each) for each in changed] == [
        "keep block secret/reconad-office",
        "update block slack-webhook/reconad-office (address)",
    ]


def test_the_documented_receivers_are_settings():
    """What stands in the page can be pasted into the file."""
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    storage = '[storage]\nbucket = "factory"\n[products.ball_screw]\n'

    settings = Settings.model_validate(tomllib.loads(storage + "".join(blocks)))

    assert list(settings.notify) == ["shift", "office"]
    assert all(f"`{kind}`" in PAGE.read_text(encoding="utf-8") for kind in MESSAGE_KINDS)


def test_the_example_file_names_every_setting_of_receivers_and_of_deploying():
    """It is where people look them up."""
    text = (PAGE.parents[1] / "reconad.example.toml").read_text(encoding="utf-8")
    names = [*NotifySettings.model_fields, *DeploySettings.model_fields, "nightly_at", "timezone"]

    assert [name for name in names if f"# {name} = " not in text] == []


def test_a_promotion_says_that_it_came_of_the_golden_floor():
    """It ends no alarm."""
    payload = {"product": "bolt", "night": "2026-05-07", "version": "4", "reason": "it finds more"}

    message = compose(events.MODEL_PROMOTED, payload | {"cause": "golden_floor"})

    assert message.kinds == ("promoted",)
    assert message.title == (
        "bolt 2026-05-07: version 4 serves, which was trained since the one before was below the "
        "golden floor"
    )
