"""A training in phases, one after the other: one budget, one bar, and one way on after a kill.

A phase that has ended leaves the network's weights and its report in place of its checkpoint, so
that none is trained twice. What is left there at the end the caller removes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.registry import Phase
from reconad_plugin.training.checkpoint import read_checkpoint, write_checkpoint
from reconad_plugin.training.closed_form import ClosedForm, fit_closed_form
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import DEFAULTS, RunOptions, train
from reconad_plugin.training.recipe import Recipe
from reconad_plugin.training.report import Progress, TrainingReport
from reconad_plugin.training.schedule import LONGEST_S, natural_steps

LEAST_S: Final = 0.01  # of a phase whose time the ones before have used up: a step
_REPORT: Final = "report"


def train_phases(
    network: AnomalyNetwork,
    recipes: Mapping[Phase, Callable[[], Recipe]],
    images: NormalImages,
    settings: TrainingSettings,
    seed: int,
    window_px: int,
    options: RunOptions = DEFAULTS,
) -> TrainingReport:
    """Train a network in place, phase by phase; it is left in eval mode.

    Each phase has its share of the time and of the steps that those before have left, and at
    least one step. What a phase that ended early has not used goes to the others.

    Args:
        network: the whole of it.
        recipes: the phases in their order, with what makes the recipe of each when it begins.
        images: the network learns those to train on; those that calibrate validate, but for a
            phase that is a foundation.
        settings: of the training as a whole.
        seed: of each phase.
        window_px: side of the score window.
        options: each phase has a checkpoint folder of its name in the one given, and progress is
            reported as if there were one phase.

    Returns:
        One report for all. ``ended_by`` is that of the last phase.

    Raises:
        NotEnoughImagesError: no image.
        TrainingDivergedError: a loss or a gradient became NaN or infinite.
        ReconadError: nothing can stand on what a phase has learnt (``Recipe.check``).
    """
    done: list[TrainingReport] = []
    phases = tuple(recipes)
    for number, phase in enumerate(phases):
        root = options.checkpoint_folder
        folder = None if root is None else root / phase.name
        report = None if folder is None else _read_ended(folder, network)
        if report is None:
            recipe = recipes[phase]()
            held_out = images.calibration[:0] if phase.is_foundation else images.calibration
            own = _own_settings(phases[number:], settings, done, recipe, len(images.train))
            report_whole = partial(_report, _Whole(phases, done), options.on_progress)
            run = replace(options, checkpoint_folder=folder, on_progress=report_whole)
            if isinstance(recipe, ClosedForm):
                report = fit_closed_form(recipe, images.train, own, seed, run)
            else:
                report = train(recipe, images.train, held_out, own, seed, window_px, run)
            recipe.check()
            if folder is not None and number + 1 < len(phases):
                write_checkpoint(folder, network.state_dict(), {_REPORT: asdict(report)})
        done.append(report)
    network.eval()
    return _in_one(phases, done)


def _own_settings(
    left: Sequence[Phase],
    settings: TrainingSettings,
    done: Sequence[TrainingReport],
    recipe: Recipe,
    images: int,
) -> TrainingSettings:
    """Set the steps and budget of the first of the phases that are left."""
    if len(left) == 1 and not done:
        return settings
    share = left[0].share / sum(phase.share for phase in left)
    steps, budget_s = settings.steps, settings.budget_s
    if steps is None and budget_s is None:
        steps = natural_steps(images, settings.batch_size or recipe.batch_size)
        budget_s = LONGEST_S
    if steps is not None:
        steps -= sum(report.steps for report in done)
        steps = max(1, min(round(share * steps), steps - (len(left) - 1)))
    if budget_s is not None:
        budget_s -= sum(report.elapsed_s for report in done)
        budget_s = max(LEAST_S, share * budget_s)
    return settings.model_copy(update={"steps": steps, "budget_s": budget_s})


class _Whole:
    """Steps and seconds of the phase after those that are done as those of the whole training."""

    def __init__(self, phases: Sequence[Phase], done: Sequence[TrainingReport]) -> None:
        self.phase = phases[len(done)]
        self.steps = sum(report.steps for report in done)
        self.elapsed_s = sum(report.elapsed_s for report in done)
        total = sum(phase.share for phase in phases)
        self.share_before = sum(phase.share for phase in phases[: len(done)]) / total
        self.share = self.phase.share / total

    def of(self, progress: Progress) -> Progress:
        """Return the same moment, with a plan that has the share of the work that is done right."""
        step = self.steps + progress.step
        worked = self.share_before + self.share * progress.step / max(1, progress.planned_steps)
        return replace(
            progress,
            step=step,
            planned_steps=max(step, round(step / worked)),
            elapsed_s=self.elapsed_s + progress.elapsed_s,
            phase=self.phase.name,
        )


def _report(whole: _Whole, on_progress: Callable[[Progress], None], progress: Progress) -> None:
    on_progress(whole.of(progress))


def _in_one(phases: Sequence[Phase], done: Sequence[TrainingReport]) -> TrainingReport:
    last, steps = done[-1], sum(report.steps for report in done)
    curves = [map(_Whole(phases, done[:at]).of, report.curve) for at, report in enumerate(done)]
    return replace(
        last,
        steps=steps,
        planned_steps=sum(report.planned_steps for report in done),
        elapsed_s=sum(report.elapsed_s for report in done),
        best_step=steps - last.steps + last.best_step,
        resumed_step=sum(report.resumed_step for report in done),
        curve=list(chain.from_iterable(curves)),
        phases={phase.name: report.steps for phase, report in zip(phases, done, strict=True)},
    )


def _read_ended(folder: Path, network: AnomalyNetwork) -> TrainingReport | None:
    """Read the report of a phase that has ended, whose weights the network has then; else None."""
    found = read_checkpoint(folder)
    if found is None or _REPORT not in found[1]:
        return None
    network.load_state_dict(found[0])
    report = TrainingReport(**found[1][_REPORT])
    curve = [Progress(**point) for point in found[1][_REPORT]["curve"]]
    return replace(report, curve=curve, resumed_step=report.steps)
