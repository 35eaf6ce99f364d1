"""``reconad nightly``."""

from flows.commands.options import NightlyOptions
from flows.nightly import nightly, print_night
from reconad_plugin.config.names import parse_night


def run(options: NightlyOptions) -> None:
    """Run one night of a product."""
    print_night(nightly(options.product, parse_night(options.night)))
