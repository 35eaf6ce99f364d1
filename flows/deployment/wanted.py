"""What Prefect should have for the products of a settings file: deployments and automations."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from prefect.events.actions import ActionTypes, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows.jobs.message import EVENTS
from flows.runtime.events import CAUSE_LABEL
from flows.runtime.runs import FINETUNE
from reconad_plugin.config.event_names import DRIFT_DETECTED, NIGHT_ENDED
from reconad_plugin.config.night import NightSettings
from reconad_plugin.config.settings import Settings
from reconad_plugin.ledger.eligibility import LEARNABLE

MADE: Final = "made by reconad deploy"  # a tag of all that is made, and may be removed again
DISPATCH: Final = "dispatch/all-products"
TRAININGS: Final = "trainings"  # the work queue of trainings, where products share a night
SEND: Final = "send-messages/to-people"
PRETRAIN_BUDGET_S: Final = 3600
ON_DRIFT: Final = "finetune-on-drift"  # as `prefect.yaml` names it
ON_NEWS: Final = "reconad: messages to people"
_A_NAME: Final = re.compile("[a-z0-9][a-z0-9_-]*")  # of a foundation; else an address or a file


@dataclass(frozen=True)
class WantedDeployment:
    """One deployment."""

    flow: str  # its module and name, such as ``flows.nightly.nightly``
    name: str  # <flow>/<name>, as people write it
    description: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    cron: str | None = None
    timezone: str = "UTC"  # of the schedule
    most_runs: int | None = None  # at the same time; None: any number
    queue: str | None = None  # of the work pool; None: whichever it has, by default Prefect's own

    @property
    def own_name(self) -> str:
        """The part of its name that is not the flow's."""
        return self.name.partition("/")[2]


def wanted_deployments(settings: Settings) -> list[WantedDeployment]:
    """Return the deployments of all products, and those that products share."""
    found = [each for name in settings.products for each in _of_product(name, settings)]
    found.append(
        WantedDeployment(
            "flows.finetune.finetune",
            FINETUNE,
            "Fine-tune the champion after a drift whose cause is light or process.",
            queue=_queue_of_trainings(settings),
        )
    )
    if settings.night is not None and settings.dispatched:
        found.append(_of_all(settings.night))
    found += _of_foundations(settings)
    if settings.notify:
        what = "Send the message about an event to all who want it."
        found.append(WantedDeployment("flows.messages.send.send_messages", SEND, what))
    return found


def _of_product(product: str, settings: Settings) -> list[WantedDeployment]:
    at, timezone = settings.clock_of(product)
    is_dispatched = product in settings.dispatched
    parameters = {"product": product}
    nightly = WantedDeployment(
        "flows.nightly.nightly",
        f"nightly/{product}",
        "Take in, score, watch, learn when that is right, promote when proven.",
        parameters,
        cron=None if is_dispatched else _daily(at),
        timezone=timezone,
        most_runs=1,
    )
    queues = {"train": _queue_of_trainings(settings)}
    others = {
        "train": "Train from scratch, for instance after a review, and let the gate decide.",
        "promote": "Judge the challenger against the champion once more.",
        "rollback": "Put the version that served before back into service, and mark the bad one.",
    }
    return [
        nightly,
        *(
            WantedDeployment(
                f"flows.{flow}.{flow}",
                f"{flow}/{product}",
                what,
                parameters,
                queue=queues.get(flow),
            )
            for flow, what in others.items()
        ),
    ]


def _of_all(night: NightSettings) -> WantedDeployment:
    return WantedDeployment(
        "flows.dispatch.dispatch",
        DISPATCH,
        "Run the night of all products that share one, then the trainings that fit into it.",
        cron=_daily(night.nightly_at),
        timezone=night.timezone,
        most_runs=1,
    )


def _queue_of_trainings(settings: Settings) -> str | None:
    return TRAININGS if settings.dispatched else None


