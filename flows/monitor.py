"""Score the night with the champion, decide whether the world has drifted, and say why."""

from datetime import date

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.jobs import golden_set
from flows.jobs import night as jobs
from flows.jobs.ledger import open_ledger, read_history
from flows.jobs.night_report import night_page, publish
from flows.jobs.product import Product, open_product
from flows.runtime.steps import STORAGE_RETRIES, fails_clearly, step
from reconad_plugin.config.names import parse_night
from reconad_plugin.errors import NotEnoughImagesError, ReconadError
from reconad_plugin.ledger.glance import note_glance
from reconad_plugin.ledger.golden_figures import GoldenFigures
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.ledger.night_record import NightRecord

score_night = step(**STORAGE_RETRIES)(jobs.score_night)
decide = step()(jobs.decide)
queue_for_review = step()(jobs.queue_for_review)


@step()
def follow_golden(
    product: Product, ledger: Ledger, night: date, scored: jobs.ScoredNight
) -> GoldenFigures | None:
    """Measure the version on the golden set; whatever is amiss there stops no night."""
    try:
        return golden_set.follow_golden(product, ledger, night, scored)
    except ReconadError as error:
        is_asked = product.settings.golden_floor is not None
        is_plain = isinstance(error, NotEnoughImagesError) and not is_asked
        log = get_run_logger().info if is_plain else get_run_logger().warning
        log("no figures on the golden set: %s", error)
        return None


@step()
def report(
    product: Product, ledger: Ledger, night: date, scored: jobs.ScoredNight, record: NightRecord
) -> None:
    """Put the night on the Evidently dashboard, in MLflow, and among Prefect's artifacts."""
    publish(product, ledger, night, scored, record)
    create_markdown_artifact(
        key=f"night-{product.name.replace('_', '-')}",
        markdown=night_page(record),
        description=f"{product.name}, night {night}",
    )


@flow(name="monitor", flow_run_name="monitor {product} {night}")
@fails_clearly
def monitor(product: str, night: date) -> NightRecord | None:
    """Score a night and decide on it.

    Returns:
        The night's record, or None where the night has no image to score.

    Raises:
        NoChampionError: no version serves yet.
    """
    night = parse_night(night)
    opened = open_product(product)
    ledger = open_ledger(opened, read_history(opened))
    scored = score_night(opened, ledger, night)
    if scored is None:
        get_run_logger().info("night %s has no images to score", night)
        return None
    golden = follow_golden(opened, ledger, night, scored)
    record = decide(opened, ledger, night, scored, golden)
    said = (record.is_alarm, record.cause, record.explanation)
    get_run_logger().info("alarm %s, cause %s: %s", *said)
    if golden is not None:
        get_run_logger().info("golden set: %s", golden)
    queue_for_review(opened, night, scored, record)
    note_glance(opened.store, opened.layout)  # whatever fails from here on, people see what waits
    report(opened, ledger, night, scored, record)
    return record
