"""A version trained again from its record, and held against what it is. Nothing is registered."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import torch

from flows.jobs.fitting import with_local_textures
from flows.jobs.product import open_product
from flows.jobs.progress import progress_bar
from flows.jobs.recorded_job import recorded_job
from mlflow_models import flavor, registry
from mlflow_models.recorded import RecordedTraining, read_recorded
from mlflow_models.version_names import named_version
from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.detector.compared import WeightDifferences, compare_weights
from reconad_plugin.detector.detector import TORCH, Detector
from reconad_plugin.training.environment import describe_environment, precision_of
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import RunOptions

BY_BUDGET: Final = "budget"  # how a training ended whose time was up


@dataclass(frozen=True)
class Reproduction:
    """A version, and what came of training it again."""

    version: registry.Version
    is_proven: bool  # whether the job was the same one, by its fingerprint
    weights: WeightDifferences
    images: int  # held-out normal images that both scored
    score_difference: float  # largest one of their ``pred_score``
    thresholds: tuple[float, float]  # the calibrated image thresholds: of the version, and again
    steps: tuple[int, int]  # as many: that the training took, and again
    elapsed_s: float  # of the training
    # name -> what the version was trained with, and what it was trained with now
    environment: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()  # why equal weights could not be expected, or cannot be explained

    @property
    def is_same(self) -> bool:
        """Whether weights, scores and threshold are equal to the last bit."""
        before, now = self.thresholds
        return not self.weights.different and self.score_difference == 0 and before == now


def reproduce(product: str, number: str, device: str | None = None) -> Reproduction:
    """Train a version again: the same images, settings, seed and number of steps, with as many
    threads and in the same precision, and compare.

    Args:
        product: its name.
        number: of the version, or an alias.
        device: to train on; None: the one that it was trained on.

    Raises:
        ConfigError: see ``recorded_job``; or the device is not there.
        ModelFormatError: nothing is noted of its training.
        NotEnoughImagesError: images that it learnt from cannot be had any more.
    """
    opened = open_product(product)
    version = named_version(product, number)
    learnt = flavor.load_calibrated(version.uri, engine=TORCH)
    recorded = read_recorded(version)
    found = recorded_job(opened, version, recorded, learnt)
    job, before = found.job, dict(recorded.environment)
    device = device or before.get("device", "cpu")
    images = replace(job.load(), lens=job.lens)
    precision = precision_of(before)
    with _threads(int(before.get("threads", torch.get_num_threads()))):
        now = describe_environment(device)
        with progress_bar(job.title) as on_progress:
            again, report = fit_detector(
                images,
                job.settled,
                with_local_textures(_by_steps(job.training, recorded)),
                job.base.load() if job.base else None,
                job.foundation.network if job.foundation else None,
                RunOptions(device, precision, on_progress=on_progress),
                job.region,
            )
    if precision is not None:
        now["precision"] = before["precision"]
    changed = {
        name: (before[name], value)
        for name, value in now.items()
        if before.get(name, value) != value
    }
    return Reproduction(
        version=version,
        is_proven=found.is_proven,
        weights=compare_weights(learnt, again),
        images=len(images.calibration),
        score_difference=_score_difference(learnt, again, images),
        thresholds=(learnt.calibration.image_threshold, again.calibration.image_threshold),
        steps=(int(recorded.metrics.get("steps", report.steps)), report.steps),
        elapsed_s=report.elapsed_s,
        environment=changed,
        reasons=tuple(_reasons(recorded, found.is_proven)),
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let PyTorch add with as many threads as then: sums follow from how they are split."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _by_steps(training: TrainingSettings, recorded: RecordedTraining) -> TrainingSettings:
    """Let a training end by its steps, however long they take here."""
    if recorded.params.get("ended_by") == BY_BUDGET:
        steps = int(recorded.metrics["steps"])
    elif training.steps is not None:
        steps = training.steps
    elif training.budget_s is not None:  # it filled its minutes, or stopped before
        steps = int(recorded.params["planned_steps"])
    else:
        return training  # the number of images gives the steps
    return training.model_copy(update={"steps": steps, "budget_s": None})


def _score_difference(one: Detector, other: Detector, images: NormalImages) -> float:
    """Return the largest difference of two detectors' scores of the held-out images."""
    pictures, positions = images.calibration.numpy(), list(images.calibration_positions)
    told = positions or [""] * len(pictures)
    scores = [each.score(pictures, told).pred_score for each in (one, other)]
    return float(np.abs(scores[0] - scores[1]).max())


def _reasons(recorded: RecordedTraining, is_proven: bool) -> Iterator[str]:
    """Say what keeps a training from being repeated to the last bit, or from being explained."""
    if not is_proven:
        yield (
            "its fingerprint is another: textures, weights of a foundation or of features, "
            "or confirmed defects are not as they were, or an older reconad made it otherwise"
        )
    by_time = recorded.params.get("ended_by") == BY_BUDGET or (
        recorded.params.get("steps") == "None" and recorded.params.get("budget_s") != "None"
    )
    if by_time:
        yield (
            "it was trained by minutes: its learning rate followed the pace of that hour, and only "
            "the number of steps can be repeated"
        )
    if not recorded.environment:
        yield "libraries and processor were not noted when it was trained"
