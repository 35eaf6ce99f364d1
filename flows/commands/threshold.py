"""``reconad threshold``: what another threshold would do, and a person's word that it holds."""

from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from flows.commands.json_file import check_writable, write_json
from flows.commands.options import ThresholdOptions
from flows.jobs.product import open_product
from flows.jobs.threshold import open_trial
from mlflow_models import registry
from mlflow_models.version_names import named_version
from reconad_plugin.errors import ConfigError
from reconad_plugin.gate.threshold_trial import Trial, Tried, try_threshold
from reconad_plugin.ledger.threshold_setting import ThresholdSetting, in_force


def run(options: ThresholdOptions) -> None:
    """Show what thresholds would do; set one where that is asked.

    Raises:
        ConfigError: a threshold to set comes without name or reason, or two are given.
    """
    check_writable(options.json)
    given = [each for each in (options.try_, options.set) if each is not None]
    if len(given) + options.calibrated > 1:
        raise ConfigError(
            "one of --try, --set and --calibrated is given at a time; got several: see "
            "reconad threshold --help"
        )
    product, number = open_product(options.product), options.version
    version = named_version(product.name, number)
    is_set = options.set is not None or options.calibrated
    if is_set:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        setting = ThresholdSetting(options.set, options.by or "", options.why or "", at).check()
    trial = open_trial(product, version)
    if is_set:
        changed = registry.set_threshold(product.name, version.number, setting)
        trial = replace(trial, settings=changed.thresholds)
    asked = {"calibrated": trial.calibrated, "in force": in_force(trial.settings)}
    asked |= {"to try": options.try_}
    tried = {
        name: try_threshold(trial.images, threshold)
        for name, threshold in asked.items()
        if threshold is not None
    }
    write_json(_to_dict(options.product, trial, tried), options.json)
    _print(trial, tried)


def _print(trial: Trial, tried: dict[str, Tried]) -> None:
    console = Console()
    table = Table(
        "", "threshold", "rejected", "missed defects",
        title=f"Version {trial.version} on its last nights and the known defects",
    )  # fmt: skip
    for name, each in tried.items():
        rejected, missed = (
            f"{part} of {whole}"
            for part, whole in ((each.rejected, each.images), (each.missed, each.defects))
        )
        table.add_row(name, f"{each.threshold:.4g}", rejected, missed)
    console.print(table)
    for setting in trial.settings:
        console.print(f"set to {setting}", highlight=False, markup=False)
    if nights := trial.lenient_nights:
        console.print(
            f"{len(nights)} nights were held against a higher threshold, {nights[0]} to "
            f"{nights[-1]}: what that let pass may be learnt until they are run again (reconad "
            "nightly PRODUCT NIGHT).",
            highlight=False, markup=False,
        )  # fmt: skip
    if trial.settings:
        console.print(
            "A server that follows takes it up within seconds; nights from the next one on are "
            "held against it.",
            highlight=False,
        )


def _to_dict(product: str, trial: Trial, tried: dict[str, Tried]) -> dict[str, object]:
    """Return what stands in the JSON."""
    return {
        "product": product,
        "version": trial.version,
        "calibrated": trial.calibrated,
        "in_force": in_force(trial.settings),
        "tried": [{"what": name, **vars(each)} for name, each in tried.items()],
        "nights_to_run_again": trial.lenient_nights,
        "settings": [vars(each) for each in trial.settings],
    }
