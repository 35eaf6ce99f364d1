"""A person looks at the images that wait, and decides."""

from datetime import date

from flows.product import open_product
from reconad_plugin.errors import ConfigError
from reconad_plugin.store.records import DEFECT, NORMAL

ALL = "all"


def review_night(
    product: str, night: date, normal: list[str] | None, defect: list[str] | None
) -> None:
    """List a night's waiting images, or decide on some.

    Args:
        product: a product of the settings file.
        night: the night.
        normal: keys to release for learning, or ``all``.
        defect: keys that are never learnt from, or ``all``.

    Raises:
        ConfigError: a key is not on the list.
    """
    opened = open_product(product)
    table = opened.records.review(night)
    for keys, decision in ((normal, NORMAL), (defect, DEFECT)):
        if not keys:
            continue
        chosen = table["key"].isin(table["key"] if keys == [ALL] else keys)
        unknown = sorted(set(keys) - {ALL} - set(table["key"]))
        if unknown:
            raise ConfigError(
                f"a decision needs a key of the night's list; {unknown[0]!r} is not on it: "
                f"see `reconad review {product} {night}`"
            )
        table.loc[chosen, "decision"] = decision
        opened.records.write_review(night, table)
    if table.empty:
        print(f"{product} {night}: no image waits")
    for row in table.itertuples():
        print(f"{row.decision:8} {row.matched_score:8.3f}  {row.why:28} {row.key}")
