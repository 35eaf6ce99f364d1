"""Which version serves a product, which served before, and why."""

from rich.console import Console
from rich.table import Table

from flows.product import open_product
from mlflow_models import registry


def print_status(product: str) -> None:
    """Print the history of a product's versions."""
    open_product(product)
    serving = registry.version_by_alias(product, registry.CHAMPION)
    previous = registry.version_by_alias(product, registry.PREVIOUS_CHAMPION)
    marks = {serving and serving.number: "champion", previous and previous.number: "previous"}
    table = Table(title=registry.model_name(product))
    for heading in ("version", "night", "learnt by", "cause", "state", "serves", "reason"):
        table.add_column(heading)
    for version in registry.versions(product):
        tags = version.tags
        table.add_row(
            version.number,
            tags.get(registry.NIGHT_TAG, ""),
            tags.get(registry.PURPOSE_TAG, ""),
            tags.get(registry.CAUSE_TAG, ""),
            tags.get(registry.STATE_TAG, "not judged"),
            marks.get(version.number, ""),
            tags.get(registry.REASON_TAG, ""),
        )
    Console().print(table)
