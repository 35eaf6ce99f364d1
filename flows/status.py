"""What a person sees of a product's versions: which one serves, which served before, and why."""

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.product import open_product
from mlflow_models import promotion, registry
from reconad_plugin.config import parse_night
from reconad_plugin.errors import ConfigError
from reconad_plugin.store.manifest import known_nights


def run_promote(options: argparse.Namespace) -> None:
    """``reconad promote``."""
    from flows.promote import promote

    _check_writable(options.json)
    night = _night(options)
    outcome, number = promote(options.product, night, options.version).split()
    version = registry.version(options.product, number)
    verdict = _verdict(version)
    _write(
        {
            "product": options.product,
            "night": night.isoformat(),
            "outcome": outcome,
            "version": number,
            "champion": _number(options.product, registry.CHAMPION),
            "verdict": verdict,
        },
        options.json,
    )
    against = (verdict or {}).get("judged_against")
    table = Table(
        "rule", "value", "limit", "passed", "sentence",
        title=f"version {number} against {f'version {against}' if against else 'no champion'}",
    )  # fmt: skip
    for check in (verdict or {}).get("checks", []):
        passed = "yes" if check["is_passed"] else "no"
        table.add_row(
            check["rule"], _figure(check["value"]), _figure(check["limit"]), passed,
            escape(check["sentence"]),
        )  # fmt: skip
    console = Console()
    console.print(table)
    reason = version.tags.get(registry.REASON_TAG, "")
    console.print(f"version {number} {outcome}: {reason}", highlight=False, markup=False)


def run_rollback(options: argparse.Namespace) -> None:
    """``reconad rollback``."""
    from flows.rollback import NO_REASON, rollback

    _check_writable(options.json)
    reason = " ".join((options.reason or NO_REASON).split())
    outcome, number = rollback(options.product, _night(options), reason).split()
    tags = registry.version(options.product, number).tags
    serving = _number(options.product, registry.CHAMPION)
    _write(
        {
            "product": options.product,
            "night": tags[registry.ROLLED_BACK_NIGHT_TAG],
            "outcome": outcome,
            "version": number,
            "reason": tags[registry.REASON_TAG],
            "champion": serving,
            "previous_champion": _number(options.product, registry.PREVIOUS_CHAMPION),
        },
        options.json,
    )
    print(f"version {number} rolled back: {tags[registry.REASON_TAG]}")
    print(f"version {serving} serves again")


def run_status(options: argparse.Namespace) -> None:
    """``reconad status``."""
    _check_writable(options.json)
    status = read_status(options.product)
    _write(status, options.json)
    console = Console()
    console.print(_serving_line(status), highlight=False, markup=False)
    served = Table("from", "to", "version", "why", title="Served")
    for turn in status["history"]:
        why = f"{_how(turn)}: {turn['reason']}"
        served.add_row(turn["from"], turn["to"] or "now", turn["version"], escape(why))
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
        JSON: the aliases by name, ``history`` (oldest first; ``to`` is None for the last), and
        ``versions`` (oldest first).
    """
    open_product(product)
    turns = promotion.turns(product)
    ends = [turn.night for turn in turns[1:]]
    return {
        "product": product,
        "model": registry.model_name(product),
        registry.CHAMPION: _number(product, registry.CHAMPION),
        registry.PREVIOUS_CHAMPION: _number(product, registry.PREVIOUS_CHAMPION),
        registry.CHALLENGER: _number(product, registry.CHALLENGER),
        "history": [
            {
                "from": turn.night,
                "to": end,
                "version": turn.version,
                "by": turn.by,
                "instead_of": turn.instead_of,
                "reason": turn.reason,
                "is_open": turn.is_open,
            }
            for turn, end in zip(turns, [*ends, None], strict=False)
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


def _how(turn: dict[str, Any]) -> str:
    if turn["by"] == promotion.ROLLBACK:
        return f"version {turn['instead_of']} was rolled back"
    return "promoted"


def _state(version: dict[str, Any]) -> str:
    if version["state"] is None and version["judged_against"] is not None:
        return "judge again"  # the champion changed after its verdict, or the run was cut off
    return (version["state"] or "not judged").replace("_", " ")


def _night(options: argparse.Namespace) -> date:
    """The night that was given, else the last one that was taken in."""
    if options.night is not None:
        return parse_night(options.night)
    product = open_product(options.product)
    nights = known_nights(product.store, product.layout, before=date.max)
    if not nights:
        raise ConfigError(
            f"a night is needed, and {product.name} has taken none in: pass --night YYYY-MM-DD"
        )
    return nights[-1]


def _verdict(version: registry.Version) -> dict[str, Any] | None:
    """The gate's verdict; a figure that is not a number is None, as JSON has none."""
    text = version.tags.get(registry.VERDICT_TAG, "null")
    verdict: dict[str, Any] | None = json.loads(text, parse_constant=lambda _: None)
    return verdict


def _number(product: str, alias: str) -> str | None:
    found = registry.version_by_alias(product, alias)
    return found.number if found else None


def _figure(value: float | None) -> str:
    return "nan" if value is None else f"{value:.4g}"


def _check_writable(file: Path | None) -> None:
    if file is not None and (file.is_dir() or not file.resolve().parent.is_dir()):
        raise ConfigError(f"--json must be a file in a folder that is there; got {file}")


def _write(content: dict[str, Any], file: Path | None) -> None:
    if file is not None:
        file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
