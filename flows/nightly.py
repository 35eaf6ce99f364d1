"""The whole night: take in, score, watch, learn when that is right, promote when proven.

Without a server: ``python -m flows.nightly --product P --night YYYY-MM-DD``.
"""

import reconad_plugin.telemetry  # noqa: F401  first: Prefect reports at its import

# isort: split
import argparse
import sys
from datetime import date, timedelta
from typing import Final

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.ingest import ingest
from flows.jobs.judging import PromotionOutcome
from flows.jobs.ledger import open_ledger, sync_history
from flows.jobs.night_outcome import Action, ActionKind, NightOutcome
from flows.jobs.product import Product, open_product
from flows.monitor import monitor
from flows.runtime.events import DRIFT_DETECTED, emit
from flows.runtime.locks import recover
from flows.runtime.steps import STORAGE_RETRIES, fails_clearly, step
from flows.train import train
from mlflow_models import registry
from reconad_plugin.config import parse_night
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.ledger.night_record import NightRecord


def _run_name() -> str:
    night = flow_run.parameters.get("night") or f"before {flow_run.scheduled_start_time:%Y-%m-%d}"
    return f"nightly {flow_run.parameters['product']} {night}"


keep_history = step(**STORAGE_RETRIES)(sync_history)
DRIFT_PAYLOAD: Final = ("night", "cause", "also", "evidence", "is_new", "since", "model_version")


@flow(name="nightly", flow_run_name=_run_name)
@fails_clearly
def nightly(product: str, night: date | None = None) -> NightOutcome:
    """Run one night of a product.

    Args:
        product: a product of the settings file.
        night: the night; a run without it takes the day before it was scheduled for, whose
            images are all in.

    Returns:
        What was taken in, what the watch said, and what was done.

    Raises:
        ConfigError: unknown product.
        StorageError: the bucket is not there, or access is refused.
    """
    night = night or flow_run.scheduled_start_time.date() - timedelta(days=1)
    opened = open_product(product)
    history = keep_history(opened, recover(product).versions)
    arrived = ingest(product, night)
    ledger, record = open_ledger(opened, history), None
    if history.founding_until is None:
        action = begin(opened, ledger, night)
    elif ledger.history.is_closed(night):
        action = Action(ActionKind.TRAINED_BEFORE, remark=_too_late(ledger, night))
    else:
        record = monitor(product, night)
        action = react(opened, ledger, night, record)
    get_run_logger().info("night %s: %s", night, action)
    return NightOutcome(night, **arrived, record=record, action=action)


def _too_late(ledger: Ledger, night: date) -> str:
    """Describe images that arrived after the first version had been trained on their night."""
    late = ledger.late_images(night)
    return f"; {late} came after it: neither scored nor learnt" if late else ""


def begin(product: Product, ledger: Ledger, night: date) -> Action:
    """Gather images before any version serves, then train and promote the first."""
    nights = len(ledger.nights_with_images(until=night))
    needed = product.settings.first_training_nights
    if nights < needed:
        return Action(ActionKind.GATHERING, remark=f": {nights} of {needed} nights")
    return judged(ActionKind.TRAINED, train(product.name, night))


def judged(kind: ActionKind, outcome: PromotionOutcome) -> Action:
    """Put together what was done and what the gate made of it."""
    return Action(kind, outcome.kind, outcome.version)


def react(product: Product, ledger: Ledger, night: date, record: NightRecord | None) -> Action:
    """Act after the watch: emit drift, hold for a person, retrain when it is time, or nothing."""
    if record is None:
        return Action(ActionKind.NO_IMAGES)
    if record.is_alarm:
        learnt = ledger.history.finetuned(night.isoformat(), record.cause)
        if learnt is not None and registry.is_registered(product.name, learnt):  # run again
            return Action(ActionKind.FINETUNED, learnt.state or "", learnt.number)
        if not record.is_raised:
            return Action(ActionKind.ALARM_OPEN, remark=f" since {record.began}")
        content = record.to_dict()
        payload = {name: content[name] for name in DRIFT_PAYLOAD}
        emit(DRIFT_DETECTED, product.name, payload, cause=record.cause)
        return Action(ActionKind.HELD if record.is_holding else ActionKind.EVENT_SENT)
    if ledger.is_retraining_due(night, product.settings.retrain_every_nights):
        return judged(ActionKind.RETRAINED, train(product.name, night))
    return Action(ActionKind.NONE)


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
    print(f"action       {outcome.action}")


if __name__ == "__main__":
    sys.exit(main())
