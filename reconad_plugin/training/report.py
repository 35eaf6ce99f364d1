"""What a training reports: how far it is, and what it did."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from reconad_plugin.networks.quantiser import CodebookUse


@dataclass(frozen=True)
class Progress:
    """Where a training stands, for a bar and for the curve of the loss.

    Attributes:
        step: taken.
        planned_steps: length of the schedule, as far as it is known.
        elapsed_s: seconds used.
        loss: of the batch.
        held_out_loss: measured at a validation.
        separation: measured with it; see ``training.held_out``.
        phase: name of the phase, where there are phases (``training.phases``).
    """

    step: int
    planned_steps: int
    elapsed_s: float
    loss: float
    held_out_loss: float | None = None
    separation: float | None = None
    phase: str = ""


@dataclass(frozen=True)
class TrainingReport:
    """What a training did.

    Attributes:
        steps: steps taken.
        planned_steps: the schedule's length; with it as ``steps`` and a budget that does not
            bind, the same images and seed give the same weights on the same processor.
        elapsed_s: wall-clock seconds, also those before a kill.
        ended_by: ``steps``, ``budget`` or ``early_stopping``.
        best_step: the step whose averaged weights were kept.
        resumed_step: the step of the checkpoint it went on from, 0 where there was none.
        curve: points of the loss over the steps.
        phases: steps of each phase by name; empty for a phase alone.
        geometry: how pictures were mirrored or turned, also where the settings left it open.
    """

    steps: int
    planned_steps: int
    elapsed_s: float
    ended_by: str
    best_step: int
    resumed_step: int
    curve: list[Progress] = field(repr=False)
    phases: dict[str, int] = field(default_factory=dict)
    geometry: str = "none"


@dataclass(frozen=True)
class FoundationReport:
    """What a pretraining came to.

    Attributes:
        training: steps, seconds and curve.
        codebooks: use of each by name, over normal images and unrelated pictures, half of each,
            as in training.
        psnr_db: peak signal-to-noise ratio of the normal images' reconstructions, mean.
        ssim: their structural similarity, mean.
        unrelated: (N, 3, S, S) float in [0, 1], the unrelated pictures that were measured.
    """

    training: TrainingReport
    codebooks: Mapping[str, CodebookUse]
    psnr_db: float
    ssim: float
    unrelated: Tensor = field(repr=False)
