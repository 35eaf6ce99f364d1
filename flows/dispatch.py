"""The night of many products: a nightly run each, then the trainings that fit into the night."""

from collections import deque
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run

from flows.jobs.wanted_trainings import keep_training, read_trainings
from flows.runtime import runs
from flows.runtime.runs import FINETUNE, Started, has_done_well
from flows.runtime.schedule import night_before_run
from flows.runtime.steps import fails_clearly, step
from reconad_plugin.config.night import NightSettings
from reconad_plugin.config.settings import Settings, load_settings
from reconad_plugin.errors import ConfigError, ReconadError
from reconad_plugin.ledger.golden_figures import GOLDEN_FLOOR
from reconad_plugin.ledger.training_turns import TrainingTurns
from reconad_plugin.ledger.wanted_training import Need, WantedTraining
from reconad_plugin.store.objects import ObjectStore

ARTIFACT: Final = "dispatched-night"


@dataclass
class Trainings:
    """What came of the trainings of a night.

    Attributes:
        done: products whose training ended well.
        failed: product -> why its training did not.
        waiting: product -> the training that it waits for, whose turn comes on a later night.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, WantedTraining] = field(default_factory=dict)


@dataclass(frozen=True)
class Dispatched:
    """What came of a night of many products."""

    night: date
    failed: dict[str, str]  # product -> why its nightly run did not end well
    trainings: Trainings


def _run_name() -> str:
    return f"dispatch {flow_run.parameters.get('night') or night_before_run()}"


@flow(name="dispatch", flow_run_name=_run_name)
@fails_clearly
def dispatch(night: date | None = None) -> Dispatched:
    """Run a night of all products that share one.

    Killed and started again for the same night it starts nothing twice.

    Args:
        night: the night; without it, the day before it was scheduled for.

    Returns:
        What failed, what was trained, and what waits. That a run of one product failed stops no
        other, and does not fail this one.

    Raises:
        ConfigError: no product shares a night.
        PlatformError: no worker takes the runs.
    """
    night = night_before_run() if night is None else night
    settings = load_settings()
    if settings.night is None or not settings.dispatched:
        raise ConfigError(
            "the dispatcher runs products that share a night; none does: write a section [night] "
            "in reconad.toml, and leave nightly_at and timezone out of products"
        )
    failed = run_nights(settings.dispatched, settings.night, night)
    found = Dispatched(night, failed, run_trainings(settings, settings.night, night))
    report(found)
    return found


@step()
def run_nights(products: list[str], shared: NightSettings, night: date) -> dict[str, str]:
    """Start a nightly run of each product, a few at a time, and wait for all; product -> why one
    did not end well."""
    waiting, failed, logger = deque(sorted(products)), dict[str, str](), get_run_logger()
    parameters = {"night": night.isoformat(), "asks": True, "is_scheduled": True}

    def begin() -> Started | None:
        while waiting:
            product = waiting[0]
            try:
                run = runs.start(f"nightly/{product}", parameters, f"{product} {night}")
                return Started(waiting.popleft(), run)
            except ReconadError as error:
                failed[waiting.popleft()] = str(error)
        return None

    def end(started: Started, run: FlowRun | None) -> None:
        if not has_done_well(run):
            failed[started.product] = runs.describe_end(run)
            logger.warning("%s: %s", started.product, failed[started.product])

    runs.keep_busy(shared.at_once, begin, end)
    return failed


@step()
def run_trainings(settings: Settings, shared: NightSettings, night: date) -> Trainings:
    """Start the trainings that fit into the night's minutes, by their turns, and tell those that
    wait on which night theirs comes."""
    store = ObjectStore(settings.storage)
    wanted = read_trainings(store, settings.dispatched)
    turns = TrainingTurns(night, shared.training_minutes, wanted)
    at_work = _TrainingsAtWork(turns, store)
    at_work.end_earlier()
    runs.keep_busy(shared.trainings_at_once, at_work.begin, at_work.end)
    for product, each in turns.expect().items():
        at_work.keep(product, each)
        at_work.found.waiting[product] = each
    return at_work.found


class _TrainingsAtWork:
    """The trainings of a night, as Prefect and the notes in the bucket know them."""

    def __init__(self, turns: TrainingTurns, store: ObjectStore) -> None:
        self._turns, self._store, self.found = turns, store, Trainings()
        self._chosen = deque(turns.at_work)  # whose run is to be made, or found by its key

    def end_earlier(self) -> None:
        """Take in what became of trainings of earlier nights."""
        for product, night in self._turns.unended.items():
            run = runs.find_run(_key(product, night))
            if run is not None and not runs.is_final(run):
                self._turns.leave(product)
                self.found.failed[product] = (
                    f"the training of {night} is at work yet; cancel its run {run.name} in Prefect "
                    "if it hangs"
                )
            elif run is not None:
                self.keep(product, self._turns.end_earlier(product, has_done_well(run)))

    def begin(self) -> Started | None:
        """Start the next; None while nothing fits."""
        while self._chosen or self._choose():
            product = self._chosen[0]
            wanted = self._turns.at_work[product]
            try:
                run = _start(product, wanted, self._turns.night)
            except ReconadError as error:
                self._failed(product, 0.0, str(error))
            else:
                return Started(self._chosen.popleft(), run, timedelta(minutes=wanted.minutes))
            self._chosen.popleft()
        return None

    def end(self, started: Started, run: FlowRun | None) -> None:
        """Take in how one ended."""
        product, minutes = started.product, runs.minutes_of(run)
        if has_done_well(run):
            self.keep(product, self._turns.end(product, minutes, is_done=True))
            self.found.done.append(product)
        elif run is not None and not runs.is_final(run):  # the next night asks again
            self.found.failed[product] = runs.describe_end(run)
        else:
            self._failed(product, minutes, runs.describe_end(run))

    def keep(self, product: str, wanted: WantedTraining) -> bool:
        """Keep what became of one; whether that could be kept."""
        try:
            keep_training(self._store, product, wanted)
        except ReconadError as error:
            get_run_logger().warning("the note of %s could not be kept: %s", product, error)
            return False
        return True

    def _choose(self) -> bool:
        """Choose one and note that it is started, before it is."""
        while (product := self._turns.choose()) is not None:
            if self.keep(product, self._turns.start(product)):
                self._chosen.append(product)
                return True
            self._failed(product, 0.0, "its note could not be written")
        return False

    def _failed(self, product: str, minutes: float, why: str) -> None:
        self.keep(product, self._turns.end(product, minutes, is_done=False))
        self.found.failed[product] = why
        get_run_logger().warning("training of %s: %s", product, why)


def _key(product: str, night: str) -> str:
    return f"training {product} {night}"


def _start(product: str, wanted: WantedTraining, tonight: date) -> UUID:
    parameters = {"night": wanted.night}
    if wanted.need is Need.DRIFT:
        deployment = FINETUNE
        parameters["product"] = product
    else:
        deployment = f"train/{product}"
        if wanted.need is Need.GOLDEN_FLOOR:
            parameters["cause"] = GOLDEN_FLOOR
    return runs.start(deployment, parameters, _key(product, tonight.isoformat()))


@step()
def report(found: Dispatched) -> None:
    """Say what came of the night, in the log and among Prefect's artifacts."""
    trainings, lines = found.trainings, [f"# Night {found.night}", ""]
    lines += [f"- **{each}** failed: {why}" for each, why in sorted(found.failed.items())]
    lines += [f"- {each} was trained" for each in trainings.done]
    lines += [f"- **{each}** was not trained: {why}" for each, why in trainings.failed.items()]
    lines += [f"- {each} waits for a training: {said}" for each, said in trainings.waiting.items()]
    create_markdown_artifact(key=ARTIFACT, markdown="\n".join(lines))
    get_run_logger().info(
        "night %s: %d nightly runs failed; %d products were trained, %d not, %d wait for it",
        found.night, len(found.failed), len(trainings.done), len(trainings.failed),
        len(trainings.waiting),
    )  # fmt: skip
