"""``reconad finetune``."""

from flows.commands.json_file import check_writable
from flows.commands.options_by_hand import FinetuneOptions
from flows.commands.train import report_training
from flows.jobs import by_hand
from flows.jobs.training_job import checked
from reconad_plugin.config.product import FinetuneSettings


def run(options: FinetuneOptions) -> None:
    """Go on training a version on new images."""
    check_writable(options.json)
    asked = options.training
    if asked["steps"] is None and asked["budget_s"] is None:
        asked["budget_s"] = FinetuneSettings().budget_s
    settings, data = checked(FinetuneSettings, asked), options.data
    tuned = by_hand.finetune(
        options.model_uri,
        data,
        options.product,
        settings,
        options.seed,
        options.device,
        options.max_image_pixels,
    )
    report_training(tuned, options.json)
