"""All products in one table: which need a person, and how each has done of late."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.json_file import write_json
from reconad_plugin.config.settings import load_settings
from reconad_plugin.errors import DamagedRecordError, ReconadError, StorageError
from reconad_plugin.ledger.glance import Glance, read_glance
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

READERS: Final = 16  # of small objects at once
WIDE: Final = 110  # columns of a terminal that has room for the bars
_COLUMNS: Final = ("last night", "alarm", "since", "waiting", "serves")
_BARS: Final = "▁▂▃▄▅▆▇█"


def show_all(json: Path | None) -> None:
    """Print how all products stand, those that need a person first."""
    glances = read_glances()
    write_json({"products": [asdict(each) for each in glances]}, json)
    console = Console()
    needing = [each for each in glances if each.needs_a_person]
    need = "needs" if len(needing) == 1 else "need"
    count = f"{len(needing)} of {len(glances)} products {need} a person"
    console.print(count if needing else f"none of {len(glances)} products needs a person")
    console.print(_table(glances, has_trends=console.width >= WIDE))
    for each in glances:
        if each.error:
            console.print(
                f"{each.product}: {each.error}", highlight=False, markup=False, soft_wrap=True
            )
    if needing:
        console.print(f"look at one: reconad status {needing[0].product}", highlight=False)


def read_glances() -> list[Glance]:
    """Read how all products of the settings stood when that was last noted: first those whose note
    cannot be read, then those that need a person, then by name.

    Raises:
        StorageError: no note can be had.
        ConfigError: there is no settings file, or it breaks a rule.
    """
    settings = load_settings()
    store = ObjectStore(settings.storage)
    layouts = [ProductLayout(name) for name in sorted(settings.products)]
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(partial(_read, store), layouts))
    refused = [each for each in found if isinstance(each, StorageError)]
    if refused and len(refused) == len(found):
        raise refused[0]
    glances = [
        each if isinstance(each, Glance) else Glance(layout.product, error=str(each))
        for each, layout in zip(found, layouts, strict=True)
    ]
    return sorted(glances, key=lambda each: (not each.error, not each.needs_a_person, each.product))


def _read(store: ObjectStore, layout: ProductLayout) -> Glance | ReconadError:
    try:
        return read_glance(store, layout)
    except (DamagedRecordError, StorageError) as error:
        return error


def _table(glances: Sequence[Glance], has_trends: bool) -> Table:
    newest = max((each.night for each in glances if each.night), default=None)
    table = Table()
    table.add_column("product", min_width=10, overflow="fold")
    for title in (*_COLUMNS, *(("score", "light") if has_trends else ())):
        table.add_column(title, no_wrap=True)
    for each in glances:
        late = "" if each.night in (newest, None) else " late"
        table.add_row(
            each.product,
            "cannot be read" if each.error else f"{each.night or 'none yet'}{late}",
            escape(each.cause) if each.is_alarm else "",
            each.since or "",
            str(each.waiting_images or ""),
            _serving(each),
            *(map(draw_bars, each.trends) if has_trends else ()),
            style="bold" if each.needs_a_person else None,
        )
    return table


def _serving(glance: Glance) -> str:
    if glance.champion is None:
        return "-"
    nights = glance.champion_nights
    return f"v{glance.champion}" + ("" if nights is None else f", {nights} nights")


def draw_bars(heights: Sequence[float]) -> str:
    """Draw one bar for each height in [0, 1].

    Example:
        >>> draw_bars([0.0, 1.0, 0.5])
        '▁█▅'
    """
    return "".join(_BARS[min(int(height * len(_BARS)), len(_BARS) - 1)] for height in heights)
