"""``reconad deploy``."""

from collections import Counter

from flows.commands.json_file import check_writable, write_json
from flows.commands.options import DeployOptions
from flows.deployment.changes import Verb
from flows.deployment.deploy import deploy
from reconad_plugin.config.settings import load_settings


def run(options: DeployOptions) -> None:
    """Bring Prefect to what reconad.toml says."""
    check_writable(options.json)
    changes = []
    for change in deploy(load_settings(), options.dry_run):
        changes.append(change)
        if change.verb is not Verb.KEEP:
            print(f"would {change}" if options.dry_run else str(change))
    counts = Counter(change.verb for change in changes)
    unchanged = f"{counts[Verb.KEEP]} of {len(changes)} are as they should be"
    print(f"{unchanged}; nothing was changed" if options.dry_run else unchanged)
    content = {"dry_run": options.dry_run, "changes": [change.to_dict() for change in changes]}
    write_json(content, options.json)
