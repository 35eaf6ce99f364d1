"""What a person sees of a promotion or a rollback by hand."""

import argparse
import json
from datetime import date
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.json_file import check_writable, write_json
from flows.jobs.product import open_product
from mlflow_models import registry
from reconad_plugin.config import parse_night
from reconad_plugin.errors import ConfigError
from reconad_plugin.ledger.manifest import known_nights


def run_promote(options: argparse.Namespace) -> None:
    """``reconad promote``."""
    from flows.promote import promote

    check_writable(options.json)
    night = _night(options)
    outcome = promote(options.product, night, options.version)
    version = registry.version(options.product, outcome.version)
    verdict = _verdict(version)
    write_json(
        {
            "product": options.product,
            "night": night.isoformat(),
            "outcome": outcome.kind,
            "version": outcome.version,
            "champion": registry.number_by_alias(options.product, registry.CHAMPION),
            "verdict": verdict,
        },
        options.json,
    )
    judged_against = (verdict or {}).get("judged_against")
    against = f"version {judged_against}" if judged_against else "no champion"
    table = Table(
        "rule", "value", "limit", "passed", "sentence",
        title=f"version {outcome.version} against {against}",
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
    console.print(
        f"version {outcome.version} {outcome.kind}: {reason}", highlight=False, markup=False
    )


def run_rollback(options: argparse.Namespace) -> None:
    """``reconad rollback``."""
    from flows.rollback import NO_REASON, rollback

    check_writable(options.json)
    reason = " ".join((options.reason or NO_REASON).split())
    outcome = rollback(options.product, _night(options), reason)
    tags = registry.version(options.product, outcome.version).tags
    serving = registry.number_by_alias(options.product, registry.CHAMPION)
    write_json(
        {
            "product": options.product,
            "night": tags[registry.ROLLED_BACK_NIGHT_TAG],
            "outcome": outcome.kind,
            "version": outcome.version,
            "reason": tags[registry.REASON_TAG],
            "champion": serving,
            "previous_champion": registry.number_by_alias(
                options.product, registry.PREVIOUS_CHAMPION
            ),
        },
        options.json,
    )
    print(f"version {outcome.version} rolled back: {tags[registry.REASON_TAG]}")
    print(f"version {serving} serves again")


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


def _figure(value: float | None) -> str:
    return "nan" if value is None else f"{value:.4g}"
