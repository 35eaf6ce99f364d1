"""``reconad rollback``."""

from flows.commands.given_night import find_night
from flows.commands.json_file import check_writable, write_json
from flows.commands.options import RollbackOptions
from flows.rollback import NO_REASON, rollback
from mlflow_models import registry


def run(options: RollbackOptions) -> None:
    """Put the version that served before back."""
    check_writable(options.json)
    reason = " ".join((options.reason or NO_REASON).split())
    night = find_night(options.product, options.night)
    outcome = rollback(options.product, night, reason)
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
