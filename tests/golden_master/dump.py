"""All decisions of a frozen history as one text."""

import json
from datetime import timedelta

from tests.golden_master import decisions
from tests.golden_master.history import checkpoints
from tests.golden_master.remembered import remembered

LATEST = 3  # nights that are asked about at a checkpoint; at the last one all are


def dump_history(product: str) -> str:
    """Put a product's history back, checkpoint by checkpoint, and ask the code at each.

    Args:
        product: of the settings in force; neither the bucket nor the registry knows it yet.
    """
    moments = list(checkpoints(product))
    decided = {}
    for moment in moments:
        moment.put_back()
        nights = moment.nights if moment == moments[-1] else moment.nights[-LATEST:]
        tomorrow = nights[-1] + timedelta(1)
        with remembered():
            of_nights = decisions.ask_for_nights(product, [*nights, tomorrow])
        decided[moment.name] = decisions.ask_for_product(product) | {"nights": of_nights}
    return json.dumps(decided, indent=1, sort_keys=True) + "\n"
