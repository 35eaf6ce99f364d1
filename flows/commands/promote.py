"""``reconad promote``."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.json_file import check_writable, write_json
from flows.commands.options import PromoteOptions
from flows.jobs.product import find_night
from flows.promote import promote
from mlflow_models import registry


def run(options: PromoteOptions) -> None:
    """Judge the challenger."""
    check_writable(options.json)
    night = find_night(options.product, options.night)
    outcome = promote(options.product, night, options.version)
    version = registry.version(options.product, outcome.version)
    verdict = version.verdict
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
    title = f"version {outcome.version} against {against}"
    table = Table("rule", "value", "limit", "passed", "sentence", title=title)
    for check in (verdict or {}).get("checks", []):
        passed = "yes" if check["is_passed"] else "no"
        value, limit = _figure(check["value"]), _figure(check["limit"])
        table.add_row(check["rule"], value, limit, passed, escape(check["sentence"]))
    console = Console()
    console.print(table)
    line = f"version {outcome.version} {outcome.kind}: {version.reason}"
    console.print(line, highlight=False, markup=False)


def _figure(value: float | None) -> str:
    return "nan" if value is None else f"{value:.4g}"
