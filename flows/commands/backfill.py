"""``reconad backfill``."""

from datetime import date

from flows.commands.options import BackfillOptions
from flows.jobs.backfill import backfill
from reconad_plugin.config import parse_night


def run(options: BackfillOptions) -> None:
    """Build a product's dashboard again from S3."""
    first = date.min if options.first is None else parse_night(options.first)
    last = date.max if options.last is None else parse_night(options.last)
    print(f"nights put on the dashboard: {backfill(options.product, first, last)}")
