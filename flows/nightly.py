"""The whole night: take in, score, watch, learn when that is right, promote when proven.

Without a server: ``python -m flows.nightly --product P --night YYYY-MM-DD``.
"""

import reconad_plugin.telemetry  # noqa: F401  first: Prefect reports at its import

# isort: split
import argparse
import sys
from datetime import date
from typing import Final

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.ingest import ingest
from flows.jobs.all_products import show_on_dashboard
from flows.jobs.first_images import still_waiting
from flows.jobs.judging import PromotionOutcome
from flows.jobs.ledger import open_ledger, sync_history
from flows.jobs.night_outcome import Action, ActionKind, NightOutcome
from flows.jobs.product import Product, open_product
from flows.jobs.wanted_trainings import want_none, want_training
from flows.monitor import monitor
from flows.runtime.events import emit
from flows.runtime.locks import recover
from flows.runtime.schedule import night_before_run
from flows.runtime.steps import STORAGE_RETRIES, fails_clearly, step
from flows.train import train
from mlflow_models import registry
from reconad_plugin.config.event_names import (
    ALARM_ENDED,
    ALARM_OPENED,
    DRIFT_DETECTED,
    NIGHT_ENDED,
    NIGHT_HELD,
)
from reconad_plugin.config.names import parse_night
from reconad_plugin.images.names import printable
from reconad_plugin.ledger.glance import note_glance
from reconad_plugin.ledger.golden_figures import GOLDEN_FLOOR
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.ledger.wanted_training import Need

MOST_CAUGHT_UP: Final = 7  # nights that one run makes up for; the next run goes on
MOST_TRIED: Final = 21  # that it tries, where some fail


def _run_name() -> str:
    night = flow_run.parameters.get("night") or night_before_run()
    return f"nightly {flow_run.parameters['product']} {night}"


keep_history = step(**STORAGE_RETRIES)(sync_history)
ask_for_training = step(**STORAGE_RETRIES)(want_training)
ask_for_none = step(**STORAGE_RETRIES)(want_none)
DRIFT_PAYLOAD: Final = ("night", "cause", "also", "evidence", "is_new", "since", "model_version")
BY_ITSELF: Final = "The nights are as they were before the alarm: nothing is to be done."


@flow(name="nightly", flow_run_name=_run_name)
@fails_clearly
def nightly(
    product: str, night: date | None = None, asks: bool = False, is_scheduled: bool | None = None
) -> NightOutcome:
    """Run one night of a product.

    Args:
        product: a product of the settings file.
        night: the night; a run without it takes the day before it was scheduled for, in the time
            zone of its schedule, whose images are all in.
        asks: whether it asks for the training that is needed, and waits for its turn among all
            products, instead of training at once.
        is_scheduled: whether it first catches up on nights that have images and were never run, and
            tells that it has ended; without it, where no night is given.

    Returns:
        What was taken in, what the watch said, and what was done.

    Raises:
        ConfigError: unknown product.
        StorageError: the bucket is not there, or access is refused.
    """
    opened = open_product(product)
    is_scheduled = night is None if is_scheduled is None else is_scheduled
    night = night_before_run() if night is None else night
    if is_scheduled:
        catch_up(opened, night, asks)
    history = keep_history(opened, recover(product).versions)
    arrived = ingest(product, night)
    ledger, record = open_ledger(opened, history), None
    if history.founding_until is None:
        action = begin(opened, ledger, night, _beside(opened, arrived["accepted"]), asks)
    elif ledger.history.is_closed(night):
        action = Action(ActionKind.TRAINED_BEFORE, remark=_too_late(ledger, night))
    else:
        record = monitor(product, night)
        emit_alarm(product, ledger, night, record)
        action = react(opened, ledger, night, record, _beside(opened, arrived["accepted"]), asks)
    note_glance(opened.store, opened.layout)
    show_on_dashboard()
    get_run_logger().info("night %s: %s", night, action)
    if is_scheduled:
        emit(NIGHT_ENDED, product, {"night": night.isoformat(), "action": str(action)})
    return NightOutcome(night, **arrived, record=record, action=action)


def catch_up(product: Product, tonight: date, asks: bool = False) -> None:
    """Run the nights before tonight that have images and were never run, oldest first; one that
    fails stops no other. Those from before the first night that was run are named alone."""
    logger, missed = get_run_logger(), product.nights_never_run(before=tonight)
    first = min(product.known_nights(), default=date.max) if missed else date.max
    older = [night for night in missed if night < first]
    missed, done = missed[len(older) :], 0
    for night in missed[:MOST_TRIED]:
        if done == MOST_CAUGHT_UP:
            break
        missed = missed[1:]
        logger.info("night %s has images and was never run: it is run now", night)
        try:
            nightly(product.name, night, asks)
            done += 1
        except Exception as error:  # whatever it is, its own run has failed with it
            logger.error("night %s, which was never run before, failed: %s", night, error)
    for left, why in ((missed, "the next run goes on"), (older, "run them")):
        if left:
            many = f"{len(left)} nights with images were never run, {left[0]} to {left[-1]}"
            logger.warning("%s: %s (reconad nightly %s NIGHT)", many, why, product.name)


def _beside(product: Product, accepted: int) -> str:
    """Describe objects that lie where no night is, where a night has no image."""
    found = {} if accepted else product.objects_beside()
    if not found:
        return ""
    counts = list(found.items())[:3]
    places = ", ".join(f"{count} under {printable(place)}" for place, count in counts)
    return (
        f"; beside {product.layout.arrivals}YYYY-MM-DD/, where nobody looks, lie {places}"
        f"{', ...' if len(found) > 3 else ''}"
    )


