"""``reconad train``."""

import flows.commands.quiet  # noqa: F401  first: before MLflow

# isort: split
from flows.commands.json_file import check_writable
from flows.commands.options import TrainOptions
from flows.commands.parse import parse_option
from flows.commands.training import checked, report_training
from flows.jobs import by_hand
from reconad_plugin.config import ProductSettings, TrainingSettings


def run(options: TrainOptions) -> None:
    """Train on a folder of normal images."""
    check_writable(options.json)
    settings = checked(
        ProductSettings,
        {
            "model": options.model,
            "width": options.width,
            "options": dict(parse_option(text) for text in options.option),
            "image_size_px": options.image_size,
            "seed": options.seed,
            "vq": options.vq,
            "train": checked(TrainingSettings, options.training),
        },
    )
    trained = by_hand.train(options.data, options.product, settings, options.device)
    report_training(trained, options.json)