def _daily(at: str) -> str:
    hour, minute = at.split(":")
    return f"{int(minute)} {int(hour)} * * *"


def _of_foundations(settings: Settings) -> list[WantedDeployment]:
    products_of: dict[str, list[str]] = {}
    for product, chosen in settings.products.items():
        if chosen.vq is not None and _A_NAME.fullmatch(chosen.vq):
            products_of.setdefault(chosen.vq, []).append(product)
    return [
        WantedDeployment(
            "flows.pretrain_vq.pretrain_vq",
            f"pretrain-vq/{name}",
            "Train what DSR stands on, for the setting vq of products.",
            {"products": products, "name": name, "budget_s": PRETRAIN_BUDGET_S},
            most_runs=1,
        )
        for name, products in products_of.items()
    ]


def wanted_automations(
    settings: Settings,
    deployments: Mapping[str, UUID],
    actions: Mapping[str, Sequence[ActionTypes]],
) -> list[AutomationCore]:
    """Return the automations of all products.

    Args:
        settings: the products, and who gets messages.
        deployments: name -> id of the deployments that automations start.
        actions: product -> what Prefect's server does by itself when no night of it has run.
    """
    found = [_on_drift(deployments[FINETUNE])]
    if SEND in deployments:
        found.append(_on_news(deployments[SEND]))
    silent_after = timedelta(hours=settings.deploy.silent_after_h)
    for product, its_actions in actions.items():
        if its_actions:
            found.append(_on_silence(product, silent_after, its_actions))
    return found


def _on_drift(finetune: UUID) -> AutomationCore:
    learnt = {"product": "event.payload.product", "night": "event.payload.night"}
    trigger = EventTrigger(
        expect={DRIFT_DETECTED},
        match={"prefect.resource.id": "reconad.product.*", CAUSE_LABEL: list(LEARNABLE)},
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    parameters = {name: _as_json(value) for name, value in learnt.items()}
    parameters["event_id"] = _as_json("event.id | string")
    return AutomationCore(
        name=ON_DRIFT,
        description="Fine-tune after a drift whose cause is light or process.",
        tags=[MADE],
        trigger=trigger,
        actions=[_run(finetune, parameters)],
        owner_resource=f"prefect.deployment.{finetune}",  # so `prefect deploy` replaces it
    )


def _on_news(send: UUID) -> AutomationCore:
    trigger = EventTrigger(
        expect=set(EVENTS),
        match={"prefect.resource.id": "reconad.product.*"},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    parameters = {"event": _as_json("event.event"), "payload": _as_json("event.payload")}
    return AutomationCore(
        name=ON_NEWS,
        description="Send messages to those of notify in reconad.toml.",
        tags=[MADE],
        trigger=trigger,
        actions=[_run(send, parameters)],
    )


def _on_silence(
    product: str, silent_after: timedelta, actions: Sequence[ActionTypes]
) -> AutomationCore:
    """Wait for the end of a night from the last one on. Before the first one, and while it stays
    silent, Prefect waits anew by itself."""
    trigger = EventTrigger(
        after={NIGHT_ENDED},
        expect={NIGHT_ENDED},
        match={"prefect.resource.id": f"reconad.product.{product}"},
        posture=Posture.Proactive,
        threshold=1,
        within=silent_after,
    )
    return AutomationCore(
        name=f"reconad: no night of {product}",
        description="Prefect's server itself says that no night has run.",
        tags=[MADE],
        trigger=trigger,
        actions=list(actions),
    )


def _run(deployment: UUID, parameters: Mapping[str, object]) -> RunDeployment:
    return RunDeployment(
        source="selected", deployment_id=deployment, parameters=dict(parameters), job_variables=None
    )


def _as_json(expression: str) -> dict[str, object]:
    """Write a template whose value keeps its type, as Prefect's server keeps it."""
    template = {"__prefect_kind": "jinja", "template": f"{{{{ {expression} | tojson }}}}"}
    return {"__prefect_kind": "json", "value": template}
