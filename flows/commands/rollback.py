"""``reconad rollback``."""

from flows.commands.json_file import check_writable, write_json
from flows.commands.options import RollbackOptions
from flows.jobs.product import find_night
from flows.rollback import NO_REASON, rollback
from mlflow_models import registry


def run(options: RollbackOptions) -> None:
    """Put the version that served before back."""
    check_writable(options.json)
    reason = " ".join((options.reason or NO_REASON).split())
    night = find_night(options.product, options.night)
    outcome = rollback(options.product, night, reason)
    version = registry.version(options.product, outcome.version)
    serving = registry.number_by_alias(options.product, registry.CHAMPION)
    before = registry.number_by_alias(options.product, registry.PREVIOUS_CHAMPION)
    result = {
        "product": options.product,
        "night": version.rolled_back_night,
        "outcome": outcome.kind,
        "version": outcome.version,
        "reason": version.reason,
        "champion": serving,
        "previous_champion": before,
    }
    write_json(result, options.json)
    print(f"version {outcome.version} rolled back: {version.reason}")
    print(f"version {serving} serves again")
