"""A person looks at the images that wait, and decides."""

from datetime import date

import pandas as pd

from flows.commands.options import ReviewOptions
from flows.jobs.glance import note_glance
from flows.jobs.product import Product, open_product
from reconad_plugin.config import parse_night
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.names import printable
from reconad_plugin.ledger.manifest import accepted_rows
from reconad_plugin.ledger.night_record import DEFECT, NORMAL, REVIEW_COLUMNS

ALL = "all"


def run(options: ReviewOptions) -> None:
    """List images that wait for a person, or decide on some.

    Raises:
        ConfigError: two decisions at once.
    """
    if options.normal and options.defect:
        raise ConfigError(
            "one decision is taken at a time; got --normal and --defect: see reconad review --help"
        )
    review_night(options.product, parse_night(options.night), options.normal, options.defect)


def review_night(
    product: str, night: date, normal: list[str] | None, defect: list[str] | None
) -> None:
    """List a night's waiting images, or decide on some, or on any other image of the night.

    Args:
        product: a product of the settings file.
        night: the night.
        normal: keys to release for learning, or ``all``.
        defect: keys that are never learnt from, or ``all``.

    Raises:
        ConfigError: a key is not of the night.
    """
    opened = open_product(product)
    table = opened.records.review(night)
    for keys, decision in ((normal, NORMAL), (defect, DEFECT)):
        if not keys:
            continue
        unlisted = sorted(set(keys) - {ALL} - set(table["key"]))
        if unlisted:
            table = pd.concat([table, _not_waiting(opened, night, unlisted)], ignore_index=True)
        chosen = table["key"].isin(table["key"] if keys == [ALL] else keys)
        table.loc[chosen, "decision"] = decision
        opened.records.write_review(night, table)
        note_glance(product)
    if table.empty:
        print(f"{product} {night}: no image waits")
    scores = table["matched_score"].map(lambda score: "-" if pd.isna(score) else f"{score:.3f}")
    for row, score in zip(table.itertuples(), scores, strict=True):
        print(f"{row.decision:8} {score:>8}  {row.why:28} {printable(str(row.key))}")


def _not_waiting(product: Product, night: date, keys: list[str]) -> pd.DataFrame:
    """Rows of a review for images that no list asks about.

    Raises:
        ConfigError: a key is none of the night's accepted images.
    """
    manifest = product.manifest(night)
    accepted = None if manifest is None else accepted_rows([manifest])
    unknown = keys if accepted is None else sorted(set(keys) - set(accepted["key"]))
    if accepted is None or unknown:
        raise ConfigError(
            f"a decision needs the key of an accepted image of the night; {unknown[0]!r} is none: "
            f"see `reconad review {product.name} {night}`"
        )
    rows = accepted[accepted["key"].isin(keys)]
    if (rows["split"] == "").any():
        raise ConfigError(
            "an image that came after the first version was trained on its night is never learnt; "
            f"{rows.loc[rows['split'] == '', 'key'].iloc[0]!r} is one: leave it out"
        )
    scores = product.records.scores(night)
    if scores is not None:
        rows = rows.merge(scores[["key", "pred_score", "matched_score"]], "left", "key")
    return rows.assign(why="named by a person").reindex(columns=list(REVIEW_COLUMNS))
