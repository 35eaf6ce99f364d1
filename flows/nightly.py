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
from flows.jobs.night_outcome import Action, ActionKind, NightOutcome
from flows.jobs.product import Product, open_product
from flows.monitor import monitor
from flows.runtime.events import DRIFT_DETECTED, tell
from flows.runtime.locks import settle
from flows.runtime.steps import fails_clearly
from flows.train import train
from mlflow_models import registry
from reconad_plugin.config import parse_night
from reconad_plugin.ledger.manifest import accepted_rows, nights_with_images, read_manifest
from reconad_plugin.ledger.night_record import NightRecord


def _run_name() -> str:
    night = flow_run.parameters.get("night") or f"before {flow_run.scheduled_start_time:%Y-%m-%d}"
    return f"nightly {flow_run.parameters['product']} {night}"


TOLD_OF_DRIFT: Final = ("night", "cause", "also", "evidence", "is_new", "since", "model_version")


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
    settle(product)
    arrived = ingest(product, night)
    record = None
    trusted_until = registry.trusted_until(product)
    if trusted_until is None:
        action = begin(opened, night, arrived["accepted"])
    elif night.isoformat() <= trusted_until:
        action = Action(ActionKind.TRAINED_BEFORE, remark=_too_late(opened, night))
    else:
        record = monitor(product, night)
        action = react(opened, night, record)
    get_run_logger().info("night %s: %s", night, action)
    return NightOutcome(night, **arrived, record=record, action=action)


def _too_late(product: Product, night: date) -> str:
    """A word on images that arrived after the first version had been trained on their night."""
    manifest = read_manifest(product.store, product.layout, night)
    late = 0 if manifest is None else int((accepted_rows([manifest])["split"] == "").sum())
    return f"; {late} came after it: neither scored nor learnt" if late else ""


def begin(product: Product, night: date, accepted: int) -> Action:
    """Before any version serves: gather images, then train and promote the first."""
    earlier = nights_with_images(product.store, product.layout, before=night)
    nights, needed = len(earlier) + bool(accepted), product.settings.first_training_nights
    if nights < needed:
        return Action(ActionKind.GATHERING, remark=f": {nights} of {needed} nights")
    return Action(ActionKind.TRAINED, *train(product.name, night).split())


def react(product: Product, night: date, record: NightRecord | None) -> Action:
    """After the watch: tell of drift, hold for a person, retrain when it is time, or nothing."""
    if record is None:
        return Action(ActionKind.NO_IMAGES)
    if record.is_alarm:
        learnt = registry.find_finetuned(product.name, night.isoformat(), record.cause)
        if learnt is not None:  # the night is run again
            return Action(ActionKind.FINETUNED, learnt.tags[registry.STATE_TAG], learnt.number)
        if not record.is_raised:
            return Action(ActionKind.ALARM_OPEN, remark=f" since {record.began}")
        content = record.to_dict()
        payload = {name: content[name] for name in TOLD_OF_DRIFT}
        tell(DRIFT_DETECTED, product.name, payload, cause=record.cause)
        return Action(ActionKind.HELD if record.is_holding else ActionKind.EVENT_SENT)
    if is_retraining_due(product, night):
        return Action(ActionKind.RETRAINED, *train(product.name, night).split())
    return Action(ActionKind.NONE)


def is_retraining_due(product: Product, night: date) -> bool:
    """Whether enough nights with images had passed since a version was last trained."""
    if not product.settings.retrain_every_nights:
        return False
    nights = [
        version.tags.get(registry.NIGHT_TAG, "") for version in registry.versions(product.name)
    ]  # a version made by hand belongs to no night
    trained = max((trained for trained in nights if trained < night.isoformat()), default="")
    after = date.fromisoformat(trained) if trained else date.min
    since = nights_with_images(product.store, product.layout, before=night, after=after)
    return 1 + len(since) >= product.settings.retrain_every_nights


def main() -> int:
    """Run one night from the command line."""
    from flows.commands.exit_codes import run_command

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
