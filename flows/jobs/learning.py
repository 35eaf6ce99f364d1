"""Which images of a product's nights may be learnt from."""

from datetime import date

import pandas as pd

from flows.jobs.product import Product
from mlflow_models import registry
from reconad_plugin.ledger.eligibility import (
    Watched,
    doubtful_images,
    learnable_images,
    lend_light,
)
from reconad_plugin.ledger.manifest import (
    accepted_rows,
    golden_hashes,
    known_nights,
    read_manifest,
)
from reconad_plugin.watch.cause import HOLDING_CAUSES, LIGHT


def read_manifests(product: Product, night: date) -> dict[str, pd.DataFrame]:
    """Address -> manifest of every night up to this one, oldest first."""
    nights = [*known_nights(product.store, product.layout, before=night), night]
    found = {earlier: read_manifest(product.store, product.layout, earlier) for earlier in nights}
    return {
        product.store.uri(product.layout.manifest(earlier)): manifest
        for earlier, manifest in found.items()
        if manifest is not None
    }


def learnable_rows(
    product: Product,
    night: date,
    manifests: dict[str, pd.DataFrame],
    lit_night: str | None = None,
) -> pd.DataFrame:
    """Rows of the manifests that may be learnt from, and the few besides that calibrate and judge
    alone. What a version saw that was rolled back vouches for nothing. Of ``lit_night`` the light
    is to be learnt; other nights whose light had changed only judge (``lend_light``)."""
    accepted = accepted_rows(manifests.values())
    golden = golden_hashes(product.store, product.layout)
    accepted = accepted[~accepted["sha256"].isin(golden)]
    records = product.records.records_before(night)
    tonight = product.records.record(night)
    if tonight is not None:
        records[night] = tonight
    scores = {day.isoformat(): product.records.scores(day) for day in records}
    causes = {day.isoformat(): record["cause"] for day, record in records.items()}
    withdrawn = registry.withdrawn(product.name)
    held = {
        day.isoformat()
        for day, record in records.items()
        if record["cause"] in HOLDING_CAUSES or record["model_version"] in withdrawn
    }
    trusted_until = registry.trusted_until(product.name)
    watched = Watched(
        scores={day: table for day, table in scores.items() if table is not None},
        relit_nights=frozenset(day for day, cause in causes.items() if cause == LIGHT),
        held_nights=frozenset(held),
        reviews=pd.concat(
            product.records.review(date.fromisoformat(day))
            for day in {*accepted["night"], night.isoformat()}
        ),
    )
    trusted = night.isoformat() if trusted_until is None else trusted_until
    accepted = lend_light(accepted, watched, lit_night)
    learnable = learnable_images(accepted, watched, trusted)
    doubtful = doubtful_images(accepted, watched, product.settings.target_fpr)
    return pd.concat([learnable, doubtful]).sort_values(["night", "key"], ignore_index=True)
