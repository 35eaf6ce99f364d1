"""A person looks at the images that wait, and decides."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pandas as pd

from flows.commands.options import ReviewOptions
from flows.jobs.product import Product, open_product
from reconad_plugin.config.names import parse_night
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.names import printable
from reconad_plugin.ledger.deciding import (
    Decision,
    check_defect,
    check_person,
    decide,
    describe_decision,
    marks,
)
from reconad_plugin.ledger.glance import note_glance
from reconad_plugin.ledger.golden_defects import write_decision
from reconad_plugin.ledger.manifest import accepted_rows
from reconad_plugin.ledger.night_record import (
    DEFECT,
    NORMAL,
    REVIEW_COLUMNS,
    SAID_BY_PERSONS,
    WAITING,
)

ALL = "all"


def run(options: ReviewOptions) -> None:
    """List images that wait for a person, or decide on some.

    Raises:
        ConfigError: two decisions at once; or a name can be none, or names nothing.
    """
    if options.normal and options.defect:
        raise ConfigError(
            "one decision is taken at a time; got --normal and --defect: see reconad review --help"
        )
    if options.named and not options.defect:
        raise ConfigError(
            f"a defect has a name, and a normal image none; got --named {options.named}: "
            "give it with --defect"
        )
    decision = Decision(
        DEFECT if options.defect else NORMAL,
        check_person(options.by) if options.by else "",
        datetime.now(UTC).isoformat(timespec="seconds"),
        check_defect(options.named),
    )
    night = parse_night(options.night)
    review_night(options.product, night, options.normal or options.defect, decision)


def review_night(product: str, night: date, keys: Sequence[str], decision: Decision) -> None:
    """Decide on some of a night's images, where keys are given, and list those of its review.

    Args:
        product: a product of the settings file.
        night: the night.
        keys: of any accepted images of the night, whatever was decided on them before; or ``all``
            that wait.
        decision: what is said of them.

    Raises:
        ConfigError: a key is not of the night.
    """
    opened = open_product(product)

    def change(table: pd.DataFrame) -> pd.DataFrame:
        if unlisted := sorted(set(keys) - {ALL} - set(table["key"])):
            table = pd.concat([table, _not_waiting(opened, night, unlisted)], ignore_index=True)
        chosen = _chosen(table, keys)
        seen = dict(zip(table["sha256"][chosen], marks(table)[chosen], strict=True))
        return decide(table, decision, seen)

    if keys:
        table = write_decision(opened.store, opened.layout, night, decision, change)
        note_glance(opened.store, opened.layout)
    else:
        table = opened.records.review(night)
    if table.empty:
        print(f"{product} {night}: no image waits")
    scores = table["matched_score"].map(lambda score: "-" if pd.isna(score) else f"{score:.3f}")
    for row, score in zip(table.to_dict("records"), scores, strict=True):
        said = f"  ({describe_decision(row)})" if row["by"] or row["defect"] else ""
        print(f"{row['decision']:8} {score:>8}  {row['why']:28} {printable(row['key'])}{said}")


def _chosen(table: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """Say which rows of a review are decided on, named by their keys or since all that wait are:
    (N,) bool."""
    is_named = table["key"].isin(keys)
    return is_named | (table["decision"] == WAITING) if ALL in keys else is_named


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
    rows = rows.assign(why="named by a person", decision=WAITING)
    nothing = dict.fromkeys(SAID_BY_PERSONS, "")
    return rows.assign(**nothing).reindex(columns=list(REVIEW_COLUMNS))
