"""Train a version from scratch."""

from datetime import date

from prefect import flow

from flows.jobs.judging import PromotionOutcome
from flows.jobs.learning import choose_lesson, fit_and_register
from flows.jobs.product import open_product
from flows.promote import judge_once
from flows.runtime.locks import TRAINING, one_at_a_time
from flows.runtime.steps import fails_clearly
from reconad_plugin.config import parse_night


@flow(name="train", flow_run_name="train {product} {night}")
@fails_clearly
def train(product: str, night: date) -> PromotionOutcome:
    """Train on all learnable images up to a night, and let the gate decide.

    Returns:
        What became of it: ``promoted <version>`` or ``rejected <version>``.

    Raises:
        NotEnoughImagesError: fewer normal images than the product asks for.
    """
    night = parse_night(night)
    opened = open_product(product)
    lesson = choose_lesson(opened, night, "train", opened.settings.train)
    with one_at_a_time(TRAINING, product):
        version = fit_and_register(opened, lesson)
    return judge_once(product, night, version)
