"""Fine-tune the champion after a drift that is no defect."""

from datetime import date

from prefect import flow, get_run_logger

from flows.jobs.judging import PromotionOutcome
from flows.jobs.ledger import see_history
from flows.jobs.product import open_product
from flows.promote import judge_once
from flows.runtime.locks import TRAINING, one_at_a_time
from flows.runtime.steps import fails_clearly
from flows.train import choose_images, fit_and_register
from mlflow_models.version_names import version_to_load
from reconad_plugin.config.names import parse_night
from reconad_plugin.errors import ConfigError
from reconad_plugin.ledger.eligibility import LEARNABLE, Status, status_of
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.watch.cause import LIGHT


@flow(name="finetune", flow_run_name="finetune {product} {night}")
@fails_clearly
def finetune(product: str, night: date, event_id: str = "") -> PromotionOutcome:
    """Fine-tune the version that served the night for what changed, then let the gate decide.

    The night's own record decides what may be learnt; where it names defects, or is unclear,
    nothing is.

    Args:
        product: the product.
        night: the night whose alarm led here.
        event_id: the event that started this run, for the lineage.

    Returns:
        What became of it: ``promoted <version>`` or ``rejected <version>``.

    Raises:
        ConfigError: the night has no alarm that may be learnt from, or must be run again first.
    """
    night = parse_night(night)
    opened = open_product(product)
    record = opened.records.record(night)
    status = status_of(night.isoformat(), record, see_history(opened))
    if record is None or status not in LEARNABLE:
        raise ConfigError(_refusal(product, night, record, status))
    cause = record.cause
    get_run_logger().info("cause %s, event %s", cause, event_id or "none")
    base = version_to_load(product, record.model_version)  # the one that served the night
    settings = opened.settings.finetune
    if cause == LIGHT:
        settings = settings.model_copy(update={"light_augmentation": True})
    job = choose_images(opened, night, settings, base, cause)
    with one_at_a_time(TRAINING, product):
        version = fit_and_register(job)
    return judge_once(product, night, version)


def _refusal(product: str, night: date, record: NightRecord | None, status: Status) -> str:
    """Say why a night is not learnt from, and what to do."""
    run = f"run `reconad nightly {product} {night}`"
    if record is None:
        found = f"was not watched: {run} first"
    elif status is Status.ROLLED_BACK:
        found = f"was scored by version {record.model_version}, which was rolled back: {run} again"
    elif status is Status.ORDINARY:
        found = "raised no alarm: there is nothing to do"
    else:
        found = f"has {record.cause!r}: review its images first"
    causes = " or ".join(LEARNABLE)
    return f"only a drift with the cause {causes} is learnt from; {product} {night} {found}"
