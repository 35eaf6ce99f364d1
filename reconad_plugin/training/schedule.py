"""How long a training lasts, and the learning rate along the way."""

import math
import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from reconad_plugin.config.product import TrainingSettings

WARMUP_SHARE: Final = 0.05  # of the steps, in which the learning rate rises to its full height
LONGEST_S: Final = 3600.0  # of a training that names neither steps nor budget
PACE_STEPS: Final = 10  # after the first, which allocates; then the pace is known
_ANOMALIES_PER_IMAGE: Final = ((10, 500), (50, 200), (100, 100))  # by number of normal images


def anomalies_per_image(images: int) -> int:
    """Return how many simulated anomalies a normal image is seen with: more where images are few.

    500 for 10 images and fewer, 200 for 50, 100 for 100 and more; straight lines between.

    Example:
        >>> anomalies_per_image(5), anomalies_per_image(30), anomalies_per_image(500)
        (500, 350, 100)
    """
    counts, multipliers = zip(*_ANOMALIES_PER_IMAGE, strict=True)
    return round(float(np.interp(images, counts, multipliers)))


def natural_steps(images: int, batch_size: int) -> int:
    """Count the steps that images ask for, where half of each batch gets an anomaly."""
    return max(1, math.ceil(2 * images * anomalies_per_image(images) / batch_size))


@dataclass
class Clock:
    """Counts steps and seconds, and fits the plan to the budget."""

    wished_steps: float  # the plan where the budget does not bind; infinite to fill the budget
    budget_s: float  # seconds there are
    planned_steps: int = 0  # length of the schedule. Where a budget binds it follows the pace.
    step: int = 0  # steps taken
    earlier_s: float = 0.0  # seconds used by an earlier process that this one resumes
    reserve_s: float = 0.0  # seconds that are kept for the last validation

    def __post_init__(self) -> None:
        self._start_s = time.monotonic()
        self._pace_start_s = self._start_s
        self._first_step = self.step
        self.is_paced = self.planned_steps > 0
        if not self.is_paced:
            self.planned_steps = int(min(self.wished_steps, 10**9))

    @classmethod
    def of(cls, settings: TrainingSettings, images: int, batch_size: int) -> "Clock":
        """Start the clock of a training that starts."""
        steps: float
        if settings.steps is not None:
            steps = settings.steps
        elif settings.budget_s is not None:
            steps = math.inf
        else:
            steps = natural_steps(images, batch_size)
        longest_s = math.inf if settings.steps is not None else LONGEST_S
        return cls(steps, settings.budget_s or longest_s)

    def counts(self) -> dict[str, float]:
        """Return what ``resumed`` needs to go on from here."""
        return {"step": self.step, "planned_steps": self.planned_steps, "elapsed_s": self.elapsed_s}

    def resumed(self, step: int, planned_steps: int, elapsed_s: float) -> "Clock":
        """Return a clock that goes on from the ``counts`` of another."""
        return Clock(self.wished_steps, self.budget_s, planned_steps, step, elapsed_s)

    @property
    def elapsed_s(self) -> float:
        """Seconds used."""
        return self.earlier_s + time.monotonic() - self._start_s

    @property
    def _left_s(self) -> float:
        return self.budget_s - self.reserve_s - self.elapsed_s

    @property
    def is_budget_bound(self) -> bool:
        """Whether the budget and not the steps ends this training."""
        return self.planned_steps < self.wished_steps

    def goes_on(self) -> bool:
        """Tell whether there is a next step."""
        return self.step < self.planned_steps and self._left_s > 0

    def tick(self) -> None:
        """Count a step, and fit what is left of the plan to what is left of the budget."""
        self.step += 1
        taken = self.step - self._first_step
        if taken == 1:
            self._pace_start_s = time.monotonic()
        if taken > PACE_STEPS:
            step_s = (time.monotonic() - self._pace_start_s) / (taken - 1)
            affordable = self.step + self._left_s / step_s
            self.planned_steps = int(max(self.step, min(self.wished_steps, affordable)))
            self.is_paced = True

    def learning_rate_share(self) -> float:
        """Return the share of the full learning rate: a warm-up, then half a cosine."""
        if not self.is_paced and math.isinf(self.wished_steps):
            return (self.step + 1) / (PACE_STEPS + 1) * WARMUP_SHARE
        return learning_rate_share_at(self.step, self.planned_steps)


def learning_rate_share_at(step: int, planned_steps: int) -> float:
    """Return the share of the full learning rate at a step."""
    warmup = max(1, round(WARMUP_SHARE * planned_steps))
    if step < warmup:
        return (step + 1) / warmup
    phase = (step - warmup) / max(1, planned_steps - warmup)
    return 0.5 + 0.5 * math.cos(min(1.0, phase) * math.pi)
