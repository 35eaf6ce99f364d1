"""``reconad clean``: what grows is removed as the settings `[keep]` say."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.json_file import check_writable, write_json
from flows.commands.options import CleanOptions
from flows.jobs.cleaning import WEIGHTS, Clearing, Leftover, clear_machine, clear_product
from flows.jobs.progress import warn
from flows.jobs.training_job import CHECKPOINTS
from flows.runtime.exit_codes import explain_outage
from mlflow_models.server import said_by
from reconad_plugin.config.keep import KeepSettings
from reconad_plugin.config.settings import Settings, load_settings
from reconad_plugin.errors import ConfigError, PlatformError, ReconadError

WAIT_S: Final = 5  # for a judging that is under way
NOTHING_SET: Final = "all stays: [keep] in reconad.toml has no setting, see docs/operate.md"


@dataclass(frozen=True)
class Removed:
    """What became of one thing that could go."""

    clearing: Clearing
    leftover: Leftover
    error: str | None = None  # why it is still there; None: it is gone


def run(options: CleanOptions) -> None:
    """Say what may go and what stays; remove the former where a person agrees.

    Raises:
        ConfigError: unknown product, or nobody agreed.
        PlatformError: something could not be looked at or removed; all else is done.
    """
    check_writable(options.json)
    settings = load_settings()
    if options.product is not None:
        settings.product(options.product)
    if settings.keep == KeepSettings():
        print(NOTHING_SET)
    found, missed = _look(settings, options.product, datetime.now(UTC))
    _show(found)
    removed = list[Removed]()
    if not options.dry_run and _agrees(found, options.yes):
        removed = [each for clearing in found for each in _carry_out(clearing)]
    failed = [each for each in removed if each.error is not None]
    write_json({"dry_run": options.dry_run} | _to_dict(found, removed, missed), options.json)
    if removed:
        size = describe_bytes(sum(each.leftover.size_bytes for each in removed if not each.error))
        print(f"removed {len(removed) - len(failed)} of {len(removed)}, {size}")
    else:
        print("nothing was removed")
    if failed or missed:
        raise PlatformError(
            f"{len(failed)} things could not be removed and {len(missed)} not be looked at, see "
            "above; all else is done: run this again"
        )


def _look(
    settings: Settings, product: str | None, now: datetime
) -> tuple[list[Clearing], list[str]]:
    """Find what may go; what cannot be looked at stops nothing else."""
    names = sorted(settings.products) if product is None else [product]
    found, missed = list[Clearing](), list[str]()
    for name in names:
        try:
            found += clear_product(name, settings.keep, now)
        except ReconadError as error:
            warn(f"{name}: {error}")
            missed.append(name)
    if product is None:
        found += clear_machine(names, settings.keep, now, CHECKPOINTS)
    return found, missed


def _agrees(found: Sequence[Clearing], is_agreed: bool) -> bool:
    goes = sum(len(each.goes) for each in found)
    if not goes or is_agreed:
        return bool(goes)
    size = describe_bytes(sum(each.size_bytes for each in found))
    try:
        return typer.confirm(f"Remove {goes}, {size}?")
    except typer.Abort:
        raise ConfigError(
            "clean asks before it removes, and nobody answered; nothing was removed: give --yes"
        ) from None


def _carry_out(clearing: Clearing) -> list[Removed]:
    """Remove what may go; what cannot be removed stops nothing else."""
    if clearing.kind != WEIGHTS or not clearing.goes:
        return [_remove(clearing, each) for each in clearing.goes]
    from flows.runtime.locks import JUDGING, one_at_a_time  # Prefect takes seconds to import

    try:
        with one_at_a_time(JUDGING, clearing.of, WAIT_S):  # it loads weights
            return [_remove(clearing, each) for each in clearing.goes]
    except Exception as error:  # clients of servers raise almost anything
        said = str(error) if isinstance(error, ReconadError) else explain_outage(error)
        if said is None:
            raise
        warn(f"{clearing.of}: the weights stay while a version may be judged: {said}")
        return [Removed(clearing, each, said) for each in clearing.goes]


def _remove(clearing: Clearing, leftover: Leftover) -> Removed:
    try:
        leftover.remove()
    except Exception as error:  # places for files raise almost anything
        warn(f"{clearing.of}, {clearing.kind}: {leftover.name} is still there: {said_by(error)}")
        return Removed(clearing, leftover, said_by(error))
    return Removed(clearing, leftover)


def _to_dict(
    found: Sequence[Clearing], removed: Sequence[Removed], missed: Sequence[str]
) -> dict[str, object]:
    return {
        "found": [
            {
                "of": clearing.of,
                "kind": clearing.kind,
                "why": clearing.why,
                "size_bytes": clearing.size_bytes,
                "goes": [each.name for each in clearing.goes],
                "stays": dict(clearing.stays),
            }
            for clearing in found
        ],
        "removed": sum(each.error is None for each in removed),
        "failed": {each.leftover.name: each.error for each in removed if each.error is not None},
        "not_looked_at": list(missed),
    }


def _show(found: Sequence[Clearing]) -> None:
    shown = [each for each in found if each.goes or each.stays]
    if not shown:
        return
    table = Table("of", "what", "may go", "size", "why", "stays")
    for each in shown:
        stays = "\n".join(f"{count}: {why}" for why, count in each.stays.items())
        cells = (each.of, each.kind, str(len(each.goes)), describe_bytes(each.size_bytes), each.why)
        table.add_row(*map(escape, cells), escape(stays))
    Console().print(table)


def describe_bytes(size: int) -> str:
    """Write a size for people.

    Example:
        >>> describe_bytes(0), describe_bytes(4_600_000), describe_bytes(1_200_000_000_000)
        ('0 kB', '4.6 MB', '1200.0 GB')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size / 1e3:.0f} kB"
