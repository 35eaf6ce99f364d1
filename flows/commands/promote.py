"""``reconad promote``."""

import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.given_night import find_night
from flows.commands.json_file import check_writable, write_json
from flows.commands.options import PromoteOptions
from flows.promote import promote
from mlflow_models import registry


def run(options: PromoteOptions) -> None:
    """Judge the challenger."""
    check_writable(options.json)
    night = find_night(options.product, options.night)
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


def _verdict(version: registry.Version) -> dict[str, Any] | None:
    """Read the gate's verdict; a figure that is not a number is None, as JSON has none."""
    text = version.tags.get(registry.VERDICT_TAG, "null")
    verdict: dict[str, Any] | None = json.loads(text, parse_constant=lambda _: None)
    return verdict


def _figure(value: float | None) -> str:
    return "nan" if value is None else f"{value:.4g}"
