"""What a person sees of a product's versions: which one serves, which served before, and why."""

import argparse
from datetime import timedelta
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.json_file import check_writable, write_json
from flows.jobs.ledger import open_ledger, see_history
from flows.jobs.product import Product, open_product
from mlflow_models import alias_log, registry

_OF_THE_WATCH: Final = (
    "night",
    "is_alarm",
    "since",
    "cause",
    "also",
    "evidence",
    "expected_false_alarms",
)


def run_status(options: argparse.Namespace) -> None:
    """``reconad status``."""
    check_writable(options.json)
    status = read_status(options.product)
    write_json(status, options.json)
    console = Console()
    console.print(_serving_line(status), highlight=False, markup=False)
    console.print(_watch_line(status["watch"]), highlight=False, markup=False)
    served = Table("from", "to", "version", "why", title="Served")
    for move in status["history"]:
        why = f"{_how(move)}: {move['reason']}"
        served.add_row(move["from"], move["to"] or "now", move["version"], escape(why))
    console.print(served)
    versions = Table("version", "night", "learnt by", "cause", "state", "reason", title="Versions")
    for version in status["versions"]:
        versions.add_row(
            version["version"],
            version["night"],
            version["purpose"],
            version["cause"],
            _state(version),
            escape(version["reason"]),
        )
    console.print(versions)


def read_status(product: str) -> dict[str, Any]:
    """What serves, what served from which night to which, and what became of every version.

    Returns:
        JSON: the aliases by name, ``watch`` (the last night's, None before the first; ``is_open``
        is False once its alarm was resolved, or a version that learnt its cause was promoted),
        ``history`` (oldest first; ``to`` is None for the last), and ``versions`` (oldest first).
    """
    watch = _read_watch(open_product(product))
    moves = alias_log.moves(product)
    ends = [move.night for move in moves[1:]]
    return {
        "product": product,
        "model": registry.model_name(product),
        registry.CHAMPION: registry.number_by_alias(product, registry.CHAMPION),
        registry.PREVIOUS_CHAMPION: registry.number_by_alias(product, registry.PREVIOUS_CHAMPION),
        registry.CHALLENGER: registry.number_by_alias(product, registry.CHALLENGER),
        "watch": watch,
        "history": [
            {
                "from": move.night,
                "to": end,
                "version": move.version,
                "by": move.by,
                "instead_of": move.instead_of,
                "reason": move.reason,
                "is_open": move.is_open,
            }
            for move, end in zip(moves, [*ends, None], strict=False)
        ],
        "versions": [
            {
                "version": version.number,
                "night": version.tags.get(registry.NIGHT_TAG, ""),
                "purpose": version.tags.get(registry.PURPOSE_TAG, ""),
                "cause": version.tags.get(registry.CAUSE_TAG, ""),
                "state": version.tags.get(registry.STATE_TAG),
                "judged_against": version.tags.get(registry.JUDGED_AGAINST_TAG),
                "promoted_night": version.tags.get(registry.PROMOTED_NIGHT_TAG),
                "rolled_back_night": version.tags.get(registry.ROLLED_BACK_NIGHT_TAG),
                "reason": version.tags.get(registry.REASON_TAG, ""),
            }
            for version in registry.versions(product)
        ],
    }


def _read_watch(product: Product) -> dict[str, Any] | None:
    """What the last watched night's record says, and whether its alarm is still open."""
    ledger = open_ledger(product, see_history(product))
    if not ledger.records:
        return None
    last = max(ledger.records)
    is_open = ledger.open_alarm(before=last + timedelta(1)) is not None
    record = ledger.records[last].to_dict()
    return {name: record[name] for name in _OF_THE_WATCH} | {"is_open": is_open}


def _serving_line(status: dict[str, Any]) -> str:
    serving, history = status[registry.CHAMPION], status["history"]
    if serving is None:
        return f"{status['model']}: no champion serves yet"
    line = f"{status['model']}: version {serving} is the champion"
    if history and history[-1]["is_open"]:
        return f"{line}; a {history[-1]['by']} was cut off, or is under way: the next run ends it"
    if not history or history[-1]["version"] != serving:
        return f"{line}; its alias was set by hand"
    previous = status[registry.PREVIOUS_CHAMPION]
    return f"{line}; a rollback goes back to {f'version {previous}' if previous else 'none'}"


def _watch_line(watch: dict[str, Any] | None) -> str:
    if watch is None:
        return "no night has been watched yet"
    if not watch["is_alarm"]:
        return f"night {watch['night']}: no alarm"
    also = f", also {', '.join(watch['also'])}" if watch["also"] else ""
    since = f"since {watch['since']}, {watch['cause']}{also}"
    if not watch["is_open"]:
        return f"night {watch['night']}: the alarm {since}, was resolved or a version answered it"
    return f"night {watch['night']}: ALARM {since}"


def _how(move: dict[str, Any]) -> str:
    if move["by"] == registry.ROLLBACK:
        return f"version {move['instead_of']} was rolled back"
    return "promoted"


def _state(version: dict[str, Any]) -> str:
    if version["state"] is None and version["judged_against"] is not None:
        return "judge again"  # the champion changed after its verdict, or the run was cut off
    return (version["state"] or "not judged").replace("_", " ")
