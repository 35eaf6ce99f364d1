"""``reconad finetune``."""

from typing import Final

from flows.commands.json_file import check_writable
from flows.commands.options import FinetuneOptions
from flows.commands.train import report_training
from flows.jobs import by_hand
from flows.jobs.training_job import checked
from reconad_plugin.config import FinetuneSettings

BUDGET_S: Final = 300.0  # where neither steps nor a budget are given


def run(options: FinetuneOptions) -> None:
    """Go on training a version on new images."""
    check_writable(options.json)
    asked = options.training
    if asked["steps"] is None and asked["budget_s"] is None:
        asked["budget_s"] = BUDGET_S
    settings, data = checked(FinetuneSettings, asked), options.data
    tuned = by_hand.finetune(
        options.model_uri, data, options.product, settings, options.seed, options.device
    )
    report_training(tuned, options.json)
