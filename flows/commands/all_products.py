"""All products in one table: which need a person, and how each has done of late."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.json_file import write_json
from flows.jobs.all_products import read_glances, read_waiting_trainings
from reconad_plugin.ledger.glance import Glance

WIDE: Final = 110  # columns of a terminal that has room for the bars
_COLUMNS: Final = ("last night", "alarm", "since", "waiting", "serves")
_BARS: Final = "▁▂▃▄▅▆▇█"


def show_all(json: Path | None) -> None:
    """Print how all products stand, those that need a person first."""
    glances, trainings = read_glances(), read_waiting_trainings()
    content = {"products": [asdict(each) for each in glances]}
    waiting = {product: asdict(wanted) for product, wanted in trainings.items()}
    write_json(content | ({"trainings": waiting} if waiting else {}), json)
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
    for product, wanted in trainings.items():
        said = f"{product} waits for a training: {wanted}"
        console.print(said, highlight=False, markup=False, soft_wrap=True)
    if needing:
        console.print(f"look at one: reconad status {needing[0].product}", highlight=False)


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
