"""What a person sees of a product's versions: which one serves, which served before, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from itertools import zip_longest
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.json_file import write_json
from flows.jobs.ledger import open_ledger, see_history
from flows.jobs.product import open_product
from flows.jobs.wanted_trainings import read_open_training
from mlflow_models import alias_log, registry
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.ledger.threshold_setting import in_force
from reconad_plugin.ledger.wanted_training import WantedTraining

_OF_THE_WATCH: Final = "night is_alarm since cause also evidence expected_false_alarms golden"
_OF_A_MOVE: Final = "version by instead_of reason is_open"
_OF_A_VERSION: Final = (
    "night purpose cause state judged_against promoted_night rolled_back_night reason"
)


@dataclass(frozen=True)
class WatchStatus:
    """What the watch said of the last night that was watched."""

    record: NightRecord
    is_open: bool  # the alarm; False once it was resolved, or a version learnt it and was promoted

    def to_dict(self) -> dict[str, object]:
        """Return what stands in the JSON."""
        content = self.record.to_dict()
        return {name: content[name] for name in _OF_THE_WATCH.split()} | {"is_open": self.is_open}


@dataclass(frozen=True)
class ProductStatus:
    """What serves, what served from which night to which, and what became of every version."""

    product: str
    champion: str | None  # number of the version that serves
    previous_champion: str | None  # that a rollback goes back to
    challenger: str | None  # that waits for the gate
    watch: WatchStatus | None  # None before the first night
    waiting: Mapping[str, int]  # night -> images of it that wait for a person
    moves: Sequence[alias_log.AliasMove]  # of the champion's alias, oldest first
    versions: Sequence[registry.Version]  # oldest first
    training: WantedTraining | None = None  # that it waits for, where products share a night

    @property
    def model(self) -> str:
        """Name of the registered model."""
        return registry.model_name(self.product)

    @property
    def served(self) -> list[tuple[alias_log.AliasMove, str | None]]:
        """Each move with the night of the next; None for the last."""
        ends = [move.night for move in self.moves[1:]]
        return list(zip_longest(self.moves, ends))

    def to_dict(self) -> dict[str, object]:
        """Return what stands in the JSON."""
        return {
            "product": self.product,
            "model": self.model,
            registry.CHAMPION: self.champion,
            registry.PREVIOUS_CHAMPION: self.previous_champion,
            registry.CHALLENGER: self.challenger,
            "watch": None if self.watch is None else self.watch.to_dict(),
            "waiting": dict(self.waiting),
            "history": [
                {"from": move.night, "to": end, **_picked(move, _OF_A_MOVE)}
                for move, end in self.served
            ],
            "versions": [
                {
                    "version": version.number,
                    **_picked(version, _OF_A_VERSION),
                    "thresholds": [vars(each) for each in version.thresholds],
                }
                for version in self.versions
            ],
            **({} if self.training is None else {"training": asdict(self.training)}),
        }


def _picked(of: alias_log.AliasMove | registry.Version, names: str) -> dict[str, object]:
    return {name: getattr(of, name) for name in names.split()}


def show_product(product: str, json: Path | None) -> None:
    """Show which version serves, and what became of the others."""
    status = read_status(product)
    write_json(status.to_dict(), json)
    console = Console()
    console.print(_serving_line(status), highlight=False, markup=False)
    of_the_night = [*watch_lines(status.watch), *golden_lines(status.watch)]
    waiting = [*waiting_lines(status), *training_lines(status)]
    for line in [*threshold_lines(status), *of_the_night, *waiting]:
        console.print(line, highlight=False, markup=False)
    served = Table("from", "to", "version", "why", title="Served")
    for move, end in status.served:
        why = f"{_how(move)}: {move.reason}"
        served.add_row(move.night, end or "now", move.version, escape(why))
    console.print(served)
    versions = Table("version", "night", "learnt by", "cause", "state", "reason", title="Versions")
    for version in status.versions:
        cells = (version.number, version.night, version.purpose, version.cause, _state(version))
        versions.add_row(*cells, escape(version.reason))
    console.print(versions)


def read_status(product: str) -> ProductStatus:
    """Read what serves, what the watch said last, and what became of every version."""
    opened = open_product(product)
    ledger = open_ledger(opened, see_history(opened))
    return ProductStatus(
        product=product,
        champion=registry.number_by_alias(product, registry.CHAMPION),
        previous_champion=registry.number_by_alias(product, registry.PREVIOUS_CHAMPION),
        challenger=registry.number_by_alias(product, registry.CHALLENGER),
        watch=_read_watch(ledger),
        waiting=ledger.waiting_images(),
        moves=alias_log.moves(product),
        versions=registry.versions(product),
        training=read_open_training(opened),
    )


def _read_watch(ledger: Ledger) -> WatchStatus | None:
    last = ledger.last_record()
    return None if last is None else WatchStatus(last, ledger.open_alarm(date.max) is not None)


def _serving_line(status: ProductStatus) -> str:
    if status.champion is None:
        return f"{status.model}: no champion serves yet"
    line = f"{status.model}: version {status.champion} is the champion"
    last = status.moves[-1] if status.moves else None
    if last is not None and last.is_open:
        return f"{line}; a {last.by} was cut off, or is under way: the next run ends it"
    if last is None or last.version != status.champion:
        return f"{line}; its alias was set by hand"
    previous = status.previous_champion
    return f"{line}; a rollback goes back to {f'version {previous}' if previous else 'none'}"


def watch_lines(watch: WatchStatus | None) -> list[str]:
    """Write what the watch said last: whether an alarm is open, then why and what to do."""
    if watch is None:
        return ["no night has been watched yet"]
    record = watch.record
    if not record.is_alarm:
        return [f"night {record.night}: no alarm", record.explanation]
    also = f", also {', '.join(record.also)}" if record.also else ""
    alarm = f"since {record.began}, {record.cause}{also}"
    if not watch.is_open:
        return [f"night {record.night}: the alarm {alarm}, was resolved or a version answered it"]
    return [f"night {record.night}: ALARM {alarm}", record.explanation]


def golden_lines(watch: WatchStatus | None) -> list[str]:
    """Write what the version of the last night makes of the golden set, where it is followed."""
    if watch is None or watch.record.golden is None:
        return []
    return [f"golden set, version {watch.record.model_version}: {watch.record.golden}"]


def threshold_lines(status: ProductStatus) -> list[str]:
    """Write which threshold a person set on the champion, and why."""
    serving = next((each for each in status.versions if each.number == status.champion), None)
    if serving is None or in_force(serving.thresholds) is None:
        return []
    return [f"its threshold was set to {serving.thresholds[-1]}"]


def waiting_lines(status: ProductStatus) -> list[str]:
    """Write which nights have images that wait for a person, and what to do."""
    if not status.waiting:
        return []
    counts = [f"{count} of {night}" for night, count in status.waiting.items()]
    shown = f"{', '.join(counts[:5])}{', ...' if len(counts) > 5 else ''}"
    line = f"images wait for a person: {shown}"
    return [f"{line} (reconad review {status.product} {next(iter(status.waiting))})"]


def training_lines(status: ProductStatus) -> list[str]:
    """Write which training the product waits for, and since when."""
    return [] if status.training is None else [f"waits for a training: {status.training}"]


def _how(move: alias_log.AliasMove) -> str:
    if move.by == registry.ROLLBACK:
        return f"version {move.instead_of} was rolled back"
    return "promoted"


def _state(version: registry.Version) -> str:
    if version.state is None and version.judged_against is not None:
        return "judge again"  # the champion changed after its verdict, or the run was cut off
    state = (version.state or "not judged").replace("_", " ")
    return state if version.has_weights else f"{state}, without weights"
