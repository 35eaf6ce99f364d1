"""``reconad backfill``."""

from datetime import date

from flows.commands.options import BackfillOptions
from flows.jobs.backfill import backfill
from reconad_plugin.config.names import parse_night
from reconad_plugin.errors import DamagedRecordError


def run(options: BackfillOptions) -> None:
    """Build a product's dashboard again from S3."""
    first = date.min if options.first is None else parse_night(options.first)
    last = date.max if options.last is None else parse_night(options.last)
    done = backfill(options.product, first, last)
    print(f"nights put on the dashboard: {done.nights}")
    if done.left_out:
        raise DamagedRecordError(
            "a night on the dashboard needs its record and its scores; they are gone or damaged of "
            f"{', '.join(map(str, done.left_out))}: run these nights again"
        )
