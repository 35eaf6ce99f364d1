"""Train a version from scratch."""

from datetime import date
from typing import Final, Literal

from prefect import flow, get_run_logger

from flows.jobs.first_images import hold_outliers
from flows.jobs.fitting import fit_and_log
from flows.jobs.judging import PromotionOutcome
from flows.jobs.nightly_training import training_job
from flows.jobs.product import Product, open_product
from flows.jobs.training_job import TrainingJob, find_version
from flows.promote import judge_once
from flows.runtime.events import emit
from flows.runtime.locks import TRAINING, one_at_a_time
from flows.runtime.steps import STORAGE_RETRIES, fails_clearly, step
from mlflow_models import registry
from reconad_plugin.config.event_names import IMAGES_HELD
from reconad_plugin.config.names import parse_night

MOST_KEYS: Final = 100  # in one event
choose_images = step(name="choose_images", **STORAGE_RETRIES)(training_job)


@flow(name="train", flow_run_name="train {product} {night}")
@fails_clearly
def train(
    product: str, night: date, cause: Literal["none", "golden_floor"] = "none"
) -> PromotionOutcome:
    """Train on all learnable images up to a night, and let the gate decide.

    Args:
        product: the product.
        night: the last one that it learns from.
        cause: why, as it is noted with the version.

    Returns:
        What became of it: ``promoted <version>`` or ``rejected <version>``.

    Raises:
        NotEnoughImagesError: fewer normal images than the product asks for.
    """
    night = parse_night(night)
    opened = open_product(product)
    check_first_images(opened, night)
    job = choose_images(opened, night, opened.settings.train).noting(cause)
    with one_at_a_time(TRAINING, product):
        version = fit_and_register(job)
    return judge_once(product, night, version)


@step(**STORAGE_RETRIES)
def check_first_images(product: Product, night: date) -> None:
    """Queue for review what stands out, before the first version learns it, and emit how many."""
    held = hold_outliers(product, night)
    if held.remark:
        get_run_logger().warning("before the first training%s", held.remark)
        payload = {"night": night.isoformat(), "images": len(held.rows)}
        payload |= {"keys": held.rows["key"].tolist()[:MOST_KEYS]}
        emit(IMAGES_HELD, product.name, payload)


@step(**STORAGE_RETRIES)
def fit_and_register(job: TrainingJob) -> registry.Version:
    """Train, log and register a version; where the same job was done before, take that one."""
    known = find_version(job)
    if known is not None:
        return known
    run = fit_and_log(job)
    if run.warning is not None:
        get_run_logger().warning(run.warning)
    return run.version