def _too_late(ledger: Ledger, night: date) -> str:
    """Describe images that arrived after the first version had been trained on their night."""
    late = ledger.late_images(night)
    return f"; {late} came after it: neither scored nor learnt" if late else ""


def begin(
    product: Product, ledger: Ledger, night: date, beside: str = "", asks: bool = False
) -> Action:
    """Gather images before any version serves, then train and promote the first, or ask for it.

    ``beside`` describes objects that lie where nobody looks.
    """
    nights = ledger.nights_with_images(until=night)
    needed = product.settings.first_training_nights
    if len(nights) < needed:
        return Action(ActionKind.GATHERING, remark=f": {len(nights)} of {needed} nights{beside}")
    if nights[-1] != night:  # a version is of the nights that it saw, and closes no later one
        return Action(ActionKind.NO_IMAGES, remark=beside)
    if asks:
        return ask(product, night, Need.FIRST)
    outcome = train(product.name, night)
    held = still_waiting(product, [each.isoformat() for each in nights])
    return judged(ActionKind.TRAINED, outcome, held.remark)


def judged(kind: ActionKind, outcome: PromotionOutcome, remark: str = "") -> Action:
    """Put together what was done and what the gate made of it."""
    return Action(kind, outcome.kind, outcome.version, remark)


def ask(product: Product, night: date, need: Need, remark: str = "") -> Action:
    """Ask for a training, which waits for its turn among those of all products."""
    ask_for_training(product, night, need)
    return Action(ActionKind.TRAINING_WANTED, remark=f": {need}{remark}")


def react(
    product: Product,
    ledger: Ledger,
    night: date,
    record: NightRecord | None,
    beside: str = "",
    asks: bool = False,
) -> Action:
    """Act after the watch: emit drift, hold for a person, retrain when it is time or ask for it, or
    nothing."""
    if record is None:
        return Action(ActionKind.NO_IMAGES, remark=beside)
    if record.is_alarm:
        return answer_alarm(product, ledger, night, record, asks)
    if ledger.is_floor_to_answer(record):
        need, remark = Need.GOLDEN_FLOOR, f"; champion {record.model_version}: {record.golden}"
    elif ledger.is_retraining_due(night, product.settings.retrain_every_nights):
        need, remark = Need.DUE, ""
    else:
        if asks:
            ask_for_none(product)
        return Action(ActionKind.NONE)
    if asks:
        return ask(product, night, need, remark)
    if need is Need.GOLDEN_FLOOR:
        return judged(ActionKind.RETRAINED, train(product.name, night, GOLDEN_FLOOR), remark)
    return judged(ActionKind.RETRAINED, train(product.name, night))


def answer_alarm(
    product: Product, ledger: Ledger, night: date, record: NightRecord, asks: bool
) -> Action:
    """Emit drift, unless the alarm was learnt before or is only still open. What is to be learnt is
    learnt by whom the event starts, or waits for its turn."""
    learnt = ledger.history.finetuned(night.isoformat(), record.cause)
    if learnt is not None and registry.is_registered(product.name, learnt):  # run again
        return Action(ActionKind.FINETUNED, learnt.state or "", learnt.number)
    if not record.is_raised:
        return Action(ActionKind.ALARM_OPEN, remark=f" since {record.began}")
    waits = asks and not record.is_holding  # then no automation may fine-tune at once
    content = record.to_dict()
    payload = {name: content[name] for name in DRIFT_PAYLOAD}
    emit(DRIFT_DETECTED, product.name, payload, cause=None if waits else record.cause)
    if waits:
        return ask(product, night, Need.DRIFT)
    return Action(ActionKind.HELD if record.is_holding else ActionKind.EVENT_SENT)


def emit_alarm(product: str, ledger: Ledger, night: date, record: NightRecord | None) -> None:
    """Emit for people that an alarm opened or ended, or that its night is held."""
    if record is None:
        return
    before = ledger.open_alarm(night)
    if record.is_alarm:
        content = record.to_dict()
        payload = {name: content[name] for name in (*DRIFT_PAYLOAD, "is_holding")}
        if record.is_new or record.is_holding:
            emit(ALARM_OPENED if record.is_new else NIGHT_HELD, product, payload)
    elif before is not None:
        payload = {"night": record.night, "cause": before.cause, "since": before.since}
        emit(ALARM_ENDED, product, payload | {"evidence": BY_ITSELF})


def main() -> int:
    """Run one night from the command line."""
    from flows.runtime.exit_codes import run_command

    parser = argparse.ArgumentParser(prog="python -m flows.nightly", description=main.__doc__)
    parser.add_argument("--product", required=True, help="a product of reconad.toml")
    parser.add_argument("--night", required=True, help="YYYY-MM-DD")
    options = parser.parse_args()
    return run_command(lambda: print_night(nightly(options.product, parse_night(options.night))))


def print_night(outcome: NightOutcome) -> None:
    """Print one line a fact."""
    record = outcome.record
    print(f"night        {outcome.night}")
    print(
        f"images       {outcome.accepted} accepted, {outcome.quarantined} quarantined, "
        f"{outcome.duplicate} duplicate"
    )
    print(f"alarm        {record.cause if record and record.is_alarm else 'no'}")
    if record:
        print(f"explanation  {record.explanation}")
    if record and record.golden:
        print(f"golden set   {record.golden}")
    print(f"action       {outcome.action}")


if __name__ == "__main__":
    sys.exit(main())
