"""``reconad evaluate``."""

from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.json_file import check_writable, write_json
from flows.commands.options_by_hand import EvaluateOptions
from flows.jobs.progress import warn
from mlflow_models import flavor
from mlflow_models.tracking import tags_of
from mlflow_models.version_tags import part_pattern_of
from reconad_plugin.detector.evaluation import (
    Evaluation,
    check_evaluable,
    describe_hidden,
    evaluate,
)
from reconad_plugin.images.folder import describe_masks
from reconad_plugin.images.names import printable
from reconad_plugin.ledger.splits import first_group
from reconad_plugin.store.mirror import load_files, open_source


def run(options: EvaluateOptions) -> None:
    """Measure a version on the test split of a folder."""
    check_writable(options.json)
    detector = flavor.load_model(options.model_uri).taking(options.max_image_pixels)
    folder = open_source(options.data)
    check_evaluable(folder, options.protocol)
    warn(describe_masks(folder))
    warn(describe_hidden(detector, folder))
    paths = [file.path for file in folder.test]
    images = load_files(paths, detector.image_size_px, detector.limits)
    pattern = part_pattern_of(tags_of(options.model_uri))
    parts = (
        [] if pattern is None else [first_group(pattern, path.name) or str(path) for path in paths]
    )
    evaluation = evaluate(detector, folder, images, options.protocol, parts)
    content = {"model_uri": options.model_uri, "data": options.data, **asdict(evaluation)}
    try:
        write_json(content, options.json)
    finally:
        _show(f"{options.model_uri} on {options.data}", evaluation)


def _show(title: str, evaluation: Evaluation) -> None:
    table = Table("figure", "value", title=escape(printable(title)))
    table.add_row("protocol", evaluation.protocol)
    for name, value in asdict(evaluation).items():
        if isinstance(value, float):
            table.add_row(name, f"{value:.4f}")
        elif isinstance(value, tuple):
            table.add_row(name, " to ".join(f"{limit:.4f}" for limit in value))
        elif value is None:
            table.add_row(name, "no masks")
    by_defect = Table("defect", "images", "image_AUROC", "recall")
    for label, defect in evaluation.defects.items():
        figures_of = f"{defect.image_AUROC:.4f}", f"{defect.recall:.3f}"
        by_defect.add_row(escape(printable(label)), str(defect.images), *figures_of)
    console = Console()
    console.print(table)
    console.print(by_defect)
    console.print(evaluation.threshold_check, highlight=False)
