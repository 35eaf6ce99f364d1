"""What each cell of a night's maps showed is kept in the bucket, and later nights are held against
it."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from flows.ingest import make_manifest
from flows.jobs.ledger import open_ledger, read_history
from flows.jobs.night import decide, score_night
from flows.jobs.product import Product, open_product
from reconad_plugin.watch.cause import MAX_DEFECT_HINT
from reconad_plugin.watch.contrast import LEAST_NIGHTS
from reconad_plugin.watch.positions import LEAST_NIGHTS as LEAST_NIGHTS_OF_A_POSITION
from tests.factory import Factory, normal_picture, to_png, with_scratch
from tests.world import IMAGES, LAST_QUIET, QUIET, QUIET_TOO

NEW = [LAST_QUIET + timedelta(1 + day) for day in range(4)]
WATCHED = [QUIET, QUIET_TOO, LAST_QUIET, *NEW]  # by one version; a held night between counts not
FEW_SCRATCHED = 4


def test_a_night_is_held_against_the_cells_of_the_nights_before(
    forked: Callable[..., Factory],
) -> None:
    """From the sixth night of a version on; scratched images hint at defects."""
    factory = forked(LAST_QUIET)
    product = open_product(factory.product)

    for night in NEW:
        deliver(factory, night, scratched=FEW_SCRATCHED if night == NEW[-1] else 0)
        watch_by_jobs(product, night)

    records = product.records
    seen = [records.record(night) for night in WATCHED]
    untested = LEAST_NIGHTS_OF_A_POSITION + LEAST_NIGHTS
    images = [record.contrast.images for record in seen]
    assert images == [0] * untested + [IMAGES] * (len(WATCHED) - untested)
    cells = records.cells(WATCHED[0])
    assert cells is not None
    assert cells["images"].tolist() == [IMAGES]
    assert len(cells["means"][0]) == len(cells["squares"][0]) == 256
    scores = records.scores(WATCHED[0])
    assert scores is not None
    assert "map_cells" not in scores
    last, before = seen[-1], seen[-2]
    assert last.contrast.above in range(FEW_SCRATCHED + 1)  # by the processor it learnt on
    assert last.statistics.outliers.contrast > before.statistics.outliers.contrast
    assert last.contrast.chance <= MAX_DEFECT_HINT  # so few nights raise no alarm
    assert last.contrast.chance < before.contrast.chance


def watch_by_jobs(product: Product, night: date) -> None:
    """Take a night in and watch it, without Prefect and without a report."""
    make_manifest.__wrapped__(product, night)
    ledger = open_ledger(product, read_history(product))
    scored = score_night(product, ledger, night)
    assert scored is not None
    decide(product, ledger, night, scored)


def deliver(factory: Factory, night: date, scratched: int) -> None:
    source = np.random.default_rng(night.toordinal())
    for number in range(IMAGES):
        picture = normal_picture(source).clip(0, 1)
        if number < scratched:
            picture = with_scratch(picture)
        factory.put(night, f"{number:03}.png", to_png(_bytes(picture)))


def _bytes(picture: NDArray[np.float64]) -> NDArray[np.uint8]:
    return (picture * 255).astype(np.uint8)
